"""What the metafiles of the configs say: models, and files of weights for them.

``configs/*/*/metafile.yml`` are the only source of names, sizes and published files. They are read
from a clone and from an installed wheel alike.
"""

import os
import shlex
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.fileio import load

_PACKAGE = Path(__file__).resolve().parent
_CONVERT = Path('tools/model_converters/convert.py')


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A file of weights that a model's authors published, or that a command of mmspike writes.

    Attributes:
        content: What it holds, for tables and messages.
        file: Name of the published file; None if it is not known.
        page: Address of the page that offers it; None if nothing is published.
        url: Address of the file itself, where there is one.
        converter: Name in :data:`mmspike.converters.families.CONVERTERS`; None without a converter.
        options: Options of the converter that the file needs.
        tensors: Number of tensors in the published file.
        target: Where configs and :func:`mmspike.get_model` expect the converted file.
        config: Name of the model that it is for.
        command: The command that writes ``target``, for files of mmspike's own.
    """

    content: str
    file: str | None = None
    page: str | None = None
    url: str | None = None
    converter: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    tensors: int | None = None
    target: str | None = None
    config: str | None = None
    command: str | None = None

    def words(self) -> list[str]:
        """The options on the command line of ``convert.py``."""
        return [f'--{key.replace("_", "-")}={value}' for key, value in self.options.items()]

    def how_to_get(self, path: str | os.PathLike) -> str:
        """How to get the file in mmspike's form at ``path``: a clause for messages."""
        if self.command:
            return f'`{self.command}` writes it'
        tool = _CONVERT if _CONVERT.is_file() else home() / _CONVERT
        words = ['python', str(tool), self.file or 'PUBLISHED', str(path), *self.words()]
        source = f'download it from {self.url or self.page}'
        if not self.page:
            source = 'its authors published no file; take one of your own from their code'
        return f'{source}, then convert it: `{shlex.join(words)}`'


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
def metafiles() -> dict[str, dict]:
    """Path below :func:`home` -> content of the metafile."""
    paths = load(str(home() / 'model-index.yml'))['Import']
    return {path: load(str(home() / path)) for path in paths}


@cache
def models() -> dict[str, dict]:
    """Name of a model -> its entry in the metafile of its family."""
    return {entry['Name']: entry for content in metafiles().values() for entry in content['Models']}


@cache
def weights_files() -> tuple[WeightsFile, ...]:
    """All files of weights that the metafiles list."""
    return tuple(
        WeightsFile(**{key.lower(): value for key, value in entry.items()})
        for content in metafiles().values()
        for entry in content.get('Weights', ())
    )


def weights_at(target: str | os.PathLike) -> WeightsFile | None:
    """The file that belongs at a path, by the path's last part; None if unknown."""
    name = Path(target).name
    return next(
        (one for one in weights_files() if one.target and Path(one.target).name == name), None
    )


def weights_of(model: str) -> WeightsFile | None:
    """The file that belongs to a model, the first of those listed; None if there is none."""
    return next((one for one in weights_files() if one.target and one.config == model), None)


def weights_named(file: str | os.PathLike) -> WeightsFile | None:
    """The file that was published under a name; None if unknown."""
    return next((one for one in weights_files() if one.file == Path(file).name), None)
