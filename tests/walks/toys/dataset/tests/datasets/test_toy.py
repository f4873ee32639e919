from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner

from support.paths import ROOT


def test_a_config_names_the_dataset():
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/toy_bs2.py')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        loader = Runner.build_dataloader(cfg.test_dataloader)
    batches = list(loader)
    assert [tuple(x.shape) for x in batches[4]['inputs']] == [(3, 8, 8)] * 2
    assert [int(one.gt_label) for one in batches[4]['data_samples']] == [8, 9]


def test_it_needs_no_pipeline():
    dataset = DATASETS.build(dict(type='mmspike.ToyDigits'))
    assert dataset.get_data_info(3)['gt_label'] == 3
