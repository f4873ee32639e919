import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from mmspike.visualization.event_plots import (
    event_images,
    event_strip,
    print_event_frames,
    write_event_gif,
)

GROUND = (16, 18, 24)


def frames(timesteps=4, size=(6, 8)):
    """Each step has ON events in one column and OFF events in the next."""
    found = np.zeros((timesteps, 2, *size), np.float32)
    for t in range(timesteps):
        found[t, 1, :, t] = 2
        found[t, 0, :, t + 1] = 2
    return found


def test_colours():
    images = event_images(frames())
    assert images.shape == (4, 6, 8, 3)
    assert images.dtype == np.uint8
    on, off = images[0, 0, 0].astype(int), images[0, 0, 1].astype(int)
    assert on[2] > on[0] + 100  # blue
    assert off[0] > off[2] + 100  # red
    assert (images[0, :, 2:] == GROUND).all()
    assert (images[3, 0, 3] == on).all()


def test_more_events_are_brighter_and_one_can_be_seen():
    found = np.zeros((1, 2, 2, 64), np.float32)
    found[0, 1, 0] = np.arange(64) / 4
    bright = event_images(found)[0, 0].astype(int).sum(axis=1)
    assert (np.diff(bright) >= 0).all()
    assert bright[1] > bright[0] + 100


def test_few_pixels_that_fire_without_end_darken_nothing():
    found = np.ones((1, 2, 20, 20), np.float32)
    before = event_images(found)[0, 5, 5]
    found[0, 1, 0, :3] = 1000
    assert (event_images(found)[0, 5, 5] == before).all()


def test_nothing_but_ground_without_events():
    assert (event_images(np.zeros((2, 2, 3, 3))) == GROUND).all()


@pytest.mark.parametrize('shape', [(2, 3, 3), (4, 3, 5, 5), (1, 4, 2, 5, 5)])
def test_other_shapes(shape):
    with pytest.raises(ValueError, match=rf'\(T, 2, H, W\), got shape \({shape[0]}, '):
        event_images(np.zeros(shape))


def test_a_strip_shows_every_frame():
    figure = event_strip([frames(), 3 * frames()], ['first', 'second'])
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert np.array_equal(np.stack(shown[:4]), event_images(frames()))
    assert np.array_equal(np.stack(shown[4:]), event_images(3 * frames()))
    assert [axes.get_title() for axes in figure.axes][:4] == [f'step {t}' for t in (1, 2, 3, 4)]
    assert figure.axes[0].get_ylabel() == 'first'
    assert figure.axes[4].get_ylabel() == 'second'


def test_many_frames_take_several_lines():
    figure = event_strip([frames(5)], ['one'], columns=3)
    assert len(figure.axes) == 6
    assert sum(len(axes.images) for axes in figure.axes) == 5
    assert figure.axes[3].get_title() == 'step 4'


def test_a_strip_needs_recordings_of_one_length():
    with pytest.raises(ValueError, match='got none'):
        event_strip([], [])
    with pytest.raises(ValueError, match=r'got \[3, 4\]'):
        event_strip([frames(), frames(3)], ['a', 'b'])


def test_gif(tmp_path):
    write_event_gif(tmp_path / 'a.gif', frames(), fps=4, side=60)
    with Image.open(tmp_path / 'a.gif') as gif:
        assert gif.n_frames == 4
        assert gif.size == (80, 60)
        assert gif.info['duration'] == 250
        for t in range(4):
            gif.seek(t)
            pixels = np.asarray(gif.convert('RGB'))[5::10, 5::10].astype(int)
            assert abs(pixels - event_images(frames())[t]).max() < 16
    assert [path.name for path in tmp_path.iterdir()] == ['a.gif']


def test_terminal():
    console = Console(width=30, color_system='truecolor', force_terminal=True, file=io.StringIO())
    print_event_frames(console, frames())
    lines = console.file.getvalue().split('\n')
    # Three frames of 8 columns beside each other, then the fourth; 3 lines of two pixels, captions.
    assert len([line for line in lines if '▀' in line]) == 6
    assert '1: 24' in console.file.getvalue()
    assert '4: 24' in console.file.getvalue()
