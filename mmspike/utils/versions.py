"""Version check of the libraries mmspike stands on: too old fails, untested only warns."""

import warnings
from importlib import import_module

from mmengine.utils import digit_version

# library -> (oldest version that works, newest version tested, command that installs it)
SUPPORTED = {
    'mmengine': ('0.10.0', '0.10.12', 'pip install onedl-mmengine==0.10.12'),
    'mmcv': ('2.1.0', '2.3.6', 'pip install --no-build-isolation onedl-mmcv==2.3.6'),
    'mmpretrain': ('1.0.0', '1.3.6', 'pip install --no-build-isolation onedl-mmpretrain==1.3.6'),
}


def check_version(library: str) -> None:
    """Check the installed version of ``library``, a key of :data:`SUPPORTED`.

    Raises:
        ImportError: The library is missing or older than the oldest version that works; the
            message holds the command that installs the tested one.
    """
    oldest, newest, command = SUPPORTED[library]
    try:
        found = import_module(library).__version__
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise ImportError(f'mmspike needs {library}, which is not installed: {command}') from None
    if digit_version(found) < digit_version(oldest):
        raise ImportError(f'mmspike needs {library} >= {oldest}, found {found}: {command}')
    if digit_version(found) > digit_version(newest):
        warnings.warn(
            f'{library} {found} is newer than {newest}, the newest version mmspike was tested '
            'with; it may well work',
            stacklevel=2,
        )
