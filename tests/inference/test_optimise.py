"""Optimised copies compute what their models do, and refuse what they cannot."""

import copy
import io
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import init_default_scope
from torch import nn

import mmspike
from mmspike.ann2snn import fold_batch_norms
from mmspike.backbones import MetaSpikformer
from mmspike.execution import CompiledError, set_execution
from mmspike.neurons import LIF, SFA, BaseNeuron
from mmspike.neurons.kernels import cpu
from support.small_parts import BACKBONES, outputs

BUILT = pytest.mark.skipif(not cpu.AVAILABLE, reason=cpu.HOW_TO_BUILD)
NEURONS = [dict(type='mmspike.SFA'), dict(type='mmspike.LIF')]
# Those whose neurons are of one kind.
FIXED = {'MST', 'MST for events'}
BINARY = {'SDT', 'SDT for events'}
CASES = [
    (part, neuron)
    for part in BACKBONES
    for neuron in NEURONS
    if part.name not in (FIXED if neuron == NEURONS[1] else BINARY)
]
IDS = [f'{part.name}-{neuron["type"]}' for part, neuron in CASES]
each_backbone = pytest.mark.parametrize(('part', 'neuron'), CASES, ids=IDS)


def overwriting(model):
    return [n for n in model.modules() if isinstance(n, BaseNeuron) and n.overwrites_input]


def without_overwriting(model):
    model = copy.deepcopy(model)
    for neuron in overwriting(model):
        neuron.overwrites_input = False
    return model


def build(part, neuron):
    options = {} if part.name in FIXED else dict(neuron_cfg=neuron)
    return part.make(timesteps=2, **options).eval()


@each_backbone
def test_backbones_in_float64(part, neuron):
    net = build(part, neuron).double()
    fast = mmspike.optimize_for_inference(net)
    for size in ((2, 32, 32), (1, 64, 48)):
        x = part.input(*size).double()
        with torch.no_grad():
            for own, expected in zip(outputs(fast, x), outputs(net, x), strict=True):
                torch.testing.assert_close(own, expected, rtol=1e-9, atol=1e-9)


@BUILT
@each_backbone
def test_neurons_that_overwrite_change_no_bit(part, neuron):
    net = build(part, neuron)
    fast = mmspike.optimize_for_inference(net)
    plain = without_overwriting(fast)
    assert len(overwriting(fast)) >= 2
    for size in ((2, 32, 32), (1, 64, 48)):
        x = part.input(*size)
        with torch.no_grad():
            expected = outputs(plain, x)
        for mode in (torch.no_grad(), torch.inference_mode()):
            with mode:
                assert all(map(torch.equal, outputs(fast, x), expected))


@BUILT
def test_the_output_takes_the_memory_of_the_input():
    fast = mmspike.optimize_for_inference(MetaSpikformer('tiny'))
    kept = []
    for neuron in overwriting(fast):
        neuron.register_forward_hook(
            lambda _, args, out: kept.append(args[0].data_ptr() == out.data_ptr())
        )
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        fast(x)
    assert len(kept) > 50
    assert all(kept)
    kept.clear()
    fast(x)  # a gradient could be asked for
    assert not any(kept)


def test_bfloat16():
    net = MetaSpikformer('tiny').bfloat16()
    x = torch.randn(2, 3, 32, 32).bfloat16()
    fast = mmspike.optimize_for_inference(net)
    with torch.no_grad():
        (expected,) = fold_batch_norms(net).to(memory_format=torch.channels_last)(x)
        (out,) = fast(x)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, expected)


def test_gradients_of_the_image():
    net = build(BACKBONES[0], NEURONS[0]).double()
    fast, folded = mmspike.optimize_for_inference(net), fold_batch_norms(net)
    image = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    images = [image.clone().requires_grad_() for _ in range(2)]
    for model, image in zip((fast, folded), images, strict=True):
        sum(out.square().sum() for out in outputs(model, image)).backward()
    torch.testing.assert_close(images[0].grad, images[1].grad)
    assert images[0].grad.any()
    assert all(parameter.grad is None for parameter in fast.parameters())


