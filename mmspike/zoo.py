"""The configs that come with mmspike, by name, from a clone and from an installed wheel.

mmengine's ``'mmdet::...'`` paths and mmpretrain's ``list_models`` know a fixed set of packages.
These functions do the same for mmspike and change no table of another library.
"""

import difflib
import fnmatch
import os
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmspike.deprecation import renamed_arguments
from mmspike.metafiles import home, metafiles, models, weights_of

if TYPE_CHECKING:
    from mmengine.model import BaseModel

_PREFIX = 'mmspike::'
# host library -> its module and function that build a model from a config and a checkpoint
_BUILDERS = {
    'mmpretrain': ('mmpretrain', 'get_model'),
    'mmdet': ('mmdet.apis', 'init_detector'),
    'mmseg': ('mmseg.apis', 'init_model'),
}


def list_models(
    pattern: str = '*', task: str | None = None, family: str | None = None
) -> list[str]:
    """Names of the models, sorted.

    Args:
        pattern: Shell pattern, for example ``'sdt*digits'``.
        task: ``'classification'``, ``'detection'``, ``'segmentation'`` or ``'selfsup'``
            (pre-training); None: all.
        family: Folder of the configs, for example ``'metaspikformer'``, in upper or lower case;
            None: all.

    Raises:
        ValueError: There is no such task or family.
    """
    folders = {name: Path(entry['Config']).parts[1:3] for name, entry in models().items()}
    wanted = dict(task=task, family=family and family.lower())
    for i, (kind, value) in enumerate(wanted.items()):
        known = sorted({parts[i] for parts in folders.values()})
        if value is not None and value not in known:
            raise ValueError(f'{kind} is one of {", ".join(known)}, got {value!r}')
    return sorted(
        name
        for name, parts in folders.items()
        if fnmatch.fnmatch(name, pattern)
        and all(value in (None, part) for value, part in zip(wanted.values(), parts, strict=True))
    )


def config_path(name: str) -> Path:
    """The file of a config.

    Args:
        name: A name of :func:`list_models`, or a path below ``configs`` with or without the prefix
            ``mmspike::``, for example ``'mmspike::_base_/models/mst_cls.py'``.

    Raises:
        ValueError: There is no such config; the message names close ones.
    """
    wanted = name.removeprefix(_PREFIX).removesuffix('.py')
    entry = models().get(wanted)
    path = home() / (entry['Config'] if entry else f'configs/{wanted}.py')
    if path.is_file() and '..' not in path.parts:
        return path
    close = difflib.get_close_matches(Path(wanted).name, models(), n=3, cutoff=0.5)
    meant = f'; close names are {", ".join(close)}' if close else ''
    raise ValueError(f'mmspike has no config {name!r}{meant}; mmspike.list_models() lists all')


def get_config(name: str) -> Config:
    """The config called ``name``; see :func:`config_path`."""
    return Config.fromfile(config_path(name))


@renamed_arguments(checkpoint='pretrained')
def get_model(
    name: str,
    pretrained: bool | str | os.PathLike | None = False,
    device: str = 'cpu',
    **options,
) -> 'BaseModel':
    """Build a model by the function of its host library, in evaluation mode.

    That is ``mmpretrain.get_model``, ``mmdet.apis.init_detector`` or ``mmseg.apis.init_model``, so
    that the host's inferencers and functions take the result.

    Args:
        name: See :func:`config_path`. A config needs the host library of its ``default_scope``.
        pretrained: A file of weights: a checkpoint of mmspike, or a published file of another
            project, which is converted. True takes the converted file from where the metafile of
            the model says it belongs, below the current folder. False leaves the model untrained.
        device: Where the model is put.
        **options: Overrides in ``model``, for example ``backbone=dict(with_cp=True)``.

    Raises:
        FileNotFoundError, IsADirectoryError: There is no file of weights. For
            ``pretrained=True`` the message says where to get it and how to convert it.
        ValueError: There is no such config, or it is no whole one. No weights are known for it, or
            they are damaged or do not fit.
        NeuronMismatchError: The checkpoint was made with other neurons.
    """
    cfg = get_config(name)
    check_whole(cfg, name)
    cfg.merge_from_dict(dict(model=options))
    if pretrained is True:
        pretrained = _usual_weights(config_path(name).stem)
    if pretrained is None or pretrained is False:
        return _build(cfg, None, device)
    return _load(cfg, pretrained, device)


