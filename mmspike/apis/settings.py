"""``timesteps`` and ``D`` at the top of a config set T and D everywhere in it.

The number of time steps stands in the backbone, the neck, the heads and the frames of events; the
largest integer in every neuron. A config, or the command line, sets them all at once::

    timesteps = 4
    D = 8

Tools of mmspike apply them when they read a config. In every other tool with a Runner,
:class:`~mmspike.hooks.SettingsHook` does, which the base configs contain.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mmengine.config import Config

from mmspike.checks import check_integer
from mmspike.temporal import check_timesteps

# The parts of a config that something is built from.
BUILT = (
    *('model', 'train_dataloader', 'val_dataloader', 'test_dataloader'),
    *('data_preprocessor', 'tta_model', 'tta_pipeline'),
)


def check_d(D: int) -> int:
    """Return ``D`` if it is a positive integer."""
    return check_integer('D', D, at_least=1)


SETTINGS: dict[str, Callable[[int], int]] = {'timesteps': check_timesteps, 'D': check_d}

_WITHOUT = {
    'timesteps': 'timesteps. A network without spikes has none, and one with QCFS is trained in '
    'one step; mmspike.SpikingModel simulates it in many',
    'D': 'integer neurons (SFA, ILIF) that name their D',
}


def read_settings(cfg: Mapping) -> dict[str, int]:
    """``timesteps`` and ``D`` from the top of a config, as far as it has them.

    Raises:
        TypeError, ValueError: One of them is no positive integer.
    """
    return {key: check(cfg[key]) for key, check in SETTINGS.items() if cfg.get(key) is not None}


def apply_settings(cfg: Config) -> dict[str, tuple[int | None, int]]:
    """Write ``timesteps`` and ``D`` from the top of a config to all places of T and D.

    T: every ``timesteps`` of the model and of the data; None, an image of all events, stays. D:
    every ``D``, and every integer neuron that names none. A neuron's ``norm`` stays; where it names
    none, the neuron divides by D.

    Args:
        cfg: Config, changed in place.

    Returns:
        What changed: the dotted path to the value before (None: there was none) and after.

    Raises:
        TypeError, ValueError: A setting is no positive integer, or has no place in the model.
    """
    settings = read_settings(cfg)
    changed = {}
    for part in BUILT:
        changed.update(write_settings(cfg.get(part), settings, part))
    for key in settings if 'model' in cfg else ():
        if not any(key in node for _, node in _dicts(cfg.model, 'model')):
            raise ValueError(
                f'{key}={settings[key]} at the top of the config, but no part of the model has '
                f'{_WITHOUT[key]}'
            )
    return changed


def write_settings(
    part: Any, settings: Mapping[str, int], name: str
) -> dict[str, tuple[int | None, int]]:
    """:func:`apply_settings` for one part of a config, which is called ``name``."""
    changed = {}
    for path, node in _dicts(part, name):
        for key, value in settings.items():
            before = node.get(key)
            if key == 'D' and before is None:
                stands = _is_integer_neuron(node.get('type'))
            else:
                stands = before is not None
            if stands and before != value:
                node[key] = value
                changed[f'{path}.{key}'] = (before, value)
    return changed


def _dicts(node: Any, path: str) -> Iterator[tuple[str, dict]]:
    """All dicts in ``node`` with their dotted paths, itself first."""
    if isinstance(node, dict):
        yield path, node
        children = list(node.items())
    elif isinstance(node, list | tuple):
        children = list(enumerate(node))
    else:
        return
    for key, child in children:
        yield from _dicts(child, f'{path}.{key}')


def _is_integer_neuron(kind: Any) -> bool:
    from mmspike import neurons

    if not isinstance(kind, type):
        kind = getattr(neurons, str(kind).removeprefix('mmspike.'), None)
    return isinstance(kind, type) and issubclass(kind, neurons.IntegerNeuron)
