import sys
from types import SimpleNamespace

import pytest

from mmspike.utils.versions import SUPPORTED, check_version


def pretend(monkeypatch, version):
    monkeypatch.setitem(sys.modules, 'mmcv', SimpleNamespace(__version__=version))


def test_too_old_fails_with_the_command(monkeypatch):
    pretend(monkeypatch, '1.7.0')
    with pytest.raises(ImportError, match=r'mmcv >= 2.1.0, found 1.7.0: pip install .*onedl-mmcv'):
        check_version('mmcv')


def test_newer_than_tested_only_warns(monkeypatch):
    pretend(monkeypatch, '99.0.0')
    with pytest.warns(UserWarning, match='mmcv 99.0.0 is newer'):
        check_version('mmcv')


@pytest.mark.filterwarnings('error')
def test_tested_versions_pass_silently():
    for library in SUPPORTED:
        check_version(library)


def test_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv', None)
    with pytest.raises(ImportError, match='needs mmcv, which is not installed: pip install'):
        check_version('mmcv')
