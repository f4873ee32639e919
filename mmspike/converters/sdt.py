"""Weights of SDT (BICLab/Spike-Driven-Transformer) for the backbone of that name.

The published files are timm's: ``{'state_dict': ..., 'optimizer': ..., 'args': Namespace, ...}``,
with averaged weights in ``'state_dict_ema'`` where a run kept them.
"""

import re

import torch
from torch import Tensor, nn

from mmspike.backbones.sdt import ARCHS, NUM_CONVS, SDT
from mmspike.converters.families import Family, converter_of
from mmspike.converters.weights import (
    Conversion,
    check_family,
    fit_to_model,
    rename,
    sizes_of,
)
from mmspike.neurons import LIF, PLIF, BaseNeuron

FAMILY = Family('an SDT v1 checkpoint', (r'^patch_embed\.proj_conv\.', r'^block\.\d+\.attn\.'))
# Built by the reference and never called.
_UNUSED = re.compile(r'block\.\d+\.attn\.(talking_heads|attn_lif)\.|patch_embed\.rpe_lif\.')
_BLOCK_PARTS = (
    (r'attn\.([qkv])_(conv|bn)\.', r'attn.\1.\2.'),
    (r'attn\.proj_(conv|bn)\.', r'attn.out.\1.'),
    (r'mlp\.(fc\d)_(conv|bn)\.', r'mlp.\1.\2.'),
    # neurons, which have a learned decay if they are PLIF
    (r'attn\.shortcut_lif\.', r'attn.neuron.'),
    (r'attn\.([qkv])_lif\.', r'attn.\1.activate.'),
    (r'attn\.talking_heads_lif\.', r'attn.kv_neuron.'),
    (r'mlp\.(fc\d)_lif\.', r'mlp.\1.activate.'),
)


@converter_of(FAMILY)
def convert_sdt(weights: dict[str, Tensor]) -> Conversion:
    """Rename the weights of an SDT classifier.

    The keys tell whether its neurons are LIF or PLIF. Parts that the reference builds and never
    calls are left out.

    Args:
        weights: Name to tensor, as in the published files; a leading ``module.`` is dropped.

    Raises:
        ValueError: The weights belong to another model; the message says what it looks like. Or a
            tensor has a shape that no SDT has.
    """
    weights = check_family(weights, FAMILY)
    unused = [key for key in weights if _UNUSED.match(key)]
    renamed, tensors, unexpected = rename(weights, rename_key)
    arch = read_arch_of(tensors)
    neuron = neuron_of(tensors)
    with torch.device('meta'):
        backbone = SDT(
            arch,
            in_channels=tensors['backbone.stages.0.conv.conv.weight'].shape[1],
            neuron_cfg=dict(type=neuron),
        )
        model = nn.ModuleDict(dict(backbone=backbone, head=nn.ModuleDict(dict(neuron=neuron()))))
    return fit_to_model(
        model,
        renamed,
        tensors,
        known=[*model.state_dict(), 'head.fc.weight', 'head.fc.bias'],
        unexpected=unexpected,
        unused=unused,
        arch=next((name for name, known in ARCHS.items() if known == arch), arch),
        meta=dict(neuron=neuron().describe()),
    )


def rename_key(key: str) -> str | None:
    """Name of ours for a name of the reference's; None if it has none."""
    if key.startswith('head.'):
        return key.replace('head.', 'head.fc.')
    if key.startswith('head_lif.'):
        return key.replace('head_lif.', 'head.neuron.')
    patch = re.fullmatch(r'patch_embed\.(proj|rpe)_(conv|bn|lif)(\d?)\.(\w+)', key)
    if patch and not _UNUSED.match(key):
        part, kind, number, name = patch.groups()
        stage = NUM_CONVS if part == 'rpe' else int(number or 0)
        if kind == 'lif':
            # It follows its convolution, and begins our next stage.
            stage += 1
            place = 'conv.activate' if stage == NUM_CONVS else 'neuron'
        else:
            place = f'conv.{kind}'
        return f'backbone.stages.{stage}.{place}.{name}'
    block = re.match(r'block\.(\d+)\.', key)
    if block:
        rest = key[block.end() :]
        for pattern, replacement in _BLOCK_PARTS:
            if re.match(pattern, rest):
                stage = NUM_CONVS + 1 + int(block[1])
                return f'backbone.stages.{stage}.{re.sub(pattern, replacement, rest)}'
    return None


def neuron_of(tensors: dict[str, Tensor]) -> type[BaseNeuron]:
    """The neurons that converted weights are for."""
    return PLIF if any(key.endswith(('neuron.w', 'activate.w')) for key in tensors) else LIF


def read_arch_of(tensors: dict[str, Tensor]) -> dict:
    """Width and depth from the shapes. Pools leave no trace."""
    widths = [
        sizes_of(tensors, f'backbone.stages.{i}.conv.conv.weight', 4)[0] for i in range(NUM_CONVS)
    ]
    blocks = {match[1] for key in tensors if (match := re.match(r'(.*\.stages\.\d+)\.mlp\.', key))}
    return dict(embed_dims=widths[-1], depth=len(blocks))
