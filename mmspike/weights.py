"""Loading weights into a model if they fit."""

import os

import torch
from mmengine.runner import load_checkpoint

from mmspike.files import read_training_checkpoint
from mmspike.neurons.records import is_record


def load_weights(model: torch.nn.Module, path: str | os.PathLike) -> None:
    """Load a checkpoint into a model, if it is safe to read and all weights fit.

    Raises:
        FileNotFoundError, IsADirectoryError: There is no such file.
        ValueError: It cannot be read, is unsafe, or its weights do not fit; see
            :func:`check_weights`.
        NeuronMismatchError: The checkpoint was made with other neurons.
    """
    check_weights(model, read_training_checkpoint(path), str(path))
    load_checkpoint(model, str(path), map_location='cpu', logger='silent')


def check_weights(
    model: torch.nn.Module, checkpoint: dict, path: str, *, partly: bool = False
) -> None:
    """Refuse weights that do not fit. The hosts only warn and then predict at random.

    Args:
        model: The model that is to take the weights; it is not changed.
        checkpoint: Content of the file.
        path: The file, for the message.
        partly: Whether some weights are enough, as for fine-tuning.

    Raises:
        ValueError: Weights of ``model`` are missing in ``checkpoint`` or of another shape; the
            message lists them.
    """
    found = _shapes(checkpoint.get('state_dict', checkpoint))
    needed = _shapes(model.state_dict())
    missing = [name for name in needed if name not in found]
    # torch takes a single number with and without a dimension for the same.
    others = [
        f'{name} (file {found[name]}, model {shape})'
        for name, shape in needed.items()
        if name in found and (found[name] or (1,)) != (shape or (1,))
    ]
    bad = len(missing) + len(others)
    if not bad or (partly and bad < len(needed)):
        return
    unexpected = [name for name in found if name not in needed]
    faults = [
        f'{len(names)} {what}: {_listed(names)}'
        for what, names in (
            ('of another shape', others),
            ('missing in the file', missing),
            ('in the file alone', unexpected),
        )
        if names
    ]
    raise ValueError(
        f'{path} does not fit the config: of the {len(needed)} weights of its model, '
        + '; '.join(faults)
    )


def _shapes(weights: dict) -> dict[str, tuple[int, ...]]:
    """Name to shape of weights, without the prefix of wrappers and what counts batches."""
    return {
        name.removeprefix('module.'): tuple(value.shape)
        for name, value in weights.items()
        if isinstance(value, torch.Tensor)
        and not name.endswith('num_batches_tracked')
        and not is_record(name)
    }


def _listed(names: list[str], most: int = 20) -> str:
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more
