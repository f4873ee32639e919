"""Version check of the libraries mmspike stands on: too old fails, untested only warns."""

import re
import warnings
from importlib import import_module
from importlib.metadata import packages_distributions

# library -> (oldest version that works, newest version tested, command that installs it)
SUPPORTED = {
    'torch': ('2.6', '2.14.1', 'pip install torch==2.9.1 torchvision==0.24.1 torchaudio==2.9.1'),
    'mmengine': ('0.10.8', '0.10.12', 'pip install onedl-mmengine==0.10.12'),
    'mmcv': ('2.1.0', '2.3.6', 'pip install --no-build-isolation onedl-mmcv==2.3.6'),
    'mmpretrain': ('1.0.0', '1.3.6', 'pip install --no-build-isolation onedl-mmpretrain==1.3.6'),
    'mmdet': ('3.3.0', '3.5.1', 'pip install --no-build-isolation onedl-mmdetection==3.5.1'),
    'mmseg': ('1.2.0', '1.4.2', 'pip install --no-build-isolation onedl-mmsegmentation==1.4.2'),
}


def _numbers(version: str) -> tuple[int, ...]:
    """``'2.9.1+cu128'`` -> ``(2, 9, 1)``; what follows the release number does not count."""
    return tuple(map(int, re.findall(r'\d+(?:\.\d+)*', version)[0].split('.')))


def install_command(library: str, *, missing: bool = False) -> str:
    """The command that brings the tested version of ``library`` into this environment.

    The original OpenMMLab distributions (``mmcv``, ``mmdet``, ...) and their continuation
    (``onedl-mmcv``, ``onedl-mmdetection``, ...) own the same files. Where both are installed, the
    files are those of the one that was installed last, and pip calls the other one "already
    satisfied". So the others are uninstalled first, and the files are written anew.

    Args:
        library: A key of :data:`SUPPORTED`.
        missing: The library cannot be imported. If pip believes that it is installed, its files
            were removed together with those of the other distribution.
    """
    command = SUPPORTED[library][2]
    installed = sorted(set(packages_distributions().get(library, [])))
    tested = re.findall(r'([\w-]+)==', command)
    others = [name for name in installed if name.lower().replace('_', '-') not in tested]
    if not installed or not (others or missing):
        return command
    repair = command.replace('pip install', 'pip install --force-reinstall --no-deps', 1)
    return f'pip uninstall -y {" ".join(others)} && {repair}' if others else repair


def _shared(library: str) -> str:
    """A sentence about several distributions that own the files of ``library``, or nothing."""
    installed = sorted(set(packages_distributions().get(library, [])))
    if len(installed) < 2:
        return ''
    return f' ({" and ".join(installed)} are both installed and own the same files)'


def check_version(library: str) -> None:
    """Check the installed version of ``library``, a key of :data:`SUPPORTED`.

    Raises:
        ImportError: The library is missing or older than the oldest version that works; the
            message holds the command that installs the tested one.
    """
    oldest, newest, _ = SUPPORTED[library]
    try:
        found = import_module(library).__version__
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise ImportError(
            f'mmspike needs {library}, which is not installed: '
            f'{install_command(library, missing=True)}'
        ) from None
    if _numbers(found) < _numbers(oldest):
        raise ImportError(
            f'mmspike needs {library} >= {oldest}, found {found}{_shared(library)}: '
            f'{install_command(library)}'
        )
    if _numbers(found) > _numbers(newest):
        warnings.warn(
            f'{library} {found} is newer than {newest}, the newest version mmspike was tested '
            'with; it probably works',
            stacklevel=2,
        )
