import numpy as np
import pytest
from PIL import Image

from mmspike.visualization.spike_plots import Panel, map_figure, write_map_gif

IMAGE = np.zeros((3, 4, 3), np.uint8)


def panel(value, title='a'):
    return Panel(title, np.full((3, 4), value))


@pytest.mark.parametrize(('number', 'with_image'), [(1, False), (3, True), (5, False), (6, True)])
def test_panels_of_a_figure(number, with_image):
    figure, drawn = map_figure(
        IMAGE, [panel(float(i)) for i in range(number)], 3, 'spikes', with_image=with_image
    )
    figure.draw_without_rendering()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles.count('a') == len(drawn) == number
    assert (titles[0] == 'what the model sees') == with_image
    assert {one.get_clim() for one in drawn} == {(0, number - 1 or 1)}  # silence is drawn
    assert [axes.get_ylabel() for axes in figure.axes].count('spikes') == 1


@pytest.mark.parametrize('size', [(4, 40), (40, 4)], ids=['wide', 'high'])
def test_titles_do_not_overlap(size):
    panels = [Panel('stage 3, block 10\nstride 16', np.zeros(size))] * 5
    figure, drawn = map_figure(np.zeros((*size, 3), np.uint8), panels, 3, 'x', with_image=True)
    figure.draw_without_rendering()
    boxes = [one.axes.title.get_window_extent() for one in drawn]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_frames_differ_where_the_map_does_only(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    frames = [(f'frame {i}', [panel(0.5), panel(i / 2)]) for i in range(3)]
    write_map_gif(tmp_path / 'a.gif', noise, frames, 'spikes', fps=5)
    assert [file.name for file in tmp_path.iterdir()] == ['a.gif']
    shown = []
    with Image.open(tmp_path / 'a.gif') as opened:
        assert opened.info['duration'] == 200
        assert opened.info['loop'] == 0  # for ever
        for i in range(opened.n_frames):
            opened.seek(i)
            shown.append(np.asarray(opened.convert('RGB')))
    assert len(shown) == 3
    body = [one[one.shape[0] // 4 :] for one in shown]  # without the title
    changed = np.argwhere((body[0] != body[2]).any(axis=-1))
    left, right = changed[:, 1].min(), changed[:, 1].max()
    width = shown[0].shape[1]
    assert width / 2 < left < right < 0.9 * width  # the last of three panels, not the bar


def test_nothing_to_draw(tmp_path):
    for frames in ([], [('a', [])]):
        with pytest.raises(ValueError, match='there is no map to draw'):
            write_map_gif(tmp_path / 'a.gif', IMAGE, frames, 'spikes')
    with pytest.raises(ValueError, match='shorter'):
        write_map_gif(tmp_path / 'a.gif', IMAGE, [('a', [panel(1)] * 2), ('b', [panel(1)])], 'x')
    assert not list(tmp_path.iterdir())
