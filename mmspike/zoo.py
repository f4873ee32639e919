"""The configs that come with mmspike, by name, from a clone and from an installed wheel.

mmengine's ``'mmdet::...'`` paths and mmpretrain's ``list_models`` know a fixed set of packages.
These functions do the same for mmspike and change no table of another library.
"""

import difflib
import fnmatch
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config
from mmengine.fileio import load
from mmengine.registry import DefaultScope

if TYPE_CHECKING:
    from mmengine.model import BaseModel

_PACKAGE = Path(__file__).resolve().parent
_PREFIX = 'mmspike::'
# host library -> its module and function that build a model from a config and a checkpoint
_BUILDERS = {
    'mmpretrain': ('mmpretrain', 'get_model'),
    'mmdet': ('mmdet.apis', 'init_detector'),
    'mmseg': ('mmseg.apis', 'init_model'),
}


def home() -> Path:
    """The folder of ``configs``, ``tools`` and ``model-index.yml``.

    An installation keeps them in ``mmspike/.mim``; in a clone that is not installed they stand
    beside the package.

    Raises:
        FileNotFoundError: They are in neither place.
    """
    for folder in (_PACKAGE / '.mim', _PACKAGE.parent):
        if (folder / 'model-index.yml').is_file():
            return folder
    raise FileNotFoundError(
        f'the configs of mmspike are neither in {_PACKAGE / ".mim"} nor beside {_PACKAGE}; install '
        'mmspike again: pip install --force-reinstall --no-deps mmspike (or -e . in a clone)'
    )


@cache
def _models() -> dict[str, dict]:
    """Name of a model -> its entry in the metafile of its family."""
    root = home()
    metafiles = load(str(root / 'model-index.yml'))['Import']
    return {
        entry['Name']: entry for path in metafiles for entry in load(str(root / path))['Models']
    }


def list_models(pattern: str = '*', task: str | None = None) -> list[str]:
    """Names of the models, sorted.

    Args:
        pattern: Shell pattern, for example ``'sdt*digits'``.
        task: ``'classification'``, ``'detection'`` or ``'segmentation'``; None: all.

    Raises:
        ValueError: There is no such task.
    """
    tasks = sorted({_task(entry) for entry in _models().values()})
    if task is not None and task not in tasks:
        raise ValueError(f'task is one of {", ".join(tasks)}, got {task!r}')
    return sorted(
        name
        for name, entry in _models().items()
        if fnmatch.fnmatch(name, pattern) and task in (None, _task(entry))
    )


def _task(entry: dict) -> str:
    return Path(entry['Config']).parts[1]


def config_path(name: str) -> Path:
    """The file of a config.

    Args:
        name: A name of :func:`list_models`, or a path below ``configs`` with or without the prefix
            ``mmspike::``, for example ``'mmspike::_base_/models/mst_cls.py'``.

    Raises:
        ValueError: There is no such config; the message names close ones.
    """
    wanted = name.removeprefix(_PREFIX)
    entry = _models().get(wanted.removesuffix('.py'))
    path = home() / (entry['Config'] if entry else Path('configs', wanted).with_suffix('.py'))
    if path.is_file():
        return path
    close = difflib.get_close_matches(Path(wanted).stem, _models(), n=3, cutoff=0.5)
    meant = f'; close names are {", ".join(close)}' if close else ''
    raise ValueError(f'mmspike has no config {name!r}{meant}; mmspike.list_models() lists all')


def get_config(name: str) -> Config:
    """The config called ``name``; see :func:`config_path`."""
    return Config.fromfile(config_path(name))


def get_model(
    name: str, checkpoint: str | None = None, device: str = 'cpu', **options
) -> 'BaseModel':
    """Build a model by the function of its host library, in evaluation mode.

    That is ``mmpretrain.get_model``, ``mmdet.apis.init_detector`` or ``mmseg.apis.init_model``, so
    that the host's inferencers and functions take the result.

    Args:
        name: See :func:`config_path`. A config needs the host library of its ``default_scope``.
        checkpoint: File of weights; None leaves the model untrained. mmspike publishes no weights.
        device: Where the model is put.
        **options: Overrides in ``model``, for example ``backbone=dict(with_cp=True)``.

    Raises:
        ValueError: There is no such config, or the weights do not fit.
        NeuronMismatchError: The checkpoint was made with other neurons.
    """
    # Imported here: they need torch's and OpenCV's parts, and `import mmspike` stays light.
    from mmspike.files import read_training_checkpoint
    from mmspike.weights import check_weights

    cfg = get_config(name)
    cfg.merge_from_dict(dict(model=options))
    host = cfg.default_scope
    module, function = _BUILDERS[host]
    weights = None if checkpoint is None else read_training_checkpoint(checkpoint)
    with DefaultScope.overwrite_default_scope(host):
        model = getattr(import_module(module), function)(cfg, checkpoint, device=device)
    if weights is not None:
        check_weights(model, weights, str(checkpoint))
    return model.eval()


def register_in_mmpretrain() -> None:
    """Let ``mmpretrain.list_models``, ``get_model`` and inferencers find the classifiers by name.

    It uses mmpretrain's ``ModelHub``, which belongs to the process; call it once.
    """
    from mmpretrain.apis.model import ModelHub

    for path in _classification_metafiles():
        names = [entry['Name'] for entry in load(str(path))['Models']]
        if not all(ModelHub.has(name) for name in names):
            ModelHub.register_model_index(path, config_prefix=home())


def _classification_metafiles() -> list[Path]:
    root = home()
    index = load(str(root / 'model-index.yml'))['Import']
    return [root / path for path in index if Path(path).parts[1] == 'classification']
