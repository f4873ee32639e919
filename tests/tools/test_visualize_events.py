"""The tools for events, in this process, because importing the hosts takes its time."""

import re

import numpy as np
import pytest
from PIL import Image

from mmspike.datasets import recorded_digits as cached
from mmspike.events.camera import EventCamera
from support.event_files import make_n_cars, some_events, write_dat

CONFIG = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmspike'])
pipeline = [
    dict(type='mmspike.LoadEvents'),
    dict(type='mmspike.IntegrateEvents', timesteps=TIMESTEPS),
    dict(type='mmspike.PackEventFrames'),
]
test_dataloader = dict(
    dataset=dict(type='mmspike.NCars', data_root='data', split='test', pipeline=pipeline))
"""


VISUALIZE = 'analysis_tools/visualize_events.py'


def test_an_event_file(run_tool, tmp_path):
    write_dat(tmp_path / 'obj.dat', some_events((100, 120), 3000))
    status, out = run_tool(VISUALIZE, 'obj.dat', '--sensor-size', 100, 120, '--timesteps', 5)
    assert status == 0
    assert '3,000 events in ' in out
    assert '5: 600' in out
    with Image.open('work_dirs/events/obj_events.gif') as gif:
        assert gif.n_frames == 5
    with Image.open('work_dirs/events/obj_events.png') as png:
        assert png.size[0] > 3 * png.size[1]


def test_samples_of_a_config(run_tool, tmp_path):
    make_n_cars(tmp_path / 'data')
    (tmp_path / 'config.py').write_text(CONFIG.replace('TIMESTEPS', '4'))
    status, out = run_tool(VISUALIZE, 'config.py', '--indices', 0, 3, '--out', 'shown')
    assert status == 0
    assert '0: background' in out
    assert '3: cars' in out
    names = sorted(path.name for path in (tmp_path / 'shown').iterdir())
    assert names == ['config_0_events.gif', 'config_3_events.gif', 'config_events.png']


def test_one_image_without_time(run_tool, tmp_path):
    make_n_cars(tmp_path / 'data')
    (tmp_path / 'config.py').write_text(CONFIG.replace('TIMESTEPS', 'None'))
    status, out = run_tool(VISUALIZE, 'config.py')
    assert status == 0
    assert '1: 200' in out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['missing.dat'], 'there is no event file missing.dat'),
        (['obj.dat', '--sensor-size', '10', '10'], 'outside the sensor of 10x10'),
        (['config.py', '--indices', '9'], r'--indices: there are 0 to 3, got 9'),
        (['config.py', '--split', 'train'], 'config.py has no train_dataloader'),
        (['missing.py'], 'missing.py'),
    ],
)
def test_errors(run_tool, tmp_path, arguments, message):
    write_dat(tmp_path / 'obj.dat', some_events((100, 120)))
    make_n_cars(tmp_path / 'data')
    (tmp_path / 'config.py').write_text(CONFIG.replace('TIMESTEPS', '4'))
    status, _ = run_tool(VISUALIZE, *arguments)
    assert re.search(message, status)
    assert status.startswith('visualize_events.py: ')


def test_event_digits(run_tool, tmp_path, monkeypatch):
    original = cached.digits_of_split
    monkeypatch.setattr(
        cached, 'digits_of_split', lambda split: [part[:30] for part in original(split)]
    )
    arguments = ['--saccade', 10_000, '--out', 'digits', '--preview', 'preview.png']
    tool = 'dataset_converters/event_digits.py'
    status, out = run_tool(tool, *arguments)
    assert status == 0
    assert re.search(r'recordings +│ +30 │ +30 │', out)
    assert 'camera=dict(saccade=10000)' in out
    assert 'simulated in' in out
    path = cached.cache_path('test', 'digits', EventCamera(saccade=10_000))
    with np.load(path) as content:
        events = len(content['t']) / 30
    assert f'{events:,.0f} │' in out
    with Image.open('preview.png') as png:
        assert png.size[0] > 800
    assert 'they were there already' in run_tool(tool, *arguments)[1]
    assert run_tool(tool, '--threshold', 0)[0] == (
        'event_digits.py: threshold must be finite and at least 0.001, got 0.0'
    )
