"""check_claims.py, as a user runs it."""

import json

import pytest

from support.small_runs import DIGITS


@pytest.mark.slow
def test_a_config_without_weights(run_tool, tmp_path):
    status, out = run_tool('analysis_tools/check_claims.py', DIGITS, '--random', 32, 32)
    assert status == 0
    assert 'batch independence' in out
    folder = tmp_path / 'work_dirs' / 'claims' / DIGITS.stem
    (report,) = json.loads((folder / 'claims.json').read_text())
    assert report['origin']['weights'].startswith('random')
    assert {claim['verdict'] for claim in report['claims']} <= {'holds', 'not shown'}
    page = (folder / 'claims.html').read_text()
    assert page.count('<tr>') == 1 + len(report['claims'])
    assert 'class="holds"' in page


OTHER = """
import torch
from torch import nn


class Mixes(nn.Module):
    def forward(self, x):
        return x - x.mean(0)


def mixing():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), Mixes(), nn.ReLU())


def needs(width):
    return None


def nothing():
    return 3
"""


@pytest.fixture
def other(tmp_path):
    (tmp_path / 'other_project.py').write_text(OTHER)


def test_a_model_of_another_project(other, run_tool):
    options = ('--model', 'other_project:mixing', '--shape', 3, 8, 8, '--untrained')
    status, out = run_tool('analysis_tools/check_claims.py', *options, '--out', 'found', '--fail')
    assert status == 1
    assert 'at 2' in out
    assert 'norms measured' in ' '.join(out.split())
    assert 'broken' in out


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--model', 'other_project:needs', '--shape', 3), 'needs width: write a function'),
        (('--model', 'other_project:nothing', '--shape', 3), 'made a int, which is no nn.Module'),
        (('--model', 'other_project:absent', '--shape', 3), 'it must be package.module:factory'),
        (('--model', 'other_project:torch', '--shape', 3), 'is a module, not a function or class'),
        (('--model', 'no_such:thing', '--shape', 3), "No module named 'no_such'"),
        (('--model', 'other_project:mixing', '--shape', 5, 8, 8), 'cannot run on (3, 5, 8, 8)'),
        (('absent.py',), 'there is no config file absent.py'),
    ],
)
def test_bad_models(other, run_tool, options, message):
    status, _ = run_tool('analysis_tools/check_claims.py', *options)
    assert str(status).startswith('check_claims.py: ')
    assert message in str(status)


@pytest.mark.parametrize(
    'options',
    [
        (),
        ('a.py', '--model', 'b:c'),
        ('--model', 'b:c'),
        ('a.py', '--samples', 1),
        ('a.py', '--samples', 9),
        ('--model', 'b:c', '--shape', 3, '--timesteps', 0),
    ],
)
def test_options_that_do_not_go_together(run_tool, options):
    assert run_tool('analysis_tools/check_claims.py', *options)[0] == 2
