import sys
from types import SimpleNamespace

import pytest

from mmspike import versions
from mmspike.versions import SUPPORTED, check_version, install_command


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


def installed(monkeypatch, **distributions):
    monkeypatch.setattr(versions, 'packages_distributions', lambda: distributions)


def test_original_distribution_beside_the_maintained_one(monkeypatch):
    """Pip calls onedl-mmcv "already satisfied" while the files are those of mmcv."""
    pretend(monkeypatch, '1.7.0')
    installed(monkeypatch, mmcv=['onedl_mmcv', 'mmcv'])
    with pytest.raises(ImportError) as caught:
        check_version('mmcv')
    assert '(mmcv and onedl_mmcv are both installed and own the same files)' in str(caught.value)
    assert str(caught.value).endswith(
        ': pip uninstall -y mmcv && pip install --force-reinstall --no-deps '
        '--no-build-isolation onedl-mmcv==2.3.6'
    )


def test_files_removed_with_the_original_distribution(monkeypatch):
    """`pip uninstall mmcv` takes the files that onedl-mmcv is believed to have."""
    monkeypatch.setitem(sys.modules, 'mmcv', None)
    installed(monkeypatch, mmcv=['onedl-mmcv'])
    with pytest.raises(ImportError, match='not installed: pip install --force-reinstall --no-deps'):
        check_version('mmcv')


@pytest.mark.parametrize(
    ('distributions', 'missing', 'command'),
    [
        ({}, True, 'pip install onedl-mmengine==0.10.12'),
        ({'mmengine': ['onedl-mmengine']}, False, 'pip install onedl-mmengine==0.10.12'),
        (
            {'mmengine': ['mmengine']},
            False,
            'pip uninstall -y mmengine && '
            'pip install --force-reinstall --no-deps onedl-mmengine==0.10.12',
        ),
        (
            {'mmengine': ['mmengine-lite', 'mmengine', 'onedl-mmengine']},
            False,
            'pip uninstall -y mmengine mmengine-lite && '
            'pip install --force-reinstall --no-deps onedl-mmengine==0.10.12',
        ),
    ],
)
def test_command_for_what_is_installed(monkeypatch, distributions, missing, command):
    installed(monkeypatch, **distributions)
    assert install_command('mmengine', missing=missing) == command


def test_distributions_are_found_in_the_environment(monkeypatch, tmp_path):
    """Two distributions of one package, as pip leaves them."""
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv/__init__.py').write_text("__version__ = '1.7.0'\n")
    for name, version in (('mmcv', '1.7.0'), ('onedl_mmcv', '2.3.6')):
        info = tmp_path / f'{name}-{version}.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
        (info / 'RECORD').write_text('mmcv/__init__.py,,\n')
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    assert 'pip uninstall -y mmcv && ' in install_command('mmcv')
