"""The record of a neuron in checkpoints: text in a tensor.

A record is a dict: ``neuron`` is the description of the neuron, ``masking_ratio`` its share of
dropped spikes, if that is not 0. An empty record says nothing. Tools that copy, rename, average
or save weights take tensors, so the record is one: JSON in the bytes of a uint8 tensor.
"""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# torch's name for what a module saves beside parameters and buffers.
_EXTRA_STATE = '_extra_state'
# All records have this many bytes, because EMA tools copy one state dict into another.
_LENGTH = 256


class RecordError(ValueError):
    """The record of a neuron in a checkpoint is damaged."""


def record_key(name: str) -> str:
    """The key of a neuron's record in a state dict; ``name`` is empty for a lone neuron."""
    return f'{name}.{_EXTRA_STATE}' if name else _EXTRA_STATE


def is_record(key: str) -> bool:
    """Whether a key of a state dict is that of a record, not of a weight."""
    return key.split('.')[-1] == _EXTRA_STATE


def write_record(record: Mapping[str, Any]) -> Tensor:
    """A record as bytes on the CPU, ``(256,)`` or a multiple where that is too short."""
    text = json.dumps(record).encode()
    length = -(-len(text) // _LENGTH) * _LENGTH
    return torch.tensor(list(text.ljust(length)), dtype=torch.uint8, device='cpu')


def read_record(saved: Tensor, name: str) -> dict[str, Any]:
    """The record that :func:`write_record` wrote.

    Args:
        saved: Bytes, on any device. Floating-point numbers, as of tools that cast or average all
            that a checkpoint holds, are rounded.
        name: Name of the neuron, for messages.

    Raises:
        RecordError: It is no record.
    """
    fault = _fault(saved)
    if fault:
        raise RecordError(
            f'the record of {name} in the checkpoint must be a tensor of bytes, got {fault}; '
            'leave the keys that end in _extra_state as they were saved'
        )
    text = bytes(saved.cpu().float().round().to(torch.uint8).tolist())
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        raise RecordError(
            f'the record of {name} in the checkpoint is damaged: it begins with {text[:40]!r}'
        ) from None
    if not _is_record_of_neuron(record):
        raise RecordError(
            f'the record of {name} in the checkpoint is not known to this version of mmspike: '
            f'{record!r:.200}'
        )
    return record


def _fault(saved: Any) -> str:
    """The reason why a value of a checkpoint cannot be read as bytes; empty if it can."""
    if not isinstance(saved, Tensor):
        return type(saved).__name__
    if saved.is_meta:
        return 'one on the meta device, which holds no numbers'
    if saved.is_quantized:
        return f'a quantised one, {saved.dtype}'
    if saved.layout != torch.strided:
        return f'a sparse one, {saved.layout}'
    if saved.is_complex():
        return f'{saved.dtype}'
    return '' if saved.dim() == 1 else f'{type(saved).__name__} of shape {tuple(saved.shape)}'


def _is_record_of_neuron(record: Any) -> bool:
    match record:
        case {'neuron': {'type': str()}, 'masking_ratio': float(ratio)}:
            return len(record) == 2 and 0 <= ratio < 1
        case {'neuron': {'type': str()}}:
            return len(record) == 1
    return record == {}


def find_record(state_dict: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The record of a neuron in the state dict of a model; empty where there is none.

    Args:
        state_dict: Of this or an older version.
        name: Name of the neuron in the model.

    Raises:
        RecordError: There is something else.
    """
    metadata = getattr(state_dict, '_metadata', {})
    return find_local_record(state_dict, name, metadata.get(name, {}))


def find_local_record(
    state_dict: Mapping[str, Any], name: str, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """:func:`find_record` where a neuron is loaded.

    Args:
        state_dict: As torch hands it to the neuron.
        name: Name of the neuron in the model.
        metadata: The neuron's part of torch's metadata, where older versions kept the record.

    Raises:
        RecordError: There is something else.
    """
    if record_key(name) in state_dict:
        return read_record(state_dict[record_key(name)], name or 'the neuron')
    return {key: metadata[key] for key in ('neuron', 'masking_ratio') if key in metadata}
