"""Plants small faults in the code that computes numbers, and lists those that no test notices.

A mutant changes one operator, comparison, number or truth value. It runs in a copy of the
repository against the tests of its own folder, which end at the first failure.

    python tests/mutants.py --number 100 --seed 0
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from support.paths import ROOT

# Code -> its tests.
TARGETS = {
    'mmspike/neurons/functional.py': 'tests/neurons',
    'mmspike/neurons/reference.py': 'tests/neurons',
    'mmspike/ann2snn/quantise.py': 'tests/ann2snn/test_quantise.py',
    'mmspike/energy/counter.py': 'tests/energy',
    'mmspike/energy/fan_out.py': 'tests/energy',
    'mmspike/energy/counts.py': 'tests/energy',
    'mmspike/energy/rules.py': 'tests/energy',
    'mmspike/execution/spike_driven.py': 'tests/execution',
    'mmspike/masking/ratios.py': 'tests/masking',
    'mmspike/masking/schedules.py': 'tests/masking',
    'mmspike/temporal.py': 'tests/test_temporal.py',
    'mmspike/heads/det/roi_head.py': 'tests/heads/det',
    'mmspike/layers/': 'tests/layers',
}
LONGEST = 1800  # seconds
SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def mutants(path: Path) -> list[tuple[int, str, str]]:
    """All mutants of a file: line, what changed, and the whole file with it."""
    tree = ast.parse(path.read_text())
    found = []

    def keep(node: ast.AST, what: str) -> None:
        found.append((node.lineno, what, ast.unparse(tree)))

    for node in ast.walk(tree):
        for owner in ('op', 'ops'):
            operators = getattr(node, owner, None)
            for i, old in enumerate(operators if isinstance(operators, list) else [operators]):
                new = SWAPS.get(type(old))
                if new is None:
                    continue
                changed = new()
                if owner == 'op':
                    node.op = changed
                else:
                    node.ops[i] = changed
                keep(node, f'{type(old).__name__} -> {new.__name__}')
                if owner == 'op':
                    node.op = old
                else:
                    node.ops[i] = old
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
            old = node.value
            node.value = not old if isinstance(old, bool) else old + 1
            keep(node, f'{old} -> {node.value}')
            node.value = old
    return found


def passes(copy: Path, tests: str) -> bool:
    """Whether tests pass in a copy of the repository; an endless loop fails them."""
    command = [sys.executable, '-m', 'pytest', '-x', '-q', '-p', 'no:cacheprovider', tests]
    env = dict(os.environ, PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE='1')
    try:
        run = subprocess.run(command, cwd=copy, env=env, capture_output=True, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return False
    return run.returncode == 0


def main() -> int:
    """Run the mutants and print what survives."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--number', type=int, default=100, help='mutants that are tried')
    parser.add_argument('--seed', type=int, default=0, help='which ones')
    parser.add_argument('--least', type=float, default=0.95, help='share that must be noticed')
    parser.add_argument('--only', default='', help='paths of code that contain this')
    arguments = parser.parse_args()

    everything = [
        (file.relative_to(ROOT), tests, *mutant)
        for code, tests in TARGETS.items()
        if arguments.only in code
        for file in sorted((ROOT / code).glob('*.py') if code.endswith('/') else [ROOT / code])
        for mutant in mutants(file)
    ]
    number = min(arguments.number, len(everything))
    chosen = random.Random(arguments.seed).sample(everything, number)
    alive = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, 'copy')
        skipped = shutil.ignore_patterns('.git', '.venv*', 'work_dirs')
        shutil.copytree(ROOT, copy, symlinks=True, ignore=skipped)
        for tests in sorted({tests for _, tests, *_ in chosen}):
            if not passes(copy, tests):
                sys.exit(f'{tests} fails without any mutant')
        for i, (path, tests, line, what, text) in enumerate(chosen, start=1):
            original = (copy / path).read_text()
            (copy / path).write_text(text)
            survives = passes(copy, tests)
            (copy / path).write_text(original)
            alive += survives
            verdict = 'LIVES' if survives else 'dies'
            print(f'{i}/{number} {verdict} {path}:{line} {what}', flush=True)
    print(f'{number - alive} of {number} mutants were noticed')
    return number - alive < arguments.least * number


if __name__ == '__main__':
    sys.exit(main())
