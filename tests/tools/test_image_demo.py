"""The tool on small images; in this process, because importing the hosts takes its time."""

from functools import partial

import cv2
import numpy as np
import pytest
import torch

from mmspike.files import read_training_checkpoint
from mmspike.visualization import firing_map_plots
from support.small_checkpoints import (
    CLASSIFICATION,
    CLASSIFICATION_T4,
    DETECTION,
    SEGMENTATION,
    scene,
    trained,
)

RESNET = """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=64,
              loss=dict(type='CrossEntropyLoss')),
)
data_preprocessor = dict(num_classes=10, mean=[127.0] * 3, std=[64.0] * 3, to_rgb=True)
test_dataloader = dict(dataset=dict(type='CIFAR10', pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=40, edge='short'),
    dict(type='CenterCrop', crop_size=32),
    dict(type='PackInputs'),
]))
"""


@pytest.fixture
def run(run_tool):
    """Run the tool; return its exit status and what it printed."""
    return partial(run_tool, 'image_demo.py', '--device', 'cpu')


def digit(path):
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return path


def picture(path):
    pixels = cv2.imread(str(path))
    assert pixels is not None
    assert pixels.std() > 10
    return pixels


@pytest.mark.slow
@pytest.mark.parametrize('kind', [CLASSIFICATION, CLASSIFICATION_T4, DETECTION, SEGMENTATION],
                         ids=['classification', 't4', 'detection', 'segmentation'])  # fmt: skip
def test_kinds(kind, run, tmp_path):
    config, checkpoint = trained(kind)
    dense = kind in (DETECTION, SEGMENTATION)
    image = scene(kind) if dense else digit(tmp_path / 'digit.png')
    status, out = run(image, config, checkpoint, '--out', 'drawn', '--score-thr', 0)
    assert status == 0
    assert [file.name for file in (tmp_path / 'drawn').iterdir()] == [f'{image.stem}.png']
    picture(tmp_path / 'drawn' / f'{image.stem}.png')
    assert f'T={4 if kind is CLASSIFICATION_T4 else 1}' in out
    rows = [line.split() for line in out.splitlines() if line.startswith('│ stage')]
    assert [row[2] for row in rows] == list('01234')
    strides = [2, 4, 8, 16, 16] if dense else [1, 2, 4, 8, 8]
    assert [int(row[4]) for row in rows] == strides
    assert all(0 <= float(row[8]) <= float(row[10]) <= 4 for row in rows)
    shares = [float(line.split()[3][:-1]) for line in out.splitlines()
              if line.startswith('│') and '%' in line]  # fmt: skip
    assert shares == sorted(shares, reverse=True)
    if kind is DETECTION:
        assert 'left, top, right, bottom' in out
        assert shares
    elif kind is SEGMENTATION:
        assert sum(shares) == pytest.approx(100, abs=1)
    else:
        assert len(shares) == 5


@pytest.mark.parametrize('kind', [DETECTION, SEGMENTATION], ids=['detection', 'segmentation'])
def test_scenes_have_scores_and_a_legend(kind, run, monkeypatch):
    """Objects are named with their scores; the legend has the classes that are in the picture."""
    drawn = []
    figure_of = firing_map_plots.firing_map_figure

    def keep(*arguments):
        drawn.append(figure_of(*arguments))
        return drawn[-1]

    monkeypatch.setattr(firing_map_plots, 'firing_map_figure', keep)
    config, checkpoint = trained(kind)
    status, out = run(scene(kind), config, checkpoint, '--out', 'drawn', '--score-thr', 0)
    assert status == 0
    (figure,) = drawn
    legend = figure.axes[0].get_legend()
    named = {text.get_text() for text in legend.get_texts()} if legend else set()
    rows = [line.split() for line in out.splitlines() if line.startswith('│ ')]
    printed = {row[1] for row in rows if row[3].endswith('%')} - {'background'}
    assert named == printed
    assert kind is SEGMENTATION or named


def test_no_box_above_the_score(run, tmp_path):
    config, checkpoint = trained(DETECTION)
    status, out = run(scene(DETECTION), config, checkpoint, '--out', 'drawn', '--score-thr', 1)
    assert status == 0
    assert '0 of 5 boxes score above 1\n' in out
    picture(tmp_path / 'drawn/digits_000000.png')


@pytest.mark.slow
@pytest.mark.parametrize('kind', [DETECTION, SEGMENTATION], ids=['detection', 'segmentation'])
def test_weights_that_do_not_say_their_classes(kind, run, tmp_path):
    config, checkpoint = trained(kind)
    weights = read_training_checkpoint(checkpoint)['state_dict']
    torch.save(dict(state_dict=weights), tmp_path / 'weights.pth')
    image = scene(kind)
    _, expected = run(image, config, checkpoint, '--out', 'drawn', '--score-thr', 0)
    status, out = run(image, config, 'weights.pth', '--out', 'drawn', '--score-thr', 0)
    assert status == 0
    assert out == expected


