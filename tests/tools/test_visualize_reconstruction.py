from functools import partial

import cv2
import numpy as np
import pytest
import torch

from support.small_smae import ARCH, small_smae

CONFIG = f"""
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmspike'])
model = dict(
    type='mmspike.SMAE',
    backbone=dict(type='mmspike.SMAEEncoder', arch=dict({ARCH})),
    neck=dict(type='mmspike.SMAEDecoder', img_size=32, patch_size=8, embed_dim=8,
              decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2),
    head=dict(type='mmspike.SMAEHead', patch_size=8, norm_pix=True,
              loss=dict(type='PixelReconstructionLoss', criterion='L2')),
)
data_preprocessor = dict(type='SelfSupDataPreprocessor', mean=[100.0] * 3, std=[50.0] * 3)
"""
# A classifier on the same backbone.
OTHER = f"""
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmspike'])
model = dict(type='ImageClassifier', backbone=dict(type='mmspike.SDTV3Large', arch=dict({ARCH})))
"""


@pytest.fixture
def run(run_tool):
    return partial(run_tool, 'analysis_tools/visualize_reconstruction.py', '--device', 'cpu')


@pytest.fixture
def files(tmp_path):
    """Config, checkpoint, and images of several sizes."""
    (tmp_path / 'config.py').write_text(CONFIG)
    model = small_smae()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'weights.pth')
    for i, size in enumerate([(20, 45), (70, 32), (32, 32)]):
        image = np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f'{i}.png'), image)
    return tmp_path


def test_a_picture_of_several_images(run, files):
    images = [files / f'{i}.png' for i in range(3)]
    arguments = ['--out', files / 'out' / 'a.png', files / 'config.py', files / 'weights.pth']
    status, out = run(*arguments, *images)
    assert status == 0, out
    assert 'wrote' in out
    assert (files / 'out' / 'a.png').is_file()
    first = cv2.imread(str(files / 'out' / 'a.png'))
    run(*arguments, *images)
    assert np.array_equal(cv2.imread(str(files / 'out' / 'a.png')), first)
    run('--seed', 1, *arguments, *images)
    assert not np.array_equal(cv2.imread(str(files / 'out' / 'a.png')), first)


def test_what_cannot_be_shown_is_told(run, files):
    config, weights, image = files / 'config.py', files / 'weights.pth', files / '0.png'
    assert 'there is no image' in run(config, weights, files / 'absent.png')[0]
    (files / 'text.png').write_text('no image')
    assert 'cannot be read as an image' in run(config, weights, files / 'text.png')[0]
    torch.save({'a.weight': torch.zeros(1)}, files / 'other.pth')
    (files / 'other.py').write_text(OTHER)
    torch.save(small_smae(layer_scale_init_value=1.0).state_dict(), files / 'encoder.pth')
    message = 'is a ImageClassifier; only a masked autoencoder'
    assert message in run(files / 'other.py', files / 'encoder.pth', image)[0]
    assert 'does not fit the config' in run(config, files / 'other.pth', image)[0]
