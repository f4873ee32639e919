"""The part of a config that an exported file carries: what the host does around the network."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine import registry as registries
from mmengine.config import Config
from mmengine.registry import Registry

from mmspike.registry import Registry as OwnRegistry

KEPT = ('default_scope', 'data_preprocessor', 'test_dataloader', 'test_pipeline')
HOSTS = ('mmpretrain', 'mmdet', 'mmseg')
NETWORK = dict(type='mmspike.ExportedNetwork')
TUPLE = 'tuple of'
# Of the network, of training, and of mmspike's models around those of the hosts.
DROPPED = frozenset(
    {'neck', 'auxiliary_head', 'pretrained', 'init_cfg', 'train_cfg', 'host', 'qcfs', 'simulation'}
    | {'teacher', 'teacher_checkpoint', 'teacher_logits', 'distillation', 'alpha', 'tau'}
    | {'distill_weight', 'temperature'}
)
# mmdet finds these in mmcv.ops, not in a registry. Other names it would evaluate as Python.
OPERATORS = {'RoIAlign', 'RoIPool', 'nms', 'soft_nms'}
# Models of mmspike that differ from one of a host in training, or in the network, alone.
PLAIN = {'mmspike.DistilledClassifier': 'mmpretrain.ImageClassifier'}


def stored_config(cfg: Config) -> dict[str, Any]:
    """What of a config is needed around an exported network, as data for JSON."""
    kept = {key: cfg[key] for key in KEPT if cfg.get(key) is not None}
    model = {key: value for key, value in cfg.model.items() if key not in DROPPED}
    model['type'] = cfg.model.get('host') or PLAIN.get(cfg.model.type, cfg.model.type)
    # Detectors must be given these.
    model |= {key: None for key in ('neck', 'train_cfg') if key in cfg.model}
    kept['model'] = dict(model, backbone=NETWORK)
    # Paths of the data have no place in a file for others.
    dataset = cfg.test_dataloader.dataset
    reading = dict(type=dataset.type, pipeline=dataset.get('pipeline') or [])
    kept['test_dataloader'] = dict(dataset=reading)
    if cfg.get('visualizer'):
        kept['visualizer'] = dict(type=cfg.visualizer.type)  # without what it writes to
    return _plain(Config(kept).to_dict())


def _plain(node: Any) -> Any:
    """For JSON, which has no tuples: some transforms take nothing else."""
    match node:
        case dict():
            return {key: _plain(value) for key, value in node.items()}
        case tuple():
            return {TUPLE: [_plain(value) for value in node]}
        case list() | set():
            return [_plain(value) for value in node]
        case Path():
            return str(node)
    return node


def _with_tuples(node: Any) -> Any:
    """What :func:`_plain` was given."""
    if isinstance(node, list):
        return [_with_tuples(value) for value in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == {TUPLE} and isinstance(node[TUPLE], list):
        return tuple(_with_tuples(node[TUPLE]))
    return {key: _with_tuples(value) for key, value in node.items()}


def read_config(stored: dict[str, Any], path: Any) -> Config:
    """The config of a file, if it names registered classes alone.

    mmengine imports and calls whatever a config names by its full path, so a file of a stranger
    could run code.

    Raises:
        ValueError: A name is not that of a registered class.
    """
    stored = _with_tuples(stored)
    scope = stored.get('default_scope')
    if scope not in HOSTS:
        raise ValueError(f'{path} was refused: its default_scope is {scope!r}, not one of {HOSTS}')
    unknown = sorted(stored.keys() - {*KEPT, 'model', 'visualizer'})
    if unknown:
        raise ValueError(f'{path} was refused: its config has {unknown}, which no export writes')
    import_module(f'{scope}.registry')
    known = _registered(scope) | OPERATORS
    for name in _types(stored):
        owner, _, kind = name.rpartition('.')
        if kind not in known or owner not in ('', 'mmspike', 'mmengine', *HOSTS):
            raise ValueError(
                f'{path} was refused: it wants to build {name!r}, which is no registered class of '
                'mmspike or its hosts'
            )
    return Config(stored)


def _types(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get('type'), str):
            yield node['type']
        for child in node.values():
            yield from _types(child)
    elif isinstance(node, list | tuple):
        for child in node:
            yield from _types(child)


def _registered(host: str) -> set[str]:
    """Names of all registered classes, of mmengine, mmspike and a host."""
    waiting = [value for value in vars(registries).values() if isinstance(value, Registry)]
    names: set[str] = set()
    while waiting:
        registry = waiting.pop()
        if isinstance(registry, OwnRegistry):
            registry.import_parts(host)
        elif registry.scope in ('mmengine', host):
            registry.import_from_location()
        names |= registry.module_dict.keys()
        waiting += registry.children.values()
    return names
