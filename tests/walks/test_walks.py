"""The walks of CONTRIBUTING.md as exercises: a toy of each kind goes into a copy of the repository.

New files of a toy are in ``toys/<walk>/``. What changes in existing files is in :data:`WALKS`. The
walk's own list of files must be these, and the general tests must take the toy.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support import toy_neuron
from support.changes import Change, after, changed
from support.paths import ROOT

TOYS = Path(__file__).parent / 'toys'
CONTRIBUTING = (ROOT / 'CONTRIBUTING.md').read_text()
# What the copy needs. Compiled kernels are not in it: neurons run on plain torch.
PARTS = (
    'mmspike', 'configs', 'tests', 'tools', 'pyproject.toml', 'README.md', 'model-index.yml',
    'docs/model_zoo.md', 'docs/weights.md',
)  # fmt: skip


@dataclass(frozen=True)
class Walk:
    """One walk.

    Attributes:
        title: Its heading in CONTRIBUTING.md.
        most: The number of files that it may have.
        tests: What pytest runs in the copy.
        inserted: File to what changes in it.
        command: What Python runs before the tests.
        left_out: Files of the walk that the toy does without.
    """

    title: str
    most: int
    tests: tuple[str, ...]
    inserted: dict[str, tuple[Change, ...]] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


# Of the general tests those that take the toy, and those of whole lists.
CHOSEN = 'toy or each_other or model_zoo or public_names'
OUTER = '''

def of_outer(function: str, args: tuple, kwargs: dict) -> Work | None:
    """Spikes times a vector: every spike meets every number of the vector."""
    spikes, other = args
    if not isinstance(spikes, SpikeTrain):
        return None
    total = sums_of(spikes).total
    return Work(
        kind='outer', macs=spikes.numel() * other.numel(), x=spikes, spikes=total, connected=total,
        repeats=other.numel(),
    )  # fmt: skip
'''
BUILD = """
import subprocess, sysconfig
folder = 'mmspike/neurons/kernels'
library = f'{folder}/_cpu_baseline{sysconfig.get_config_var("EXT_SUFFIX")}'
flags = ('-O1', '-std=c++17', '-ffp-contract=off', '-fno-math-errno', '-fPIC', '-fopenmp', '-w')
object = f'{library}.o'
subprocess.run(['c++', *flags, '-c', f'{folder}/csrc/cpu.cpp', '-o', object], check=True)
# Without -fopenmp: the loader provides torch's own OpenMP runtime.
subprocess.run(['c++', '-shared', object, '-o', library], check=True)
"""
WALKS = {
    'backbone': Walk(
        'A backbone',
        most=9,
        tests=(
            'tests/backbones/test_toy.py',
            'tests/test_configs.py::test_config_takes_a_step_and_evaluates',
            'tests/test_configs.py::test_metafiles_and_configs_list_each_other',
            'tests/test_configs.py::test_model_zoo_agrees_with_the_metafiles',
            'tests/test_registry.py::test_public_names',
            'tests/backbones/test_base.py',
            'tests/test_compile.py',
        ),
        inserted={
            'mmspike/backbones/__init__.py': (
                after(
                    'from mmspike.backbones.sdt import SDT', 'from mmspike.backbones.toy import Toy'
                ),
                after("    'MetaSpikformer',", "    'Toy',"),
            ),
            'tests/support/small_parts.py': (
                after(
                    'BACKBONES = [',
                    "    Part('Toy', lambda **o: backbones.Toy(4, **o), (_image,)),",
                ),
                after('from mmspike import set_timesteps', 'from mmspike import backbones'),
            ),
        },
        # What `make docs` runs.
        command=('tools/docs/tables.py',),
        # It has no reference implementation.
        left_out=('tests/data/reference/NAME.npz',),
    ),
    'neuron': Walk(
        'A neuron with kernels',
        most=12,
        tests=(
            'tests/neurons/test_toy.py',
            'tests/neurons/test_neuron_base.py',
            'tests/neurons/test_spike_masking.py',
            'tests/neurons/test_conv_module.py',
            'tests/neurons/test_checkpointing.py',
            'tests/neurons/kernels/test_ops.py',
            'tests/neurons/kernels/test_cuda.py',
            'tests/neurons/kernels/test_dispatcher.py',
            'tests/neurons/kernels/test_fuzz.py',
            'tests/neurons/kernels/ops/test_checks.py',
            'tests/test_registry.py::test_public_names',
        ),
        inserted=toy_neuron.CHANGES,
        # As setup.py does it, but in seconds.
        command=('-c', BUILD),
    ),
    'converter': Walk(
        'A converter',
        most=4,
        tests=('tests/converters/test_toy.py', 'tests/test_registry.py::test_public_names'),
        inserted={
            'mmspike/converters/__init__.py': (
                after(
                    'from mmspike.converters.sdtv3_events import convert_sdtv3_events',
                    'from mmspike.converters.toy import convert_toy',
                ),
                after("    'convert_sdtv3_events',", "    'convert_toy',"),
            ),
        },
        # Nobody published a file of it.
        left_out=('configs/classification/NAME/metafile.yml',),
    ),
    'dataset': Walk(
        'A dataset',
        most=4,
        tests=('tests/datasets/test_toy.py',),
        inserted={
            'mmspike/registry.py': (
                after(
                    "            'mmspike.datasets.handwritten_digits',",
                    "            'mmspike.datasets.toy',",
                ),
            ),
        },
    ),
    'energy_rule': Walk(
        'An energy rule',
        most=3,
        tests=('tests/energy/test_toy.py',),
        inserted={
            'mmspike/energy/rules.py': (
                after('Rule = Callable[[str, tuple, dict], Work | None]', OUTER),
                after("    'sum': of_sum,", "    'outer': of_outer,"),
            ),
        },
        left_out=('docs/energy.md',),
    ),
}


def files_of(title: str) -> list[str]:
    """The files that a walk lists, one per item, in backticks at its beginning."""
    section = CONTRIBUTING.split(f'### {title}\n')[1].split('\n#')[0]
    return re.findall(r'^\d+\. `([^`]+)`', section, re.M)


def new_files(walk: str) -> list[str]:
    folder = TOYS / walk
    found = (path for path in folder.rglob('*') if path.is_file())
    return [str(path.relative_to(folder)) for path in found if '__pycache__' not in path.parts]


def stands_for(listed: str) -> re.Pattern:
    """``NAME`` in a walk stands for any name."""
    return re.compile(re.escape(listed).replace('NAME', r'[\w.-]+'))


@pytest.mark.parametrize('name', WALKS)
def test_a_walk_lists_all_files_that_its_toy_touches(name):
    walk, listed = WALKS[name], files_of(WALKS[name].title)
    assert len(listed) <= walk.most
    touched = [*new_files(name), *walk.inserted]
    for file in touched:
        assert any(stands_for(one).fullmatch(file) for one in listed), file
    for one in listed:
        used = any(stands_for(one).fullmatch(file) for file in touched)
        assert used != (one in walk.left_out), one


@pytest.mark.parametrize('name', WALKS)
def test_a_walk_names_files_that_exist(name):
    for file in files_of(WALKS[name].title):
        if 'NAME' in file:
            assert list(ROOT.glob(file.replace('NAME', '*'))), file
        else:
            assert (ROOT / file).is_file(), file


def copy_of_the_repository(folder: Path) -> None:
    listed = subprocess.run(
        ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard', *PARTS],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split('\0')):
        if (ROOT / name).is_file() and not name.startswith(('tests/walks/', 'tests/data/')):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


@pytest.mark.slow
@pytest.mark.parametrize('name', WALKS)
def test_a_toy_by_the_walk(name, tmp_path):
    walk = WALKS[name]
    copy_of_the_repository(tmp_path)
    shutil.copytree(TOYS / name, tmp_path, dirs_exist_ok=True)
    for file, additions in walk.inserted.items():
        path = tmp_path / file
        path.write_text(changed(path.read_text(), additions))
    if walk.command:
        run_in(tmp_path, *walk.command)
    out = run_in(
        tmp_path, '-m', 'pytest', '-p', 'no:cacheprovider', '-v', '-k', CHOSEN, *walk.tests
    )
    for test in walk.tests:
        assert test in out, f'no test of {test} takes the toy'


def run_in(folder: Path, *arguments: str) -> str:
    """What Python prints in the copy; it has to succeed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env=dict(os.environ, PYTHONPATH=str(folder), OMP_NUM_THREADS='1'),
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return done.stdout
