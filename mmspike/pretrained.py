"""Checks of pretrained files: they exist and are safe to read."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, get_local_rank
from mmengine.model import BaseModule
from mmengine.model.weight_init import PretrainedInit

from mmspike.files import read_training_checkpoint
from mmspike.metafiles import models, weights_at


def check_pretrained(module: BaseModule) -> None:
    """Read the checkpoints that ``module.init_cfg`` names, before mmengine does.

    mmengine falls back to ``pickle``, which runs what a file wants, where torch refuses a file. So
    backbones, necks and heads call this before they are initialised.

    Raises:
        FileNotFoundError, IsADirectoryError: There is no such file.
        UnsafeCheckpointError: The file wants to run code.
        ValueError: The file is damaged, holds nothing for the module or weights of other shapes,
            or is not of a kind of address that can be looked at first.
    """
    cfgs = [module.init_cfg] if isinstance(module.init_cfg, dict) else module.init_cfg or []
    for cfg in cfgs:
        if cfg['type'] not in ('Pretrained', PretrainedInit):
            continue
        content = read_training_checkpoint(_local(cfg['checkpoint'], 'init_cfg'))
        weights = content.get('state_dict', content)
        prefix = cfg.get('prefix') or ''
        prefix += '.' if prefix and not prefix.endswith('.') else ''
        own = {name.removeprefix('module.').removeprefix(prefix): name for name in weights}
        parameters = dict(module.named_parameters())
        if not set(own) & set(parameters):
            raise ValueError(
                f'{cfg["checkpoint"]} holds no weight of the {type(module).__name__} that '
                f'begins with it (prefix={cfg.get("prefix")!r}); its keys are '
                f'{", ".join(list(weights)[:3])}, ...'
            )
        for name in (name for name in parameters if name in own):
            found, needed = (tuple(x.shape) for x in (weights[own[name]], parameters[name]))
            # torch takes a single number with and without a dimension for the same. Of other
            # shapes, mmengine would only warn and skip the tensor.
            if (found or (1,)) != (needed or (1,)):
                raise ValueError(
                    f'{cfg["checkpoint"]} holds weights of another network: its {own[name]} has '
                    f'shape {found}, that of the {type(module).__name__} has {needed}'
                )


def check_pretrained_files(model: Mapping[str, Any]) -> None:
    """Check that the pretrained and teacher files of a config exist and are complete.

    Raises:
        FileNotFoundError: One is not; the message says where it is from and how to go without.
        ValueError: One is damaged or unsafe.
    """
    for key, path in _named_files(model, 'model'):
        if '://' not in path:
            read_training_checkpoint(_local(path, key))


def _named_files(node: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        if node.get('type') == 'Pretrained' and node.get('checkpoint'):
            yield place, node['checkpoint']
        if node.get('teacher_checkpoint'):
            yield f'{place}.teacher_checkpoint', node['teacher_checkpoint']
        for key, value in node.items():
            yield from _named_files(value, f'{place}.{key}')
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from _named_files(value, f'{place}.{i}')


def _local(source: str, key: str) -> Path:
    """The local file of an option."""
    if source.startswith(('http://', 'https://')):
        return _download(source)
    if '://' in source:
        raise ValueError(f'{source} cannot be checked before it is used: download it first')
    path = Path(source).expanduser()
    if path.exists():
        return path
    without = '' if key.endswith('teacher_checkpoint') else (
        f'. To start from random weights set {key}=None (in a tool: --cfg-options {key}=None)'
    )  # fmt: skip
    raise FileNotFoundError(
        f'there is no file {source}, which {key} names: {_origin(source)}{without}'
    )


def _origin(path: str) -> str:
    """How to get a file: from its name in the metafiles, or from the config whose work it is."""
    found, trained = weights_at(path), models().get(Path(path).parent.name)
    if found:
        return found.how_to_get(path)
    if trained:
        return f'`python tools/train.py {trained["Config"]}` writes it'
    return 'a checkpoint of mmspike or a converted one is expected'


def _download(url: str) -> Path:
    """Where mmengine's loader looks for the file at an address, and loads it if it is not there."""
    path = Path(torch.hub.get_dir(), 'checkpoints', Path(urlparse(url).path).name)
    if get_local_rank() == 0 and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path))
    barrier()
    return path
