"""Import paths of before: they work, and say what has taken their place."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import mmspike
from mmspike.moved import GONE, MODULES, PACKAGES
from support.paths import ROOT

HOSTED = ('classifiers',)  # need mmpretrain, and are slow to import


@pytest.fixture(autouse=True)
def as_never_imported():
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.removeprefix('mmspike.') in MODULES:
            del sys.modules[name]


@pytest.mark.parametrize('old', [old for old in MODULES if not MODULES[old].startswith(HOSTED)])
def test_an_old_module_is_the_new_one(old):
    new = f'mmspike.{MODULES[old]}'
    with pytest.warns(DeprecationWarning, match=rf'mmspike\.{old} is deprecated .*: use {new}$'):
        module = importlib.import_module(f'mmspike.{old}')
    assert module is importlib.import_module(new)
    assert module.__spec__.name == module.__name__ == new


def test_a_module_inside_of_a_package_that_moved():
    with pytest.warns(DeprecationWarning, match=r'use mmspike\.events\.frames$'):
        from mmspike.datasets.events.frames import integrate_frames
    assert integrate_frames.__module__ == 'mmspike.events.frames'


@pytest.mark.parametrize(
    ('name', 'place'), [('convert_mst', 'converters.mst'), ('insert_qcfs', 'ann2snn.quantise')]
)
def test_names_of_a_package_that_was_divided(name, place):
    import mmspike.conversion

    with pytest.warns(DeprecationWarning, match=rf'use mmspike\.{place.split(".")[0]}\.{name}$'):
        found = getattr(mmspike.conversion, name)
    assert found.__module__ == f'mmspike.{place}'
    with pytest.raises(AttributeError, match=r"mmspike\.conversion' has no attr"):
        _ = mmspike.conversion.nothing


def test_all_names_of_a_package_that_was_divided():
    names = {}
    with pytest.warns(DeprecationWarning, match=r'use mmspike\.(ann2snn|converters)\.'):
        exec('from mmspike.conversion import *', names)
    assert {'convert_mst', 'simulate'} <= names.keys()


def test_the_warning_points_at_the_line_that_imports():
    with pytest.warns(DeprecationWarning, match='mmspike') as caught:
        import mmspike.utils.checks  # noqa: F401
    assert [warning.filename for warning in caught] == [__file__]


def test_what_never_was_is_no_module():
    for name in ('mmspike.utils.nothing', 'mmspike.nothing', 'mmspike.conversionx'):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)


def test_nothing_new_is_called_as_something_old():
    for old in (*MODULES, *PACKAGES, *GONE):
        place = Path(mmspike.__file__).parent.joinpath(*old.split('.'))
        assert not place.with_suffix('.py').exists()
        assert not (place / '__init__.py').exists()


@pytest.mark.parametrize(
    ('module', 'old', 'new'),
    [
        ('conversion.simulation', 'simulate', 'ann2snn.simulate'),
        ('layers.conv', 'put_neurons_first', 'layers.conv.use_preactivation_neurons'),
        ('neurons.kernels.host', 'load_library', 'neurons.kernels.cpu_library.load_library'),
        ('neurons.kernels.cpu', 'count_spikes', 'neurons.kernels.count.count_spikes'),
        ('recorders.spike_sums', 'Tally', 'recorders.spike_sums.RunningSums'),
    ],
)
@pytest.mark.filterwarnings('default::DeprecationWarning')
def test_names_that_left_a_module(module, old, new):
    found = importlib.import_module(f'mmspike.{module}')
    with pytest.warns(DeprecationWarning, match=rf'use mmspike\.{new}'):
        assert callable(getattr(found, old))


@pytest.mark.parametrize('old', GONE)
def test_a_module_that_lies_beside_its_tool(old):
    assert (ROOT / GONE[old]).exists()
    with pytest.raises(ModuleNotFoundError, match=f'mmspike.{old} is no part .* see {GONE[old]}'):
        importlib.import_module(f'mmspike.{old}')


@pytest.mark.parametrize(
    ('module', 'name'), [('plots', 'plot_confusion'), ('terminal', 'sample_grid')]
)
def test_a_name_that_lies_beside_its_tool(module, name):
    assert f'def {name}(' in (ROOT / 'tools/demo/pictures.py').read_text()
    with pytest.raises(ImportError, match=rf'{name} is no part .* see tools/demo/pictures\.py'):
        exec(f'from mmspike.visualization.{module} import {name}')


@pytest.mark.slow
def test_old_packages_are_attributes_of_the_package():
    code = """
import warnings
import mmspike
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    checks = mmspike.utils.checks
    assert checks.__name__ == 'mmspike.checks'
    assert mmspike.conversion.convert_mst.__module__ == 'mmspike.converters.mst'
assert [str(one.message).rpartition(': ')[2] for one in caught] == [
    'use mmspike.checks', 'use mmspike.converters.convert_mst']
assert {one.filename for one in caught} == {'<string>'}
"""
    subprocess.run([sys.executable, '-c', code], check=True)
    with pytest.raises(AttributeError, match="'mmspike' has no attribute 'nothing'"):
        _ = mmspike.nothing
