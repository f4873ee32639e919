import numpy as np

from mmspike.visualization.reconstruction_plots import ROWS, reconstruction_figure


def test_a_column_per_image_and_a_row_per_kind():
    kinds = [np.full((4, 8, 16, 3), value, np.uint8) for value in (10, 20, 30)]
    figure = reconstruction_figure(*kinds, title='half')
    axes = np.array(figure.axes).reshape(len(ROWS), 4)
    assert [row[0].get_ylabel() for row in axes] == list(ROWS)
    for row, kind in zip(axes, kinds, strict=True):
        for axis, image in zip(row, kind, strict=True):
            assert np.array_equal(axis.images[0].get_array(), image)
    assert figure.get_suptitle() == 'half'