def test_an_image_seen_in_pieces_has_no_maps(run, tmp_path):
    config, checkpoint = trained(SEGMENTATION)
    slide = ('mode=slide', 'crop_size=64,64', 'stride=32,32')
    options = [f'model.test_cfg.{option}' for option in slide]
    status, out = run(
        scene(SEGMENTATION), config, checkpoint, '--out', 'drawn', '--cfg-options', *options
    )
    assert status == 0
    assert 'in pieces: no firing maps' in out
    assert 'spikes per neuron' not in out
    picture(tmp_path / 'drawn/digits_000000.png')


def test_stock_model_has_no_maps(run, tmp_path):
    from mmpretrain import get_model
    from mmpretrain.datasets import CIFAR10

    (tmp_path / 'resnet.py').write_text(RESNET)
    model = get_model(str(tmp_path / 'resnet.py'))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'resnet.pth')
    image = digit(tmp_path / 'noise.png')
    status, out = run(image, 'resnet.py', 'resnet.pth')
    assert status == 0
    assert 'no spiking neurons: only the result is drawn' in out
    assert sum(f'│ {name} ' in out for name in CIFAR10.METAINFO['classes']) == 5
    assert 'spikes per neuron' not in out
    picture(tmp_path / 'work_dirs/image_demo/resnet/noise.png')


@pytest.mark.slow
def test_folder(run, tmp_path):
    config, checkpoint = trained(CLASSIFICATION)
    folder = tmp_path / 'images'
    folder.mkdir()
    for name in ('a.png', 'a.jpg', 'b.JPG'):
        digit(folder / name)
    (folder / 'broken.png').write_bytes(b'no image')
    (folder / 'notes.txt').write_text('no image either')
    status, out = run(folder, config, checkpoint, '--out', 'drawn')
    assert status == f'image_demo.py: {folder}/broken.png cannot be read as an image'
    assert out.count('prediction') == 3
    names = sorted(file.name for file in (tmp_path / 'drawn').iterdir())
    assert names == ['a.jpg.png', 'a.png.png', 'b.png']
    status, _ = run(folder, config, checkpoint, '--out', folder)
    assert 'is where the images are' in status


def test_other_neurons(run, tmp_path):
    config, checkpoint = trained(CLASSIFICATION)
    status, _ = run(digit(tmp_path / 'a.png'), config, checkpoint, '--out', 'drawn',
                    '--cfg-options', 'model.backbone.neuron_cfg.D=2')  # fmt: skip
    assert status.startswith('image_demo.py: the checkpoint was made with neurons SFA(D=4')
    assert not (tmp_path / 'drawn').exists()


def test_weights_of_another_model(run, tmp_path):
    config, _ = trained(CLASSIFICATION)
    _, checkpoint = trained(SEGMENTATION)
    status, _ = run(digit(tmp_path / 'a.png'), config, checkpoint)
    assert 'does not fit the config: ' in status
    assert 'head.fc.weight' in status


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (dict(image='absent.png'), 'there is no image or folder absent.png'),
        (dict(image='empty'), 'no image is in empty; known are .bmp, .jpeg,'),
        (dict(image='text.png'), 'text.png cannot be read as an image'),
        (dict(config='absent.py'), 'there is no config file absent.py'),
        (dict(config='plain.py'), 'plain.py has no default_scope; it must be one of mmpretrain,'),
        (dict(config='pose.py'), "pose.py has default_scope='mmpose'; it must be one of"),
        (dict(checkpoint='absent.pth'), 'there is no checkpoint file absent.pth'),
        (dict(checkpoint='text.png'), 'cannot be read as a PyTorch checkpoint'),
        (dict(device='quantum'), '--device quantum: '),
    ],
    ids=lambda value: ''.join(value.values()) if isinstance(value, dict) else '',
)
def test_bad_arguments_give_one_clear_sentence(run, tmp_path, changed, message):
    config, checkpoint = trained(CLASSIFICATION)
    digit(tmp_path / 'a.png')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'text.png').write_text('no image')
    (tmp_path / 'plain.py').write_text('model = dict()')
    (tmp_path / 'pose.py').write_text("default_scope = 'mmpose'")
    chosen = dict(image='a.png', config=config, checkpoint=checkpoint) | changed
    device = ['--device', chosen.pop('device')] if 'device' in chosen else []
    status, _ = run(*chosen.values(), *device)
    assert status.startswith('image_demo.py: ')
    assert message in status
    assert '\n' not in status


@pytest.mark.slow
def test_in_a_process_of_its_own(run_python, tmp_path):
    """Not a word of the hosts, and no traceback, comes between."""
    config, checkpoint = trained(CLASSIFICATION)
    image = digit(tmp_path / 'a.png')
    done = run_python('tools/image_demo.py', image, config, checkpoint, '--out', tmp_path / 'out')
    assert done.stdout.splitlines()[0].endswith('a.png')
    assert 'Warning' not in done.stdout + done.stderr
    picture(tmp_path / 'out/a.png')
