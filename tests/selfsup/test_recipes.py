"""The recipes of the digits follow each other: pre-training, fine-tuning, distillation."""

from itertools import pairwise

import pytest
import torch
from mmengine.runner import Runner

from mmspike.neurons.records import is_record
from support.paths import ROOT
from support.small_runs import small_config

CONFIGS = ROOT / 'configs'
CLASSIFIERS = CONFIGS / 'classification/sdt_v3_large'
STEPS = {
    'pre-training': CONFIGS / 'selfsup/smae/smae-digits-sfa-t1d4_1xb32-coslr-30e_digits.py',
    'fine-tuning': CLASSIFIERS / 'sdtv3-digits-sfa-t1d4_smae-pre_1xb32-coslr-15e_digits.py',
    'distillation': CLASSIFIERS / 'sdtv3-digits-sfa-t1d4_1xb32-kd-coslr-ft-15e_digits.py',
}


def run(step, folder, begin_with=None):
    """Train a step for two iterations; return weights before and after, learning rates, file."""
    cfg = small_config(STEPS[step], folder / step)
    if step == 'fine-tuning':
        cfg.model.backbone.init_cfg = dict(
            type='Pretrained', checkpoint=begin_with, prefix='backbone.'
        )
    elif begin_with:
        cfg.load_from = begin_with
    runner = Runner.from_cfg(cfg)
    seen = {}

    def keep(model, args, kwargs):
        if not seen:
            seen.update({key: value.clone() for key, value in model.state_dict().items()})

    runner.model.register_forward_pre_hook(keep, with_kwargs=True)
    runner.train()
    groups = runner.optim_wrapper.param_groups
    rates = {group['param_name']: group['lr'] for group in groups if 'param_name' in group}
    (file,) = (folder / step / 'work').glob('epoch_1.pth')
    return seen, torch.load(file, weights_only=False)['state_dict'], rates, str(file)


@pytest.mark.slow
def test_each_step_begins_with_what_the_last_one_learned(tmp_path):
    _, encoder, _, file = run('pre-training', tmp_path)
    start, tuned, rates, file = run('fine-tuning', tmp_path, file)
    taken = [key for key in encoder if key.startswith('backbone.') and not is_record(key)]
    assert len(taken) > 100
    for key in taken:
        assert torch.equal(start[key], encoder[key]), key
    # Six depths: three stages of the stem, which has four blocks, and two blocks behind it.
    first, last = (f'backbone.stages.{i}.blocks.0.{name}' for i, name in
                   ((0, 'conv1.conv.weight'), (3, 'attn.q.bn.weight')))  # fmt: skip
    assert rates[first] < rates[last] < rates['head.fc.weight']
    start = run('distillation', tmp_path, file)[0]
    for key, value in tuned.items():
        assert torch.equal(start[key], value), key
    assert {key for key in start if key not in tuned and not is_record(key)} == {
        'head.fc_distill.weight', 'head.fc_distill.bias',
    }  # fmt: skip


def test_the_configs_name_each_others_checkpoints():
    for before, step in pairwise(STEPS):
        text = STEPS[step].read_text()
        assert f'work_dirs/{STEPS[before].stem}/epoch_' in text