def check_whole(cfg: Config, name: str) -> None:
    """Check that a config has a model and names its host library.

    Raises:
        ValueError: It has not.
    """
    if cfg.get('model') is None or cfg.get('default_scope') not in _BUILDERS:
        raise ValueError(
            f'{name} is no whole config, with model and default_scope ({", ".join(_BUILDERS)}): '
            'mmspike.list_models() lists those of mmspike'
        )


def _build(cfg: Config, checkpoint: str | None, device: str) -> 'BaseModel':
    """Let the host library of a config build its model."""
    module, function = _BUILDERS[cfg.default_scope]
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        build = getattr(import_module(module), function)
        return build(cfg, checkpoint, device=device).eval()


def _load(cfg: Config, path: str | os.PathLike, device: str) -> 'BaseModel':
    """Build the model of a config with a checkpoint of mmspike, or a published file."""
    # Imported here: they need torch's parts, and `import mmspike` stays light.
    import torch

    from mmspike.converters.convert import convert_weights_of, converter_for
    from mmspike.converters.weights import checkpoint_of, read_published, weights_in
    from mmspike.weights import check_weights

    content = read_published(path)
    weights, meta = weights_in(content, path), content.get('meta')
    checkpoint = dict(meta=meta if isinstance(meta, dict) else {}, state_dict=weights)
    model, converter = model_on_meta(cfg), converter_for(weights)
    if converter is not None:
        conversion = convert_weights_of(path, weights, model if converter.needs_model else None)
        checkpoint = checkpoint_of(conversion)
    check_weights(model, checkpoint, str(path))
    # The hosts read weights, and the classes of the data, from a file. With the file itself, they
    # would go back to `pickle` where it holds more than tensors and plain values.
    with TemporaryDirectory() as folder:
        checked = Path(folder, 'checked.pth')
        torch.save(checkpoint, checked)
        return _build(cfg, str(checked), device)


def model_on_meta(cfg: Config) -> 'BaseModel':
    """The model of a whole config, without weights: its tensors are on the meta device."""
    import torch
    from mmengine.registry import MODELS

    with DefaultScope.overwrite_default_scope(cfg.default_scope), torch.device('meta'):
        return MODELS.build(cfg.model)


def _usual_weights(model: str) -> Path:
    """Where the weights of a model belong, if they are there."""
    known = weights_of(model)
    if known is None or known.target is None:
        raise ValueError(
            f'no weights are known for {model}: give a file of your own '
            "(pretrained='FILE') instead of pretrained=True"
        )
    if not Path(known.target).exists():
        raise FileNotFoundError(
            f'there is no file {known.target}, the weights of {model} ({known.content}): '
            f'{known.how_to_get(known.target)}'
        )
    return Path(known.target)


def register_in_mmpretrain() -> None:
    """Let ``mmpretrain.list_models``, ``get_model`` and inferencers find its models by name.

    They are the classifiers and the models for pre-training. It uses mmpretrain's ``ModelHub``,
    which belongs to the process; call it once.
    """
    from mmpretrain.apis.model import ModelHub

    for path, content in metafiles().items():
        names = [entry['Name'] for entry in content['Models']]
        of_mmpretrain = Path(path).parts[1] in ('classification', 'selfsup')
        if of_mmpretrain and not all(ModelHub.has(name) for name in names):
            ModelHub.register_model_index(home() / path, config_prefix=home())
