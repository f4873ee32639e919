"""The walks of CONTRIBUTING.md as exercises: a toy of each kind goes into a copy of the repository.

New files of a toy are in ``toys/<walk>/``. What existing files get is in :data:`INSERTED`. The
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

from support.paths import ROOT

TOYS = Path(__file__).parent / 'toys'
CONTRIBUTING = (ROOT / 'CONTRIBUTING.md').read_text()
# What the copy needs. Without the compiled kernels neurons run on plain torch.
PARTS = ('mmspike', 'configs', 'tests', 'tools', 'pyproject.toml', 'README.md', 'model-index.yml')


@dataclass(frozen=True)
class Walk:
    """One walk.

    Attributes:
        title: Its heading in CONTRIBUTING.md.
        most: The number of files that it may have.
        tests: What pytest runs in the copy.
        inserted: File to pairs of a line of it and what follows that line from now on.
        command: Script to run before the tests.
        left_out: Files of the walk that the toy does without.
    """

    title: str
    most: int
    tests: tuple[str, ...]
    inserted: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


# Of the general tests those that take the toy, and those of whole lists.
CHOSEN = 'toy or each_other or readme_table or public_names'
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
TOY_NEURON = '''

def toy(x: Tensor, *, threshold: float, surrogate: Surrogate) -> Tensor:
    """Fire where ``x`` reaches the threshold, ``(T, ...)``."""
    return spike(_at_least_float32(x) - threshold, surrogate).to(x.dtype)
'''
WALKS = {
    'backbone': Walk(
        'A backbone',
        most=9,
        tests=(
            'tests/backbones/test_toy.py',
            'tests/test_configs.py::test_config_takes_a_step_and_evaluates',
            'tests/test_configs.py::test_metafiles_and_configs_list_each_other',
            'tests/test_configs.py::test_readme_table_agrees_with_the_metafiles',
            'tests/test_registry.py::test_public_names',
            'tests/backbones/test_base.py',
            'tests/test_compile.py',
        ),
        inserted={
            'mmspike/backbones/__init__.py': (
                ('from mmspike.backbones.sdt import SDT', 'from mmspike.backbones.toy import Toy'),
                ("__all__ = ['MST', 'SDT', 'MetaSpikformer']", "__all__ += ['Toy']"),
            ),
            'tests/support/small_parts.py': (
                ('BACKBONES = [', "    Part('Toy', lambda **o: backbones.Toy(4, **o), (_image,)),"),
                ('from mmspike import set_timesteps', 'from mmspike import backbones'),
            ),
        },
        # What `make docs` runs.
        command=('tools/docs/tables.py',),
        # It has no reference implementation.
        left_out=('tests/data/reference/NAME.npz',),
    ),
    'neuron': Walk(
        'A neuron with kernels',
        most=13,
        tests=(
            'tests/neurons/test_toy.py',
            'tests/neurons/test_neuron_base.py',
            'tests/neurons/test_spike_masking.py',
            'tests/neurons/test_conv_module.py',
            'tests/neurons/test_checkpointing.py',
            'tests/test_registry.py::test_public_names',
        ),
        inserted={
            'mmspike/neurons/__init__.py': (
                (
                    'from mmspike.neurons.spiking_qcfs import SpikingQCFS',
                    'from mmspike.neurons.toy import Toy',
                ),
                ("    'SpikingQCFS',", "    'Toy',"),
            ),
            'mmspike/neurons/reference.py': (
                ('    return torch.full_like(_at_least_float32(x[0]), rest)', TOY_NEURON),
            ),
        },
        # The kernels, which take a minute to compile: the toy runs on plain torch.
        left_out=(
            'mmspike/neurons/functional.py',
            *(f'mmspike/neurons/kernels/csrc/{name}' for name in ('neuron_steps.h', 'cpu.cpp')),
            'mmspike/neurons/kernels/csrc/cuda.cu',
            *(f'mmspike/neurons/kernels/{name}.py' for name in ('cpu', 'cuda')),
            *(f'mmspike/neurons/kernels/ops/{name}.py' for name in ('NAME', '__init__')),
            'tests/neurons/kernels/ops/test_checks.py',
        ),
    ),
    'converter': Walk(
        'A converter',
        most=4,
        tests=('tests/converters/test_toy.py', 'tests/test_registry.py::test_public_names'),
        inserted={
            'mmspike/converters/__init__.py': (
                (
                    'from mmspike.converters.sdt import convert_sdt, convert_sdt_file',
                    'from mmspike.converters.toy import convert_toy, convert_toy_file',
                ),
                ("    'convert_sdtv3_file',", "    'convert_toy',\n    'convert_toy_file',"),
            ),
        },
    ),
    'dataset': Walk(
        'A dataset',
        most=4,
        tests=('tests/datasets/test_toy.py',),
        inserted={
            'mmspike/registry.py': (
                (
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
                ('Rule = Callable[[str, tuple, dict], Work | None]', OUTER),
                ("    'sum': of_sum,", "    'outer': of_outer,"),
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


def insert(file: Path, additions: tuple[tuple[str, str], ...]) -> None:
    text = file.read_text()
    for line, added in additions:
        assert text.count(f'{line}\n') == 1, (file, line)
        text = text.replace(f'{line}\n', f'{line}\n{added}\n')
    file.write_text(text)


@pytest.mark.slow
@pytest.mark.parametrize('name', WALKS)
def test_a_toy_by_the_walk(name, tmp_path):
    walk = WALKS[name]
    copy_of_the_repository(tmp_path)
    shutil.copytree(TOYS / name, tmp_path, dirs_exist_ok=True)
    for file, additions in walk.inserted.items():
        insert(tmp_path / file, additions)
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
