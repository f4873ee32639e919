"""The hook in mmengine's own Runner, on the digits."""

import hashlib
import json
import logging
from functools import partial

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmspike.hooks import FiringRateEnergyHook
from mmspike.neurons import BaseNeuron
from support.small_checkpoints import trained
from support.small_runs import DIGITS, small_config
from support.tool_runs import run_script


def run(folder, *hooks, mode='train', name='run', checkpoint=None):
    """Train one epoch of two iterations, with an evaluation of two batches, or test."""
    cfg = small_config(DIGITS, folder / name, experiment_name=name)
    cfg.load_from = checkpoint and str(checkpoint)
    # With the statistics of the last step, so that neurons fire.
    cfg.model.backbone.norm_cfg = dict(type='BN', momentum=1.0)
    cfg.custom_hooks = [*cfg.custom_hooks, *hooks]
    runner = Runner.from_cfg(cfg)
    torch.manual_seed(1)
    metrics = getattr(runner, mode)()
    return runner, metrics


HOOK = partial(dict, type='mmspike.FiringRateEnergyHook')


def scalars(runner):
    with open(f'{runner.log_dir}/vis_data/scalars.json') as lines:
        return [json.loads(line) for line in lines]


def report(runner):
    with open(f'{runner.log_dir}/energy/energy.json') as file:
        return json.load(file)


def follows(model):
    """Whether anything still follows what the neurons of a model do."""
    hooks = [
        hook
        for module in model.modules()
        if isinstance(module, BaseNeuron)
        for hook in (*module._forward_hooks, *module._forward_pre_hooks)
    ]
    return hooks or torch.overrides._get_current_function_mode_stack()


@pytest.mark.slow
def test_training_with_evaluation(tmp_path):
    runner, _ = run(tmp_path, HOOK(interval=2))
    *training, evaluation = scalars(runner)
    found = report(runner)
    assert found['samples'] == 4
    assert found['name'] == 'run'
    assert evaluation['energy/mj'] == pytest.approx(found['totals']['energy_mj'])
    assert evaluation['energy/sops_g'] == pytest.approx(found['totals']['sops'] / 1e9)
    assert evaluation['spikes/rate'] == pytest.approx(found['totals']['mean_rate'])
    assert 0 < evaluation['spikes/rate'] < 4
    assert 'accuracy/top1' in evaluation
    assert any('energy/mj' in line for line in training)
    for name in ('energy.csv', 'energy.png', 'rates.png'):
        assert (tmp_path / f'run/work/{runner.timestamp}/energy/{name}').stat().st_size > 100
    log = (tmp_path / f'run/work/{runner.timestamp}/{runner.timestamp}.log').read_text()
    assert 'energy/mj: ' in log


@pytest.mark.slow
def test_results_are_those_without_the_hook(tmp_path):
    plain, _ = run(tmp_path, name='plain')
    counted, _ = run(tmp_path, HOOK(interval=1), name='counted')
    for name, value in plain.model.state_dict().items():
        assert torch.equal(counted.model.state_dict()[name], value), name
    theirs = scalars(plain)
    for mine, line in zip(scalars(counted), theirs, strict=True):
        for key in set(line) - {'time', 'data_time'}:
            assert mine[key] == line[key]
    assert not follows(counted.model)


@pytest.mark.slow
def test_test_and_sampling(tmp_path):
    whole, metrics = run(tmp_path, HOOK(), mode='test')
    assert set(metrics) == {'accuracy/top1'}
    numbers = json.loads(
        (tmp_path / f'run/work/{whole.timestamp}/{whole.timestamp}.json').read_text()
    )
    assert numbers['energy/mj'] == pytest.approx(report(whole)['totals']['energy_mj'])
    sampled, _ = run(tmp_path, HOOK(sample_interval=2), mode='test', name='sampled')
    assert (report(whole)['samples'], report(sampled)['samples']) == (4, 2)
    assert report(sampled)['totals']['flops'] == report(whole)['totals']['flops']