@pytest.mark.slow
def test_copies_pickles_and_threads():
    fast = mmspike.optimize_for_inference(MetaSpikformer('tiny'))
    file = io.BytesIO()
    torch.save(fast, file)
    file.seek(0)
    images = [torch.rand(1, 3, size, size) for size in (32, 48, 64, 32)]

    def run(model, x):
        with torch.inference_mode():
            return model(x)[0]

    expected = [run(fast, x) for x in images]
    for model in (copy.deepcopy(fast), torch.load(file, weights_only=False)):
        assert len(overwriting(model)) == len(overwriting(fast))
        assert all(map(torch.equal, map(run, [model] * 4, images), expected))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(run, [fast] * 40, images * 10))
    assert all(map(torch.equal, found, expected * 10))


class Steps(nn.Module):
    """Any order of layers and neurons, and of uses of an earlier value."""

    def __init__(self, steps):
        super().__init__()
        make = dict(
            conv=lambda: nn.Conv2d(4, 4, 3, padding=1),
            point=lambda: nn.Conv2d(4, 4, 1),
            norm=lambda: nn.BatchNorm2d(4),
            fire=SFA,
            leak=lambda: LIF(timesteps=2),
        )
        self.steps = steps
        self.layers = nn.ModuleList(make.get(step, nn.Identity)() for step in steps)

    def forward(self, x):
        kept, seen = x, []
        for step, layer in zip(self.steps, self.layers, strict=True):
            if step == 'keep':
                kept = x
            elif step == 'view':
                kept = x.transpose(2, 3)
            elif step == 'add':
                x = x + kept
            elif step == 'return':
                seen.append(x)
            else:
                x = layer(x)
        return (*seen, x, kept)


STEPS = ('conv', 'point', 'norm', 'fire', 'leak', 'keep', 'view', 'add', 'return')


@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=9))
@settings(deadline=None)
def test_any_order_of_layers_and_readers(steps):
    net = Steps(steps).eval()
    x = torch.randn(4, 4, 5, 5)
    fast = mmspike.optimize_for_inference(net, sample=x[:2])
    with torch.no_grad():
        assert all(map(torch.equal, fast(x), without_overwriting(fast)(x)))
        net, x = net.double(), x.double()
        fast = mmspike.optimize_for_inference(net, sample=x[:2])
        for own, expected in zip(fast(x), net(x), strict=True):
            torch.testing.assert_close(own, expected)


def classifier():
    from mmpretrain.registry import MODELS
    from mmpretrain.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    init_default_scope('mmpretrain')
    return MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='mmspike.MetaSpikformer', arch='tiny'),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='mmspike.SpikeLinearClsHead', num_classes=10, in_channels=128),
        )
    ).eval()


def test_a_model_of_a_host():
    net = classifier().double()
    fast = mmspike.optimize_for_inference(net)
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    own, expected = (model.predict(x) for model in (fast, net))
    for mine, theirs in zip(own, expected, strict=True):
        torch.testing.assert_close(mine.pred_score, theirs.pred_score)
    # What one part hands to the next may be read by others.
    assert not fast.head.neuron.overwrites_input
    assert overwriting(fast.backbone)
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_training_is_refused():
    fast = mmspike.optimize_for_inference(MetaSpikformer('tiny').train())
    assert not fast.training
    with pytest.raises(RuntimeError, match='cannot be trained: train the original model'):
        fast.train()


def test_models_that_are_refused():
    net = MetaSpikformer('tiny').eval()
    for execution in ('spike', 'ternary'):
        set_execution(net, execution)
        message = r"runs on spikes: .*set_execution\(model, 'integer'\)"
        with pytest.raises(ValueError, match=message):
            mmspike.optimize_for_inference(net)
    set_execution(net, 'integer')
    net.compile()
    with pytest.raises(CompiledError, match='is compiled: optimise the original model'):
        mmspike.optimize_for_inference(net)
    with pytest.raises(ValueError, match=r'Conv2d has no backbone of mmspike: .*sample=images'):
        mmspike.optimize_for_inference(nn.Conv2d(3, 3, 1))
    net = nn.Sequential(nn.Conv2d(3, 3, 1))
    net.simulation = nn.Identity()
    with pytest.raises(ValueError, match='the model is simulated'):
        mmspike.optimize_for_inference(net)


def test_an_optimised_copy_runs_on_spikes_as_well():
    fast = mmspike.optimize_for_inference(MetaSpikformer('tiny'))
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = fast(x)[0]
        set_execution(fast, 'spike')
        torch.testing.assert_close(fast(x)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_it_is_imported_when_asked_for(run_python):
    run_python(
        '-c',
        'import sys, mmspike\n'
        'assert "mmspike.inference" not in sys.modules\n'
        'mmspike.optimize_for_inference\n'
        'assert "mmspike.inference" in sys.modules',
    )
