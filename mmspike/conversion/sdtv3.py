"""Weights of SDT v3 base (BICLab/Spike-Driven-Transformer-V3, ``Model_Base``) for MetaSpikformer.

The published files hold ``{'model': ..., 'optimizer': ..., 'args': Namespace, ...}``. Their
neurons clamp to 0..4, round half to even and divide by 4; the one before the classifier divides
by 1.
"""

import argparse
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmspike.backbones.meta_spikformer import (
    ARCHS,
    NUM_STAGES,
    MetaSpikformer,
)
from mmspike.conversion.families import SDTV3_BASE, identify
from mmspike.neurons import SFA
from mmspike.utils.checkpoint import atomic_write, read_checkpoint

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


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        state_dict: Weights of an mmpretrain classifier (``backbone.``, ``head.fc.``), with the
            neurons recorded in its metadata.
        arch: Architecture read from the shapes: a name, or a dict for MetaSpikformer.
        renamed: Old key to new key.
        missing: Keys of the model for which the file has nothing.
        unexpected: Keys of the file for which the model has no place.
    """

    state_dict: dict[str, Tensor]
    arch: str | dict
    renamed: dict[str, str]
    missing: list[str]
    unexpected: list[str]


def convert_sdtv3(weights: dict[str, Tensor], *, D: int = 4) -> Conversion:
    """Rename the weights of an SDT v3 base classifier.

    Args:
        weights: Name to tensor, as in the published files; a leading ``module.`` is dropped.
        D: Largest integer of the neurons the weights were trained with.

    Raises:
        ValueError: The weights belong to another model; the message says what it looks like. Or a
            tensor has a shape that no MetaSpikformer has.
    """
    weights = {key.removeprefix('module.'): value for key, value in weights.items()}
    looks_like = identify(list(weights))
    if looks_like != SDTV3_BASE:
        raise ValueError(f'expected {SDTV3_BASE}, but this looks like {looks_like}')
    renamed, tensors, unexpected = rename(weights, rename_key)
    arch = read_arch_of(tensors)
    has_scale = any('.scale1.' in key for key in tensors)
    with torch.device('meta'):
        backbone = MetaSpikformer(
            arch,
            in_channels=tensors['backbone.stages.0.downsample.conv.weight'].shape[1],
            neuron_cfg=dict(type='mmspike.SFA', D=D),
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


def fit_to_model(
    model: nn.Module,
    renamed: dict[str, str],
    tensors: dict[str, Tensor],
    *,
    known: list[str],
    unexpected: list[str],
    arch: str | dict,
) -> Conversion:
    """Put renamed tensors into the order of a model, with its neurons in the metadata.

    Args:
        model: The model; its tensors may be on the meta device.
        renamed: Old key to new key.
        tensors: New key to tensor.
        known: Keys that the model may have, in order.
        unexpected: Keys for which no new name was found.
        arch: Architecture of the backbone.

    Raises:
        ValueError: A tensor has another shape than the model's.
    """
    expected = model.state_dict()
    for old, new in renamed.items():
        if new in expected and tensors[new].shape != expected[new].shape:
            raise ValueError(
                f'{old} has shape {tuple(tensors[new].shape)}, the model wants '
                f'{tuple(expected[new].shape)} at {new}; these are weights of another model'
            )
    state_dict = type(expected)({key: tensors[key] for key in known if key in tensors})
    state_dict._metadata = expected._metadata
    return Conversion(
        state_dict=state_dict,
        arch=arch,
        renamed=renamed,
        missing=[key for key in known if key not in tensors],
        unexpected=unexpected + [old for old, new in renamed.items() if new not in known],
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
    content = read_checkpoint(source, [argparse.Namespace])
    conversion = convert_sdtv3(weights_in(content, source), D=D)
    lacking = [key for key in conversion.missing if not key.startswith('head.')]
    if lacking:
        raise ValueError(
            f'{source} lacks {len(lacking)} tensors of the model, among them {lacking[0]}'
        )
    meta = dict(
        arch=conversion.arch, neuron=SFA(D=D).describe(), head_neuron=SFA(D=D, norm=1).describe()
    )
    with atomic_write(target) as file:
        torch.save(dict(meta=dict(mmspike=meta), state_dict=conversion.state_dict), file)
    return conversion


def weights_in(content: dict, source: str | os.PathLike) -> dict[str, Tensor]:
    """The weights of a checkpoint's content, which may be the whole of it.

    Raises:
        ValueError: There is something else where they should be.
    """
    weights = next((content[key] for key in ('model', 'state_dict') if key in content), content)
    if not isinstance(weights, dict):
        raise ValueError(f'{source} holds a {type(weights).__name__} where weights are expected')
    return {key: value for key, value in weights.items() if isinstance(value, Tensor)}


def rename(
    weights: dict[str, Tensor], rule: Callable[[str], str | None]
) -> tuple[dict[str, str], dict[str, Tensor], list[str]]:
    """Apply a rule from old keys to new ones.

    Returns:
        Old key to new key; new key to tensor; keys for which the rule has no name.
    """
    renamed, tensors, unexpected = {}, {}, []
    for key, value in weights.items():
        new = rule(key)
        if new is None:
            unexpected.append(key)
            continue
        renamed[key] = new
        # The reference runs its MLP as 1-D convolutions over the tokens.
        tensors[new] = value.unsqueeze(-1) if '.mlp.' in new and value.dim() == 3 else value
    return renamed, tensors, unexpected


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
        raise ValueError(f'the weights are incomplete: nothing becomes {", ".join(absent)}')
    return dict(
        embed_dims=tuple(tensors[stem].shape[0] for stem in stems),
        depths=tuple(sum(stage == i for stage, _ in blocks) for i in range(NUM_STAGES)),
        num_heads=8,
        stem_stride=2,
    )
