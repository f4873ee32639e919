"""Packaging of mmspike. Tool settings are in pyproject.toml, tested versions in requirements/."""

import platform
import re
import shutil
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# What `mim` and users of an installed wheel need beside the code.
MIM_PARTS = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """Puts configs, tools and the model index into ``mmspike/.mim``.

    A wheel gets copies. An editable installation gets links, so that they stay up to date.
    """

    def run(self) -> None:
        super().run()
        if getattr(self, 'editable_mode', False):
            target = ROOT / 'mmspike' / '.mim'
        else:
            target = Path(self.build_lib) / 'mmspike' / '.mim'
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for part in MIM_PARTS:
            if getattr(self, 'editable_mode', False):
                (target / part).symlink_to(Path('..', '..', part))
            elif (ROOT / part).is_dir():
                shutil.copytree(
                    ROOT / part, target / part, ignore=shutil.ignore_patterns('__pycache__')
                )
            else:
                shutil.copy(ROOT / part, target / part)


def cpu_kernels() -> list[Extension]:
    """The fused neuron kernels for the CPU, once per instruction set; the loader picks one.

    They are optional: where they cannot be compiled, the neurons run in plain torch. Products and
    sums must round one by one, as they do in torch.
    """
    folder = 'mmspike/neurons/kernels/csrc'
    # -fopenmp when compiling only: the loader provides torch's own OpenMP runtime.
    flags = ['-O3', '-std=c++17', '-ffp-contract=off', '-fno-math-errno', '-fno-trapping-math']
    flags.append('-fopenmp')
    variants = {'baseline': []}
    if platform.machine() in ('x86_64', 'AMD64'):
        variants['avx2'] = ['-march=x86-64-v3']
        variants['avx512'] = ['-march=x86-64-v4', '-mprefer-vector-width=512']
    return [
        Extension(
            f'mmspike.neurons.kernels._cpu_{variant}',
            sources=[f'{folder}/cpu.cpp', f'{folder}/depthwise.cpp'],
            depends=[f'{folder}/neuron_steps.h', f'{folder}/storage.h'],
            extra_compile_args=flags + more,
            language='c++',
            optional=True,
        )
        for variant, more in variants.items()
    ]


def read_requirements(name: str) -> list[str]:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith(('#', '-'))]


setup(
    name='mmspike',
    version=re.search(r"'(.+)'", (ROOT / 'mmspike' / 'version.py').read_text())[1],
    description='Spiking vision transformers for OpenMMLab',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=find_packages(include=['mmspike', 'mmspike.*']),
    # An editable installation then puts this folder on the path. Otherwise, in the folder that
    # contains the clone, Python would take the clone itself for an empty package `mmspike`.
    package_dir={'': '.'},
    package_data={'mmspike.neurons.kernels': ['csrc/*']},
    ext_modules=cpu_kernels(),
    install_requires=read_requirements('runtime'),
    extras_require={
        name: read_requirements(name)
        for name in ('dev', 'deploy', 'nir', 'neurobench', 'cuda12', 'cuda13')
    },
    cmdclass={'build_py': BuildWithMim},
    classifiers=[
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Operating System :: POSIX :: Linux',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
