"""Every config of the repository is one that a file may carry."""

import pytest
from mmengine.config import Config

from mmspike.deploy.stored_config import NETWORK, read_config, stored_config
from support.small_runs import CONFIGS


@pytest.mark.slow
@pytest.mark.parametrize('host', ['mmpretrain', 'mmdet', 'mmseg'])
def test_configs_pass_the_check_of_files(host):
    """A name that is not allowed would be found by users only, when they load their file."""
    passed = 0
    for path in CONFIGS:
        cfg = Config.fromfile(path)
        if cfg.default_scope == host and cfg.get('test_dataloader'):
            read = read_config(stored_config(cfg), path)
            assert read.model.backbone == NETWORK
            passed += 1
    assert passed > 5
