"""The tool on small images; in this process, because importing the hosts takes its time."""

from functools import partial
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from support.small_checkpoints import (
    CLASSIFICATION,
    CLASSIFICATION_T4,
    DETECTION,
    SEGMENTATION,
    scene,
    trained,
)

CLASSIFIER = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmspike'])
model = dict(
    type='ImageClassifier',
    backbone=BACKBONE,
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=8,
              loss=dict(type='CrossEntropyLoss')),
)
data_preprocessor = dict(num_classes=10, mean=[127.0] * 3, std=[64.0] * 3, to_rgb=True)
test_dataloader = dict(dataset=dict(type='CIFAR10', pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=32),
    dict(type='PackInputs'),
]))
"""
STOCK = "dict(type='ResNet', depth=18, stem_channels=8, base_channels=1)"
CONVOLUTIONS = """dict(
    type='mmspike.MetaSpikformer', out_indices=(1,), readout=True, neuron_cfg=NEURON,
    arch=dict(embed_dims=(4, 8, 8, 8, 8), depths=(1,) * 5, num_heads=2, stem_stride=2))"""


@pytest.fixture
def run(run_tool):
    """Run the tool; return its exit status and what it printed."""
    return partial(run_tool, 'analysis_tools/visualize_spikes.py', '--device', 'cpu')


def digit(path):
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return path


def untrained(backbone, folder, neuron="dict(type='mmspike.SFA', D=4)"):
    from mmpretrain import get_model

    config, checkpoint = folder / 'classifier.py', folder / 'classifier.pth'
    config.write_text(CLASSIFIER.replace('BACKBONE', backbone).replace('NEURON', neuron))
    torch.save(dict(state_dict=get_model(str(config)).state_dict()), checkpoint)
    return config, checkpoint


def picture(path):
    with Image.open(path) as opened:
        assert opened.format == 'PNG'
        pixels = np.asarray(opened.convert('RGB'))
    assert pixels.std() > 10
    return pixels


def frames(path):
    """The frames of a GIF, ``(frames, H, W, 3)``, and how long each is shown, in seconds."""
    with Image.open(path) as opened:
        assert opened.format == 'GIF'
        shown, seconds = [], []
        for i in range(opened.n_frames):
            opened.seek(i)
            shown.append(np.asarray(opened.convert('RGB')))
            seconds.append(opened.info['duration'] / 1000)
    return np.stack(shown), seconds


@pytest.mark.slow
@pytest.mark.parametrize('kind', [CLASSIFICATION, CLASSIFICATION_T4, DETECTION, SEGMENTATION],
                         ids=['classification', 't4', 'detection', 'segmentation'])  # fmt: skip
def test_kinds(kind, run, tmp_path):
    config, checkpoint = trained(kind)
    dense = kind in (DETECTION, SEGMENTATION)
    image = scene(kind) if dense else digit(tmp_path / 'digit.png')
    status, out = run(image, config, checkpoint, '--out', 'drawn', '--fps', 4)
    assert status == 0
    names = [f'{image.stem}_{end}' for end in ('attention.png', 'firing.png', 'spikes.gif')]
    assert sorted(file.name for file in (tmp_path / 'drawn').iterdir()) == names
    steps = 4 if kind is CLASSIFICATION_T4 else 1
    _, firing, gif = (tmp_path / 'drawn' / name for name in names)
    picture(tmp_path / 'drawn' / names[0])
    height, width = picture(firing).shape[:2]
    # Five stages below each other, beside each other the steps; or two rows of three panels.
    assert (width > height) == (steps == 1)
    shown, seconds = frames(gif)
    assert len(shown) == 4  # steps, or slots of D=4
    assert seconds == [0.25] * 4
    assert all((a != b).any() for a, b in pairwise(shown))

    rows = [line.replace('│', ' ').split() for line in out.splitlines()
            if line.startswith('│ stage')]  # fmt: skip
    assert [row[:3] for row in rows] == [
        ['stage', str(i), str(stride)]
        for i, stride in enumerate([2, 4, 8, 16, 16] if dense else [1, 2, 4, 8, 8])
    ]
    for row in rows:
        *parts, whole = map(float, row[4:])
        assert len(parts) == 4
        total = sum(parts) if steps == 1 else sum(parts) / 4
        assert total == pytest.approx(whole, abs=0.003)
    assert float(rows[0][-1]) > 0
    assert f'T={steps}' in out
    assert f'{"step" if steps > 1 else "slot"} 4' in out


@pytest.mark.slow
def test_chosen_stages(run, tmp_path):
    config, checkpoint = trained(CLASSIFICATION)
    image = digit(tmp_path / 'a.png')
    status, _ = run(image, config, checkpoint, '--out', 'drawn', '--stages', '4', 'stage 0')
    assert status == 0
    shown, _ = frames(tmp_path / 'drawn/a_spikes.gif')
    assert shown.shape[2] > 2 * shown.shape[1]  # the image and two maps beside each other
    status, _ = run(image, config, checkpoint, '--stages', 7, 'neck')
    assert status == (
        "visualize_spikes.py: --stages: there is no 'neck', 'stage 7'; there are "
        'stage 0, stage 1, stage 2, stage 3, stage 4'
    )


def test_binary_neurons_of_one_step_have_one_frame(run, tmp_path):
    config, checkpoint = untrained(CONVOLUTIONS, tmp_path, "dict(type='mmspike.LIF')")
    status, out = run(digit(tmp_path / 'a.png'), config, checkpoint)
    assert status == 0
    assert 'slot 1' in out
    assert 'slot 2' not in out
    assert len(frames(tmp_path / 'work_dirs/spikes/classifier/a_spikes.gif')[0]) == 1


def test_a_backbone_without_attention(run, tmp_path):
    config, checkpoint = untrained(CONVOLUTIONS, tmp_path)
    status, out = run(digit(tmp_path / 'a.png'), config, checkpoint, '--out', 'drawn')
    assert status == 0
    assert 'no spiking attention: no attention maps' in out
    names = sorted(file.name for file in (tmp_path / 'drawn').iterdir())
    assert names == ['a_firing.png', 'a_spikes.gif']


def test_a_backbone_without_neurons(run, tmp_path):
    config, checkpoint = untrained(STOCK, tmp_path)
    status, _ = run(digit(tmp_path / 'a.png'), config, checkpoint)
    assert status == f'visualize_spikes.py: the backbone of {config} has no spiking neurons'


def test_an_image_seen_in_pieces(run, tmp_path):
    config, checkpoint = trained(SEGMENTATION)
    slide = ('mode=slide', 'crop_size=64,64', 'stride=32,32')
    options = [f'model.test_cfg.{option}' for option in slide]
    status, _ = run(
        scene(SEGMENTATION), config, checkpoint, '--out', 'drawn', '--cfg-options', *options
    )
    assert status.startswith('visualize_spikes.py: the model looks at the image in pieces')
    assert not (tmp_path / 'drawn').exists()


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (dict(image='absent.png'), 'there is no image absent.png'),
        (dict(image='empty'), 'there is no image empty'),
        (dict(image='text.png'), 'text.png cannot be read as an image'),
        (dict(config='absent.py'), 'there is no config file absent.py'),
        (dict(config='plain.py'), 'plain.py has no default_scope; it must be one of mmpretrain,'),
        (dict(checkpoint='absent.pth'), 'there is no checkpoint file absent.pth'),
        (dict(checkpoint='text.png'), 'cannot be read as a PyTorch checkpoint'),
        (dict(device='quantum'), '--device quantum: '),
        (dict(D=2), 'the checkpoint was made with neurons SFA(D=4'),
        (dict(channels=4), 'does not fit the config: '),
    ],
    ids=lambda value: ''.join(map(str, value.values())) if isinstance(value, dict) else '',
)
def test_bad_arguments_give_one_clear_sentence(run, tmp_path, changed, message):
    config, checkpoint = trained(CLASSIFICATION)
    digit(tmp_path / 'a.png')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'text.png').write_text('no image')
    (tmp_path / 'plain.py').write_text('model = dict()')
    chosen = dict(image='a.png', config=config, checkpoint=checkpoint) | changed
    more = ['--device', chosen.pop('device')] if 'device' in chosen else []
    if 'D' in chosen:
        more = ['--cfg-options', f'model.backbone.neuron_cfg.D={chosen.pop("D")}']
    if 'channels' in chosen:
        more = ['--cfg-options', f'model.head.num_classes={chosen.pop("channels")}']
    status, _ = run(*chosen.values(), *more, '--out', 'drawn')
    assert status.startswith('visualize_spikes.py: ')
    assert message in status
    assert '\n' not in status
    assert not (tmp_path / 'drawn').exists()


@pytest.mark.parametrize('fps', ['0', '-1', 'nan', '1000'])
def test_frames_per_second(fps, run):
    assert run('a.png', 'a.py', 'a.pth', '--fps', fps)[0] == 2