def test_dead_and_saturated_layers_are_named(tmp_path, caplog):
    # What an untrained network with the statistics it begins with does not reach stays silent.
    runner, _ = run(tmp_path, HOOK(write=False), mode='test')
    for name, module in runner.model.named_modules():
        if name.endswith('downsample.bn') or name.endswith('.norm'):
            module.bias.data.fill_(100)
    caplog.set_level(logging.WARNING, logger=runner.logger.name)
    runner.logger.addHandler(caplog.handler)
    runner.test()
    dead = [r.getMessage() for r in caplog.records if 'dead neurons' in r.getMessage()]
    saturated = [r.getMessage() for r in caplog.records if 'saturated' in r.getMessage()]
    assert any('backbone.stages.' in line for line in dead)
    assert any('backbone.stages.' in line for line in saturated)
    assert not (tmp_path / f'run/work/{runner.timestamp}/energy').exists()


class Stop(Hook):
    def after_test_iter(self, *args, **kwargs):
        raise KeyboardInterrupt


@pytest.mark.slow
def test_an_interrupted_evaluation_leaves_nothing_in_the_next(tmp_path):
    runner, _ = run(tmp_path, HOOK(), mode='test')
    stop = Stop()
    runner.register_hook(stop, priority='HIGHEST')
    with pytest.raises(KeyboardInterrupt):
        runner.test()
    runner.hooks.remove(stop)
    runner.test()
    assert report(runner)['samples'] == 4
    assert not follows(runner.model)


@pytest.mark.slow
def test_two_processes_add_up_what_they_counted(tmp_path):
    """Sums, not means: each process sees half of the images."""
    config, checkpoint = trained(DIGITS)
    alone, _ = run(tmp_path, HOOK(), mode='test', checkpoint=checkpoint)
    printed = run_script(
        'dist_test.sh', config, checkpoint, 2, '--work-dir', tmp_path / 'two',
        '--cfg-options', 'custom_hooks.0.type=mmspike.FiringRateEnergyHook',
    )  # fmt: skip
    assert 'accuracy/top1' in printed
    (written,) = (tmp_path / 'two').glob('*/energy/energy.json')
    one, two = report(alone), json.loads(written.read_text())
    assert one['samples'] == two['samples'] == 4
    assert one['totals']['sops'] > 0
    assert two['totals'] == pytest.approx(one['totals'], rel=1e-12)
    assert two['layers'] == one['layers']


def test_other_costs(tmp_path):
    runner, _ = run(tmp_path, HOOK(costs=dict(mac_pj=1.0, ac_pj=1.0)), mode='test')
    totals = report(runner)['totals']
    assert totals['energy_mj'] == pytest.approx((totals['sops'] + totals['macs']) / 1e9)


class ShownTwice(Hook):
    """Calls the model once more, as an augmentation of test images does."""

    def before_test_iter(self, runner, batch_idx, data_batch=None):
        runner.model.test_step(data_batch)


@pytest.mark.slow
def test_one_prediction_is_one_sample(tmp_path):
    """However often an augmentation shows the image."""
    once, _ = run(tmp_path, HOOK(), mode='test')
    twice, _ = run(tmp_path, HOOK(), ShownTwice(), mode='test', name='twice')
    assert report(twice)['samples'] == report(once)['samples'] == 4
    assert report(twice)['totals']['macs'] == 2 * report(once)['totals']['macs']


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(sample_interval=0), ValueError, 'sample_interval must be finite and at least 1'),
        (dict(sample_interval=None), TypeError, 'sample_interval must be an int'),
        (dict(interval=0.5), TypeError, 'interval must be an int'),
        (dict(interval=True), TypeError, 'interval must be a number'),
        (dict(costs='3nm'), ValueError, "unknown costs '3nm'"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        FiringRateEnergyHook(**options)


@pytest.mark.slow
def test_reports_say_what_they_were_made_from(tmp_path):
    _, checkpoint = trained(DIGITS)
    loaded = report(run(tmp_path, HOOK(), mode='test', name='test', checkpoint=checkpoint)[0])
    assert loaded['origin']['weights'] == str(checkpoint)
    with open(checkpoint, 'rb') as file:
        assert loaded['origin']['checkpoint_sha256'] == hashlib.sha256(file.read()).hexdigest()
    assert loaded['origin']['images'] == 'test data of the config'
    fresh = report(run(tmp_path, HOOK())[0])
    assert fresh['origin']['weights'] == 'in training, after iteration 2'
    assert fresh['origin']['checkpoint_sha256'] is None
