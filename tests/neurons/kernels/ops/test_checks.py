"""The operators called by hand: right in every memory layout, and refusing what does not fit."""

import contextlib
import re
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import CustomOpDef

from mmspike.neurons.kernels import cpu, ops
from mmspike.neurons.kernels.settings import DIVIDE, MULTIPLY, NO_LEAK, SCALE
from support.cuda_emulator import CudaEmulator

pytestmark = pytest.mark.skipif(not cpu.AVAILABLE, reason=cpu.HOW_TO_BUILD)

T, ROW = 3, (4, 5)
LEARNED = torch.tensor([0.5])
# Right values of arguments that are no tensors: by name, and of all others by type.
NAMED = dict(
    leak=DIVIDE, surrogate='atan', rounding='half_even', grad_window='inclusive',
    threshold=1.0, decay=0.25, keep_mask=False,
)  # fmt: skip
TYPED = {'int': 4, 'float': 2.0, 'Optional[float]': 0.0, 'bool': True}
ROUNDED = dict(D=4, norm=1.0, rounding='half_even', grad_window='inclusive')
OPERATORS = [
    name
    for neuron in ops.__all__
    if isinstance(getattr(ops, neuron), CustomOpDef)
    for name in (neuron, f'{neuron}_backward')
]


def arguments_of(name, shape=(T, *ROW)):
    """Right arguments of an operator, in its order, from its schema; tensors drawn anew."""
    parameters = getattr(torch.ops.mmspike, name).default._schema.arguments
    # Neurons with a membrane begin the bits of every step with a new byte.
    rows = shape[0] if 'grad_v_end' in {one.name for one in parameters} else 1
    elements = torch.Size(shape).numel()
    tensors = dict(
        x=lambda: 2 * torch.randn(shape),
        grad_out=lambda: torch.randn(shape),
        v=lambda: torch.randn(shape[1:]),
        grad_v_end=lambda: torch.randn(shape[1:]),
        threshold=lambda: LEARNED,
        learned=lambda: None,  # of a neuron that divides
        mask=lambda: torch.randint(
            0, 256, (rows * -(-elements // rows // 8),), dtype=torch.uint8
        ),
    )  # fmt: skip
    arguments = {}
    for one in parameters:
        if 'Tensor' in str(one.type):
            arguments[one.name] = tensors[one.name]()
        elif one.name == 'strides':
            arguments[one.name] = list(torch.empty(shape).stride())
        else:
            named = one.name in NAMED
            arguments[one.name] = NAMED[one.name] if named else TYPED[str(one.type)]
    return arguments


def call(name, arguments):
    with torch.no_grad():
        results = getattr(torch.ops.mmspike, name)(*arguments.values())
    return results if isinstance(results, tuple) else (results,)


@pytest.fixture(scope='module')
def emulator(tmp_path_factory):
    if not shutil.which('c++'):
        pytest.skip('no C++ compiler')
    return CudaEmulator(tmp_path_factory.mktemp('device'))


@contextlib.contextmanager
def _on(where, emulator):
    """CPU tensors go to the CUDA kernels, or to those of the host."""
    with pytest.MonkeyPatch.context() as patch:
        if where == 'device':
            emulator.take_cpu_tensors(patch)
        yield


@pytest.fixture(params=['cpu', 'device'])
def where(request, emulator):
    with _on(request.param, emulator):
        yield request.param


# --- layouts ------------------------------------------------------------------------------------


def permuted(x, order):
    inverse = [order.index(dim) for dim in range(x.dim())]
    return x.permute(order).contiguous().permute(inverse)


LAYOUTS = {
    'contiguous': lambda x: x,
    'reversed': lambda x: permuted(x, list(reversed(range(x.dim())))),
    'rows_transposed': lambda x: permuted(x, [0, 2, 1] if x.dim() == 3 else [1, 0]),
    'sliced': lambda x: x.repeat_interleave(2, -1)[..., ::2],
    'rows_apart': lambda x: x.repeat_interleave(3, 0)[::3],
    'offset': lambda x: torch.cat([x.flatten()[:1], x.flatten()])[1:].view(x.shape),
    'expanded': lambda x: x[..., :1].expand_as(x),
    'expanded_rows': lambda x: x[:1].expand_as(x),
    'overlapping': lambda x: x.flatten().as_strided(x.shape, [1] * x.dim()),
    'negated': lambda x: torch._neg_view(x),
}


@settings(deadline=None, max_examples=150)
@given(
    name=st.sampled_from(OPERATORS),
    layouts=st.lists(st.sampled_from(sorted(LAYOUTS)), min_size=4, max_size=4),
    shape=st.sampled_from([(3, 4, 5), (1, 4, 5), (2, 1, 7), (3, 8, 1), (2, 0, 3)]),
    seed=st.integers(0, 1000),
)
def test_every_layout_gives_what_contiguous_tensors_give(name, layouts, shape, seed):
    torch.manual_seed(seed)
    arguments, chosen = arguments_of(name, shape), list(layouts)
    for key in ('x', 'v', 'grad_out', 'grad_v_end'):
        tensor = arguments.get(key)
        if isinstance(tensor, torch.Tensor) and tensor.numel():
            arguments[key] = LAYOUTS[chosen.pop()](tensor)
    plain = {
        key: value.contiguous().resolve_neg() if isinstance(value, torch.Tensor) else value
        for key, value in arguments.items()
    }
    for ours, expected in zip(call(name, arguments), call(name, plain), strict=True):
        if ours.numel() == 1:  # the gradient of a learned number: a sum, in the order of the memory
            torch.testing.assert_close(ours, expected)
        else:
            assert torch.equal(ours, expected)


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('name', OPERATORS)
def test_layouts_on_every_device(name, layout, where):
    arguments = arguments_of(name)
    for key in {'x', 'v', 'grad_out', 'grad_v_end'} & set(arguments):
        arguments[key] = LAYOUTS[layout](arguments[key])
    plain = {
        key: value.contiguous().resolve_neg() if isinstance(value, torch.Tensor) else value
        for key, value in arguments.items()
    }
    for ours, expected in zip(call(name, arguments), call(name, plain), strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize('order', [(2, 1, 0), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize('name', ['sfa', 'ilif'])
def test_masks_follow_the_layout_of_the_output(name, order):
    """The gradient may come in any layout: the mask's bits find their elements all the same."""
    given, weights, results = arguments_of(name), torch.randn(T, *ROW), []
    for leaf in (given['x'].clone(), permuted(given['x'], list(order))):
        arguments = dict(given, x=leaf.requires_grad_(), keep_mask=True)
        out = getattr(torch.ops.mmspike, name)(*arguments.values())[0]
        results.append(torch.autograd.grad((out * weights).sum(), leaf)[0])
    assert torch.equal(*results)


# --- what is refused ----------------------------------------------------------------------------


def refused(name, changes, message, where):
    arguments = dict(arguments_of(name))
    for key, change in changes.items():
        arguments[key] = change(arguments[key]) if callable(change) else change
    with pytest.raises(ValueError, match=rf'mmspike::{name}: ' + message):
        call(name, arguments)


def of(*names):
    return pytest.mark.parametrize('name', names)


SEQUENCES = ['binary', 'binary_backward', 'ilif', 'ilif_backward']


def input_of(name):
    return 'x' if 'x' in arguments_of(name) else 'grad_out'


@of(*OPERATORS)
@pytest.mark.parametrize('dtype', [torch.float64, torch.int32, torch.bool, torch.complex64])
def test_dtypes_of_the_input(name, dtype, where):
    wanted = re.escape(f'the input is {dtype}; kernels take float32')
    refused(name, {input_of(name): torch.ones(T, *ROW).to(dtype)}, wanted, where)


@of(*SEQUENCES)
@pytest.mark.parametrize('shape', [(), (0, 4, 5), (0,)])
def test_sequences_without_steps(name, shape, where):
    wanted = re.escape(f'the input has shape {shape}; it must be (T, ...) with at least one')
    refused(name, {input_of(name): torch.ones(shape)}, wanted, where)


WRONG_STATES = [
    (lambda v: torch.zeros(3), r'has shape \(3,\) and is torch.float32 on cpu; to fit .* \(4, 5\)'),
    (lambda v: torch.zeros(()), r'has shape \(\)'),
    (lambda v: v[None], r'has shape \(1, 4, 5\)'),
    (lambda v: v.t(), r'has shape \(5, 4\)'),
    (lambda v: torch.zeros(4, 6), r'has shape \(4, 6\)'),
    (lambda v: v.double(), r'.* is torch.float64 on cpu; .* be torch.float32'),
    (lambda v: v.half(), r'.* is torch.float16'),
]


@pytest.mark.parametrize(('change', 'wanted'), WRONG_STATES)
@pytest.mark.parametrize(
    ('name', 'key'),
    [
        ('binary', 'v'),
        ('binary_backward', 'v'),
        ('binary_backward', 'grad_v_end'),
        ('ilif', 'v'),
        ('ilif_backward', 'grad_v_end'),
    ],
)
def test_membranes_that_do_not_fit(name, key, change, wanted, where):
    refused(name, {key: change}, f'{key} {wanted}', where)


@of('binary_backward', 'qcfs_backward')
@pytest.mark.parametrize('dtype', [torch.float16, torch.float64])
@pytest.mark.parametrize('shape', [(T, 4, 4), (1,), (T, 5, 4)])
def test_gradients_that_do_not_fit(name, dtype, shape, where):
    refused(name, dict(grad_out=torch.ones(shape)), 'grad_out has shape', where)
    refused(name, dict(grad_out=torch.ones(T, *ROW, dtype=dtype)), f'grad_out .* {dtype}', where)


@of('sfa_backward', 'ilif_backward')
def test_masks_that_do_not_fit(name, where):
    for mask in (
        torch.zeros(1, dtype=torch.uint8),
        torch.zeros(0, dtype=torch.uint8),
        torch.zeros(100, dtype=torch.uint8),
        torch.zeros(3, 3, dtype=torch.uint8),
        lambda mask: mask.to(torch.int8),
        lambda mask: mask.bool(),
    ):
        refused(name, dict(mask=mask), 'mask has shape', where)
    refused(name, dict(mask=lambda mask: mask.repeat(2)[::2]), 'mask has stride 2', where)


def test_a_large_gradient_with_a_small_mask(where):
    """As short as it can be: this one used to read far behind the mask."""
    with pytest.raises(ValueError, match=r'mask has shape \(1,\).* must have shape \(12500,\)'):
        torch.ops.mmspike.sfa_backward(
            torch.ones(1, 100_000), torch.zeros(1, dtype=torch.uint8), 1.0, [100_000, 1]
        )


@of('sfa_backward', 'ilif_backward')
@pytest.mark.parametrize(
    'strides', [[], [1], [20, 5], [1, 1, 1], [0, 5, 1], [40, 5, 1], [20, 10, 1], [-20, 5, 1]]
)
def test_strides_that_are_not_dense(name, strides, where):
    wanted = re.escape(f'strides {tuple(strides)} do not lay out shape (3, 4, 5) densely')
    refused(name, dict(strides=strides), wanted, where)


@pytest.mark.parametrize(
    ('learned', 'wanted'),
    [
        (torch.ones(2), r'shape \(2,\); it must be one number'),
        (torch.ones(0), r'shape \(0,\); it must be one number'),
        (torch.ones(1, 1), r'shape \(1, 1\); it must be one number'),
        (torch.ones((), dtype=torch.float64), r'shape \(\) and is torch.float64'),
        (torch.ones((1,), dtype=torch.int32), r'shape \(1,\) and is torch.int32'),
    ],
)
@pytest.mark.parametrize(
    ('name', 'key'),
    [
        ('binary', 'learned'),
        ('binary_backward', 'learned'),
        ('qcfs', 'threshold'),
        ('qcfs_backward', 'threshold'),
    ],
)
def test_learned_numbers_that_do_not_fit(name, key, learned, wanted, where):
    changes = dict(leak=MULTIPLY) if key == 'learned' else {}
    refused(name, {key: learned, **changes}, f'{key} has {wanted}', where)


@of('binary', 'binary_backward')
def test_a_learned_number_belongs_to_its_neurons(name, where):
    for leak, learned in ((NO_LEAK, LEARNED), (DIVIDE, LEARNED), (MULTIPLY, None), (SCALE, None)):
        refused(name, dict(leak=leak, learned=learned), 'learned must be given where', where)


@pytest.mark.parametrize(
    ('names', 'key', 'values', 'wanted'),
    [
        (['binary', 'binary_backward'], 'leak', [4, -1], 'leak must be one of'),
        (['binary', 'binary_backward'], 'surrogate', ['', 'relu'], 'surrogate must be one of'),
        (['sfa', 'ilif'], 'rounding', ['', 'up'], 'rounding must be one of'),
        (['sfa', 'ilif'], 'grad_window', ['', 'open'], 'grad_window must be one of'),
        (['sfa', 'ilif'], 'D', [0, -4, 1 << 23], 'D must lie between 1 and 4194304'),
        (['qcfs', 'qcfs_backward'], 'levels', [0, 1 << 30], 'levels must lie between 1 and'),
    ],
)
def test_options_that_kernels_do_not_know(names, key, values, wanted, where):
    for name in names:
        for value in values:
            refused(name, {key: value}, wanted, where)


def test_the_largest_integer_is_still_rounded_exactly():
    D = 1 << 22
    x = torch.tensor([D - 0.5, D - 1.5, D - 0.75, float(D), D + 1.0])
    out, _ = torch.ops.mmspike.sfa(x, *dict(ROUNDED, D=D).values(), False)
    assert out.tolist() == [D, D - 2, D - 1, D, D]
