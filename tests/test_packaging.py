import os
import subprocess
import sys
import tarfile
import zipfile

import pytest

from mmspike.neurons.kernels import cpu
from support.paths import ROOT

EXPECTED = (
    'mmspike/.mim/model-index.yml',
    'mmspike/.mim/configs/classification/metaspikformer/metafile.yml',
    'mmspike/.mim/configs/_base_/classification_runtime.py',
    'mmspike/.mim/tools/train.py',
    'mmspike/.mim/tools/dist_train.sh',
    'mmspike/.mim/tools/python.sh',
    'mmspike/.mim/tools/dist_options.sh',
    'mmspike/neurons/functional.py',
    'mmspike/heads/cls/tet_loss.py',
)


@pytest.fixture(scope='module')
def wheels(tmp_path_factory):
    """Two wheels built from the sdist: the ordinary one, and that of an editable installation.

    The kernels are compiled by the same commands, but not optimised, which takes a minute.
    """
    folder = tmp_path_factory.mktemp('dist')
    compiler = folder / 'compiler'
    compiler.write_text('#!/bin/sh\nexec c++ "$@" -O0\n')
    compiler.chmod(0o755)
    env = dict(os.environ, CC=str(compiler), CXX=str(compiler))
    build = (
        'import sys, os; os.chdir(sys.argv[1]); from setuptools import build_meta; '
        'print(getattr(build_meta, sys.argv[2])(sys.argv[3]))'
    )

    def run(source, hook):
        done = subprocess.run(
            [sys.executable, '-c', build, str(source), hook, str(folder)],
            capture_output=True, text=True, env=env,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return folder / done.stdout.split()[-1]

    # setuptools leaves files beside the sources: work on a copy of what git would give.
    source = folder / 'source'
    files = subprocess.run(
        ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split('\0')  # fmt: skip
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    sdist = run(source, 'build_sdist')
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / 'unpacked', filter='data')
    (unpacked,) = (folder / 'unpacked').iterdir()
    wheel = run(unpacked, 'build_wheel')
    return wheel.rename(folder / 'unpacked' / wheel.name), run(unpacked, 'build_editable')


@pytest.fixture(scope='module')
def wheel(wheels):
    return wheels[0]


@pytest.mark.slow
def test_editable_installation_works_beside_the_clone(wheels):
    """In the folder that holds the clone, a finder would come after an empty package `mmspike`."""
    names = zipfile.ZipFile(wheels[1]).namelist()
    assert any(name.endswith('.pth') for name in names)
    assert not any(name.endswith('_finder.py') for name in names)


@pytest.mark.slow
def test_wheel_from_the_sdist_holds_configs_and_tools(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in EXPECTED:
        assert name in names
    assert not [name for name in names if name.startswith(('tests', 'benchmarks', 'docs'))]
    assert any('_cpu_baseline' in name for name in names) == cpu.AVAILABLE


@pytest.mark.slow
def test_wheel_works_without_the_sources(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        f'import sys; sys.path.insert(0, {str(tmp_path)!r}); import mmspike; '
        'from mmengine.registry import MODELS; '
        "print(mmspike.__file__, type(MODELS.build(dict(type='mmspike.ILIF'))).__name__); "
        'from mmspike.neurons.kernels import cpu; print(cpu.AVAILABLE)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert str(tmp_path) in done.stdout
    assert 'ILIF' in done.stdout
    assert str(cpu.AVAILABLE) in done.stdout


@pytest.mark.slow
def test_wheel_finds_its_configs_from_an_empty_folder(wheel, tmp_path):
    """Another library's tables are left alone; the hosts find the models nevertheless."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / 'site')
    (tmp_path / 'empty').mkdir()
    code = """
import mmspike
from mmengine.config import Config
name = 'metaspikformer-digits-sfa-t1d4_1xb32-coslr-15e_digits'
path = mmspike.config_path(f'mmspike::classification/metaspikformer/{name}.py')
print(path)
assert name in mmspike.list_models(task='classification')
assert name in mmspike.list_models(family='metaspikformer')
assert type(mmspike.get_model(name).backbone).__name__ == 'MetaSpikformer'
try:
    mmspike.get_model('sdt-6-512-lif-t4_8xb48-amp-coslr-310e_in1k', pretrained=True)
except FileNotFoundError as error:
    print(error)
with open('child.py', 'w') as child:
    child.write(f"_base_ = __import__('mmspike').config_path({name!r}).as_posix()")
assert Config.fromfile('child.py').train_cfg.max_epochs == 15

import mmpretrain
mmspike.register_in_mmpretrain()
assert name in mmpretrain.list_models('metaspikformer')
assert type(mmpretrain.get_model(name).backbone).__name__ == 'MetaSpikformer'
"""
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path / 'empty', capture_output=True, text=True,
        env=dict(os.environ, PYTHONPATH=str(tmp_path / 'site')),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    # Not those of the clone.
    installed = tmp_path / 'site/mmspike/.mim'
    assert done.stdout.startswith(f'{installed}/configs')
    assert f'`python {installed}/tools/model_converters/convert.py 6_512.pth.tar ' in done.stdout


def test_editable_installation_links_configs_and_tools():
    for part in ('configs', 'tools', 'model-index.yml'):
        assert (ROOT / 'mmspike' / '.mim' / part).resolve() == ROOT / part


def test_version_is_the_same_everywhere():
    from importlib.metadata import version

    import mmspike

    assert version('mmspike') == mmspike.__version__
    assert f'## {mmspike.__version__}' in (ROOT / 'CHANGELOG.md').read_text()
