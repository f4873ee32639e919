"""The benchmark of the counter runs."""

import pytest


@pytest.mark.slow
def test_benchmark(run_program):
    out = run_program(
        'benchmarks/energy.py', '--arch', 'tiny', '--size', 32, '--batch', 1, '--repetitions', 1,
        '--batches', 2,
    ).stdout  # fmt: skip
    for words in ('plain', 'rates', 'counted', 'sampled'):
        assert words in out
