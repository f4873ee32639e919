"""Every config of the repository is one that a file may carry."""

import json

import pytest
from mmengine.config import Config

from mmspike.deploy.stored_config import NETWORK, PLAIN, read_config, stored_config
from support.small_runs import CONFIGS


@pytest.mark.slow
@pytest.mark.parametrize('host', ['mmpretrain', 'mmdet', 'mmseg'])
def test_configs_pass_the_check_of_files(host):
    """A name that is not allowed would be found by users only, when they load their file."""
    passed = 0
    for path in CONFIGS:
        cfg = Config.fromfile(path)
        if cfg.default_scope == host and cfg.get('test_dataloader'):
            stored = json.loads(json.dumps(stored_config(cfg)))
            read = read_config(stored, path)
            assert read.model.backbone == NETWORK
            dataset = cfg.test_dataloader.dataset
            expected = dict(type=dataset.type, pipeline=dataset.pipeline)
            assert read.test_dataloader.dataset == expected  # with its tuples
            assert read.model.type in (cfg.model.type, cfg.model.get('host'), *PLAIN.values())
            passed += 1
    assert passed > 5


def test_a_tuple_hides_no_type():
    bad = {'type': 'Resize', 'scale': {'tuple of': [{'type': 'os.system'}]}}
    stored = dict(default_scope='mmpretrain', test_pipeline=[bad])
    with pytest.raises(ValueError, match=r"refused: it wants to build 'os\.system'"):
        read_config(stored, 'model.onnx')
