"""T and D from the top of a config, in a Runner as any host's tool builds it."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmspike import get_timesteps
from mmspike.modules import unwrapped
from mmspike.neurons import NeuronMismatchError
from mmspike.neurons.integer import integer_neurons
from support.paths import ROOT
from support.small_runs import DIGITS, small_config

HOSTS = {
    'mmpretrain': DIGITS,
    'mmdet': ROOT / 'configs/detection/digit-scenes'
    '/retinanet_metaspikformer-digits-sfa-t1d4_fpn_1xb4-4e_digit-scenes.py',
    'mmseg': ROOT / 'configs/segmentation/digit-scenes'
    '/semantic-fpn_metaspikformer-digits-sfa-t1d4_1xb8-1500_digit-scenes.py',
}
EVENTS = ROOT / 'configs/classification/sdt/sdt-1-64-lif-t8_1xb32-tet-coslr-15e_event-digits.py'


def config(path, folder, **settings) -> Config:
    """As a host's tool reads it: what the command line changed is at the top only."""
    cfg = small_config(path, folder)
    cfg.merge_from_dict(settings)
    return cfg


def ds_of(model) -> set[tuple[int, float]]:
    return {(neuron.D, neuron.norm) for neuron in integer_neurons(unwrapped(model))}


@pytest.mark.slow
@pytest.mark.parametrize('host', HOSTS)
def test_t_and_d_in_training_when_resumed_and_in_a_test(host, tmp_path):
    cfg = config(HOSTS[host], tmp_path, timesteps=2, D=3)
    runner = Runner.from_cfg(cfg)
    assert get_timesteps(runner.model) == 1
    runner.train()
    assert get_timesteps(runner.model) == 2
    # What divided by D before does so still.
    expected = {(3, 3.0), (3, 1.0)} if host != 'mmseg' else {(3, 3.0)}
    assert ds_of(runner.model) == expected

    # Written down where others read: with the places, and not just at the top.
    (file,) = (tmp_path / 'work').glob('[!v]*.py')
    last = next(iter((tmp_path / 'work').glob('*_1.pth')))
    meta = torch.load(last, weights_only=False)['meta']
    for written in (Config.fromfile(file), Config.fromstring(meta['cfg'], '.py')):
        assert written.model.backbone.timesteps == 2
        assert written.model.backbone.neuron_cfg.D == 3

    resumed = config(HOSTS[host], tmp_path, timesteps=2, D=3, resume=True, load_from=str(last))
    resumed = Runner.from_cfg(resumed)
    resumed.train()  # it was at its end
    assert get_timesteps(resumed.model) == 2
    assert ds_of(resumed.model) == expected

    tested = Runner.from_cfg(config(HOSTS[host], tmp_path, timesteps=3, D=3, load_from=str(last)))
    tested.test()
    assert get_timesteps(tested.model) == 3

    other = Runner.from_cfg(config(HOSTS[host], tmp_path, D=4, load_from=str(last)))
    with pytest.raises(NeuronMismatchError, match='D=3'):
        other.test()


@pytest.mark.slow
def test_frames_follow_in_training_validation_and_test(tmp_path):
    runner = Runner.from_cfg(config(EVENTS, tmp_path, timesteps=3))
    runner.train()
    runner.test()
    for loader in (runner.train_dataloader, runner.val_dataloader, runner.test_dataloader):
        assert loader.dataset[0]['inputs'].shape[0] == 3
    assert get_timesteps(runner.model) == 3


@pytest.mark.slow
def test_frames_follow_inside_of_wrappers_and_nested_transforms(tmp_path):
    cfg = config(EVENTS, tmp_path, timesteps=3)
    inner = cfg.train_dataloader.dataset
    inner.pipeline[0] = dict(type='RandomApply', transforms=[inner.pipeline[0]], prob=1.0)
    inner.pipeline = [inner.pipeline[0], *inner.pipeline[1:]]
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=1, dataset=inner)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.train_dataloader.dataset[0]['inputs'].shape[0] == 3


@pytest.mark.slow
def test_a_second_choice_is_refused(tmp_path):
    cfg = config(DIGITS, tmp_path, timesteps=2)
    cfg.custom_hooks = [dict(type='mmspike.TimestepExpansionHook', T=dict(test=4))]
    with pytest.raises(ValueError, match=r'timesteps=2 .* T of TimestepExpansionHook'):
        Runner.from_cfg(cfg).train()
    cfg = config(DIGITS, tmp_path, D=2)
    cfg.model.backbone.neuron_cfg = dict(type='mmspike.SFA', D=4, eval_D=1)
    with pytest.raises(ValueError, match='eval_D'):
        Runner.from_cfg(cfg).train()


@pytest.mark.slow
def test_a_network_without_spikes_has_no_steps(tmp_path):
    path = ROOT / 'configs/classification/conversion/resnet18-w16_1xb32-coslr-15e_digits.py'
    with pytest.raises(ValueError, match=r'has timesteps\. A network without spikes'):
        Runner.from_cfg(config(path, tmp_path, timesteps=2)).train()


@pytest.mark.slow
def test_settings_without_effect_are_named(tmp_path, capsys):
    cfg = config(EVENTS, tmp_path, train_pipeline='mine')
    Runner.from_cfg(cfg).train()
    said = capsys.readouterr()
    assert "the config sets 'train_pipeline', which nothing reads" in said.out + said.err


@pytest.mark.slow
def test_the_teacher_of_a_distilled_network_follows(tmp_path):
    path = ROOT / (
        'configs/classification/metaspikformer/'
        'metaspikformer-digits-sfa-t1d4-rsm_1xb32-coslr-ft-5e_digits.py'
    )
    runner = Runner.from_cfg(config(path, tmp_path, timesteps=2))
    runner.train()
    assert runner.model.teacher_cfg['backbone']['timesteps'] == 2
