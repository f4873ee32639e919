"""Weights of SDT v3 base (BICLab/Spike-Driven-Transformer-V3, ``Model_Base``) for MetaSpikformer.

The published files hold ``{'model': ..., 'optimizer': ..., 'args': Namespace, ...}``. Their
neurons clamp to 0..4, round half to even and divide by 4; the one before the classifier divides
by 1.
"""

import os
import re

import torch
from torch import Tensor, nn

from mmspike.backbones.meta_spikformer import (
    ARCHS,
    NUM_STAGES,
    MetaSpikformer,
)
from mmspike.converters.families import Family, declare
from mmspike.converters.weights import (
    Conversion,
    check_family,
    fit_to_model,
    read_weights,
    rename,
    write_classifier,
)
from mmspike.neurons import SFA

# Keys of all files of this network, and of those for event cameras alone.
KEYS = (r'^downsample1_1\.encode_conv\.', r'^ConvBlock1_1\.0\.Conv\.pwconv1\.0\.')
LAYER_SCALE = r'^block3\.\d+\.layer_scale1$'
FAMILY = declare(
    Family(
        'an SDT v3 base classifier',
        KEYS,
        without=(LAYER_SCALE,),
        targets=r'metaspikformer-(small|medium|large)\b.*_in1k',
        origin='its authors keep the weights at BICLab/Spike-Driven-Transformer-V3 on GitHub; '
        '`tools/model_converters/sdtv3_to_mmspike.py PUBLISHED {path}` converts them',
    )
)
# module of the reference -> module of ours; the two halves of a conv + norm pair come after
_PLACES = {
    'downsample1_1': 'stages.0.downsample',
    'downsample1_2': 'stages.1.downsample',
    'downsample2': 'stages.2.downsample',
    'downsample3': 'stages.3.downsample',
    'downsample4': 'stages.4.downsample',
    'ConvBlock1_1.0': 'stages.0.blocks.0',
    'ConvBlock1_2.0': 'stages.1.blocks.0',
    'ConvBlock2_1.0': 'stages.2.blocks.0',
    'ConvBlock2_2.0': 'stages.2.blocks.1',
}
# (pattern inside a place, replacement)
_PARTS = (
    (r'^encode_(conv|bn)\.', r'\1.'),
    (r'^(?:Conv|conv)\.pwconv(\d)\.0\.', r'sep_conv.pointwise\1.conv.'),
    (r'^(?:Conv|conv)\.pwconv(\d)\.1\.', r'sep_conv.pointwise\1.bn.'),
    (r'^(?:Conv|conv)\.dwconv\.0\.', r'sep_conv.depthwise.conv.'),
    (r'^(?:Conv|conv)\.dwconv\.1\.', r'sep_conv.depthwise.bn.'),
    (r'^conv(\d)\.', r'conv\1.conv.'),
    (r'^bn(\d)\.', r'conv\1.bn.'),
    (r'^attn\.([qkv])_conv\.0\.', r'attn.\1.conv.'),
    (r'^attn\.([qkv])_conv\.1\.', r'attn.\1.bn.'),
    (r'^attn\.proj_conv\.0\.', r'attn.out.conv.'),
    (r'^attn\.proj_conv\.1\.', r'attn.out.bn.'),
    (r'^mlp\.fc(\d)_(conv|bn)\.', r'mlp.fc\1.\2.'),
    (r'^layer_scale(\d)$', r'scale\1.weight'),
)


def convert_sdtv3(weights: dict[str, Tensor], *, D: int = 4) -> Conversion:
    """Rename the weights of an SDT v3 base classifier.

    Args:
        weights: Name to tensor, as in the published files; a leading ``module.`` is dropped.
        D: Largest integer of the neurons the weights were trained with.

    Raises:
        ValueError: The weights belong to another model; the message says what it looks like. Or a
            tensor has a shape that no MetaSpikformer has.
    """
    return convert_classifier(weights, FAMILY, D=D)


