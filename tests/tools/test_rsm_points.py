import csv
import io
import json

import pytest
from rich.console import Console
from rsm_plot import sweep_png
from rsm_points import NONE, Sweep, SweepPoint, point_key, sweep_table

SETTINGS = dict(config='a', checkpoint='b', metric='accuracy/top1', cost='45nm', finetune=0)


def point(group, ratio, score=90.0, energy=2.0):
    return SweepPoint(*point_key(group, ratio), score=score, energy_mj=energy, sops=3e6, rate=0.25)


@pytest.fixture
def sweep(tmp_path):
    sweep = Sweep(tmp_path, SETTINGS)
    for one in (point('mlp', 0, 98.5), point('mlp', 0.5, 97.0, 1.5), point('all', 0.5, 80.0, 1.0)):
        sweep.add(one)
    return sweep


def test_without_masks_groups_are_one_point(sweep):
    assert list(sweep.points) == [(NONE, 0), ('mlp', 0.5), ('all', 0.5)]
    assert [(p.group, p.ratio) for p in sweep.curve('all', [0.5, 0.9, 0])] == [
        (NONE, 0),
        ('all', 0.5),
    ]


def test_an_interrupted_sweep_is_restored(sweep, tmp_path):
    again = Sweep(tmp_path, dict(SETTINGS))
    assert again.restore()
    assert again.points == sweep.points
    other = Sweep(tmp_path, dict(SETTINGS, checkpoint='c'))
    assert not other.restore()
    assert other.points == {}
    assert not Sweep(tmp_path / 'empty', SETTINGS).restore()


@pytest.mark.parametrize('content', ['', '[]', '{"points": 3}', '{"points": [{"group": "all"}]}'])
def test_a_damaged_file(tmp_path, content):
    (tmp_path / 'rsm_sweep.json').write_text(content)
    with pytest.raises(ValueError, match=r'rsm_sweep\.json is no file of a sweep .*remove it'):
        Sweep(tmp_path, SETTINGS).restore()


def test_files(sweep, tmp_path):
    content = json.loads((tmp_path / 'rsm_sweep.json').read_text())
    assert content['settings'] == SETTINGS
    rows = list(csv.DictReader((tmp_path / 'rsm_sweep.csv').open()))
    assert len(rows) == len(content['points']) == 3
    assert float(rows[2]['score']) == content['points'][2]['score'] == 80.0
    assert not list(tmp_path.glob('*.partial'))


def test_table(sweep):
    console = Console(width=150, file=io.StringIO())
    console.print(sweep_table(sweep, ['mlp', 'all'], [0, 0.5], 'a network'))
    lines = [line.split() for line in console.file.getvalue().splitlines() if '│' in line]
    cells = [[cell for cell in line if cell != '│'] for line in lines]
    assert cells[0] == [NONE, '0', '98.5', '0.250', '3.00', '2']
    assert cells[1] == ['mlp', '0.5', '97', '-1.5', '0.250', '3.00', '1.5', '-25.0%']
    assert cells[2] == ['all', '0.5', '80', '-18.5', '0.250', '3.00', '1', '-50.0%']


def test_picture(sweep):
    groups, ratios = ['mlp', 'all', '*.q', '*.k', '*.v'], [0, 0.5]
    png = sweep_png(sweep, groups, ratios, 'a network')
    assert png.startswith(b'\x89PNG')
    sweep.add(point('mlp', 0.5, 50.0))
    assert sweep_png(sweep, groups, ratios, 'a network') != png
