"""Whole parts of models under torch.compile: one graph or few serve all batches and image sizes.

These take minutes: torch reasons about sizes by formulas. Neurons alone are in
``tests/neurons/test_compile.py``.
"""

from dataclasses import replace

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from mmspike.backbones import MST
from mmspike.heads.seg import SpikeFCNHead
from support.small_parts import BACKBONES, PARTS, outputs

# Batch, height and width. No two sizes of an input are the same at first: torch would take them for
# one size, and begin anew where they differ.
SIZES = [(6, 80, 112), (3, 64, 96), (5, 41, 54)]
TIMESTEPS = 2
IMAGES = {part.name for part in BACKBONES}
# Formulas grow from stage to stage: one of them holds all there is, shifted windows included.
_ONE_STAGE = dict(embed_dims=8, depths=(2,), num_heads=(1,), window_size=4)
SHORTER = {
    'MST': lambda **o: MST(_ONE_STAGE, out_indices=(0,), **o),
    'MST for events': lambda **o: MST(
        _ONE_STAGE, out_indices=(0,), channel_align=True, mlp_norm=False, readout=True, **o
    ),
}
COMPILED = [replace(part, build=SHORTER.get(part.name, part.build)) for part in PARTS]

pytestmark = pytest.mark.usefixtures('compiled_anew')


def results(run, module, x):
    """Outputs, and gradients of inputs and parameters."""
    leaves = [level.clone().requires_grad_() for level in (x if isinstance(x, tuple) else (x,))]
    module.zero_grad()
    outs = outputs(run, tuple(leaves) if isinstance(x, tuple) else leaves[0])
    sum((out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum() for out in outs).backward()
    grads = [leaf.grad for leaf in leaves] + [p.grad for p in module.parameters()]
    assert any(grad is not None for grad in grads)
    return [*outs, *(grad for grad in grads if grad is not None)]


def graphs_of(part, backend):
    """Compare the compiled part with the part in three sizes; return the number of graphs."""
    module = part.make(timesteps=TIMESTEPS).eval()
    counter = CompileCounterWithBackend(backend)
    compiled = torch.compile(module, dynamic=True, fullgraph=True, backend=counter)
    for batch, *size in SIZES:
        x = part.input(batch if part.name in IMAGES else TIMESTEPS * batch, *size)
        for own, expected in zip(
            results(compiled, module, x), results(module, module, x), strict=True
        ):
            torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-4)
    return counter.frame_count


# Windows that shrink to a small map, odd sizes in a pyramid, and maps that a pooling leaves as they
# are make other graphs.
MORE_GRAPHS = {
    'MST': 3,
    'MST for events': 3,
    'SDT': 2,
    'SDT for events': 3,
    'SpikeFPN': 3,
    'SpikeFPN with norms': 3,
    'SpikeFPNHead': 3,
}


@pytest.mark.slow
@pytest.mark.parametrize('part', COMPILED, ids=lambda part: part.name)
def test_other_sizes_are_compiled_with_dynamic_shapes(part):
    assert graphs_of(part, 'eager') <= MORE_GRAPHS.get(part.name, 1)


@pytest.mark.slow
def test_the_default_compiler():
    """A head with one layer of each kind: every operation that is compiled takes a second."""
    head = next(part for part in COMPILED if part.name == 'SpikeFCNHead')

    def build(**options):
        return SpikeFCNHead(
            in_channels=4, in_index=0, channels=8, num_convs=1, concat_input=False, num_classes=3,
            norm_cfg=dict(type='BN'), **options,
        )  # fmt: skip

    graphs_of(replace(head, build=build), 'inductor')