def convert_classifier(
    weights: dict[str, Tensor], family: Family, *, D: int, norm: float | None = None
) -> Conversion:
    """Rename the weights of a MetaSpikformer classifier of a family of files.

    Args:
        weights: Name to tensor, as in the published files; a leading ``module.`` is dropped.
        family: The family that they have to be of.
        D: Largest integer of the neurons the weights were trained with.
        norm: Divisor of the neurons; None divides by D. The one before the classifier divides by 1.

    Raises:
        ValueError: See :func:`convert_sdtv3`.
    """
    weights = check_family(weights, family)
    renamed, tensors, unexpected = rename(weights, rename_key)
    tensors = with_2d_mlp(tensors)
    arch = read_arch_of(tensors)
    has_scale = any('.scale1.' in key for key in tensors)
    with torch.device('meta'):
        backbone = MetaSpikformer(
            arch,
            in_channels=tensors['backbone.stages.0.downsample.conv.weight'].shape[1],
            neuron_cfg=dict(type='mmspike.SFA', D=D, norm=norm),
            layer_scale_init_value=1e-6 if has_scale else None,
        )
        model = nn.ModuleDict(
            dict(backbone=backbone, head=nn.ModuleDict(dict(neuron=SFA(D=D, norm=1))))
        )
    known = [*model.state_dict(), 'head.fc.weight', 'head.fc.bias']
    return fit_to_model(
        model,
        renamed,
        tensors,
        known=known,
        unexpected=unexpected,
        arch=next((name for name, known in ARCHS.items() if known == arch), arch),
    )


def convert_sdtv3_file(
    source: str | os.PathLike, target: str | os.PathLike, *, D: int = 4
) -> Conversion:
    """Convert a published file into a checkpoint of our own.

    Args:
        source: File of the reference. It is loaded with ``weights_only=True``; of all classes only
            ``argparse.Namespace`` is let in beside tensors.
        target: File to write, whole or not at all.
        D: Largest integer of the neurons the weights were trained with.

    Raises:
        FileNotFoundError, IsADirectoryError: ``source`` is not a file.
        ValueError: It is damaged, unsafe or of another model, or lacks weights.
    """
    conversion = convert_sdtv3(read_weights(source), D=D)
    write_classifier(
        conversion,
        source,
        target,
        neuron=SFA(D=D).describe(),
        head_neuron=SFA(D=D, norm=1).describe(),
    )
    return conversion


def with_2d_mlp(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The reference runs its MLP as 1-D convolutions over the tokens: give them a second axis."""
    return {
        key: value.unsqueeze(-1) if '.mlp.' in key and value.dim() == 3 else value
        for key, value in tensors.items()
    }


def rename_key(key: str) -> str | None:
    """Name of ours for a name of the reference's classifier; None if it has none."""
    if key in ('head.weight', 'head.bias'):
        return key.replace('head.', 'head.fc.')
    block = re.match(r'block([34])\.(\d+)\.', key)
    if block:
        place, rest = f'stages.{block[1]}.blocks.{block[2]}', key[block.end() :]
    else:
        old = next((old for old in _PLACES if key.startswith(old + '.')), None)
        if old is None:
            return None
        place, rest = _PLACES[old], key[len(old) + 1 :]
    for pattern, replacement in _PARTS:
        if re.search(pattern, rest):
            return f'backbone.{place}.{re.sub(pattern, replacement, rest)}'
    return None


def read_arch_of(tensors: dict[str, Tensor]) -> dict:
    """Widths and depths from the shapes. Heads and stem stride leave no trace: 8 and 2 always."""
    places = [re.match(r'backbone\.stages\.(\d)\.blocks\.(\d+)\.', key) for key in tensors]
    blocks = {(int(place[1]), int(place[2])) for place in places if place}
    stems = [f'backbone.stages.{i}.downsample.conv.weight' for i in range(NUM_STAGES)]
    absent = [stem for stem in stems if stem not in tensors]
    if absent:
        raise ValueError(f'the weights are incomplete: no tensor becomes {", ".join(absent)}')
    return dict(
        embed_dims=tuple(tensors[stem].shape[0] for stem in stems),
        depths=tuple(sum(stage == i for stage, _ in blocks) for i in range(NUM_STAGES)),
        num_heads=8,
        stem_stride=2,
    )
