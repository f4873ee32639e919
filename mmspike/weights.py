"""Whether the weights of a file are those of a model."""

import torch

from mmspike.neurons.records import is_record


def check_weights(
    model: torch.nn.Module, checkpoint: dict, path: str, *, partly: bool = False
) -> None:
    """The hosts only warn where weights do not fit, and would predict at random.

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
