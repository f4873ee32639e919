import argparse

import pytest
import torch

from mmspike.apis.arguments import add_cfg_options, add_device


@pytest.mark.parametrize('gpu', [False, True])
def test_a_gpu_is_the_default_if_there_is_one(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    parser = argparse.ArgumentParser()
    add_device(parser)
    assert parser.parse_args([]).device == ('cuda' if gpu else 'cpu')
    assert parser.parse_args(['--device', 'cuda:1']).device == 'cuda:1'


def test_options_are_read_as_python_values():
    parser = argparse.ArgumentParser()
    add_cfg_options(parser, 'one config')
    assert parser.parse_args([]).cfg_options is None
    args = parser.parse_args(['--cfg-options', 'model.timesteps=4', 'load_from=None', 'lrs=1,2'])
    assert args.cfg_options == {'model.timesteps': 4, 'load_from': None, 'lrs': [1, 2]}
    assert 'override values of one config' in parser.format_help()
