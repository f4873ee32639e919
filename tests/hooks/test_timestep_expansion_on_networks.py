"""TimestepExpansionHook on the recipes of SDT and MST."""

import pytest
from mmengine.runner import Runner

from mmspike import get_timesteps
from mmspike.execution import get_execution
from support.paths import ROOT
from support.small_runs import small_config

CLASSIFICATION = ROOT / 'configs/classification'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('recipe', 'T', 'after'),
    [
        ('sdt/sdt-digits-lif-t4_1xb32-coslr-15e_digits.py', dict(train=2, val=3, test=5), 2),
        ('mst/mst-digits-qcfs32-spiking-t64_1xb32-coslr-25e_digits.py', dict(train=2, test=9), 2),
    ],
)
def test_phases(recipe, T, after, tmp_path):
    cfg = small_config(CLASSIFICATION / recipe, tmp_path)
    hook = dict(type='mmspike.TimestepExpansionHook', T=T, execution=dict(test='spike'))
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), hook]
    runner = Runner.from_cfg(cfg)
    before = get_timesteps(runner.model)
    ran = set()

    def note(model, args, kwargs):
        ran.add((kwargs['mode'], get_timesteps(model), get_execution(model)))

    runner.model.register_forward_pre_hook(note, with_kwargs=True)
    runner.train()
    assert get_timesteps(runner.model) == after
    metrics = runner.test()
    assert ran == {
        ('loss', T['train'], 'integer'),
        ('predict', T.get('val', T['train']), 'integer'),
        ('predict', T['test'], 'spike'),
    }
    assert before not in T.values()
    if 'mst' in recipe:
        assert f'accuracy/top1@{T["test"]}' in metrics
