import cv2
import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmspike.backbones import SDTV3Large
from mmspike.hooks import ReconstructionHook
from support.small_smae import ARCH, small_smae

IMAGES = torch.randint(0, 256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()


def train(folder, hooks, model=None, epochs=3):
    data = [dict(inputs=image, data_samples=0) for image in IMAGES]
    runner = Runner(
        small_smae() if model is None else model,
        str(folder),
        train_dataloader=DataLoader(data, batch_size=4),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        default_hooks=dict(checkpoint=None, logger=None),
        custom_hooks=hooks,
        randomness=dict(seed=0),
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        experiment_name=folder.name,
    )
    runner.train()
    return runner.model


def pictures(folder):
    return sorted(path.name for path in folder.rglob('reconstruction_*.png'))


def test_pictures_are_drawn_every_so_often_and_at_the_end(tmp_path):
    train(tmp_path / 'a', [ReconstructionHook(interval=2, num_images=3)])
    assert pictures(tmp_path) == ['reconstruction_2.png', 'reconstruction_3.png']
    first, second = (cv2.imread(str(path)) for path in sorted(tmp_path.rglob('recon*.png')))
    assert first.shape == second.shape
    # The same images and masks above, other predictions below.
    third = first.shape[0] // 3
    assert np.array_equal(first[third // 4 : 2 * third], second[third // 4 : 2 * third])
    assert not np.array_equal(first[2 * third :], second[2 * third :])


def test_training_is_not_changed(tmp_path):
    plain = train(tmp_path / 'a', [])
    watched = train(tmp_path / 'b', [ReconstructionHook(interval=1)])
    assert watched.training
    for (name, own), other in zip(
        plain.state_dict().items(), watched.state_dict().values(), strict=True
    ):
        assert torch.equal(own, other), name


def test_another_model_is_refused(tmp_path):
    class Other(BaseModel):
        def __init__(self):
            super().__init__()
            self.net = SDTV3Large(ARCH)

        def forward(self, inputs, data_samples, mode):
            return dict(loss=self.net(inputs.float())[0].mean())

    with pytest.raises(TypeError, match=r'mmspike\.SMAE reconstructs; the model is a Other'):
        train(tmp_path / 'a', [ReconstructionHook()], Other())


@pytest.mark.parametrize('option', ['interval', 'num_images'])
def test_bad_options(option):
    with pytest.raises(ValueError, match=f'{option} must be at least 1, got 0'):
        ReconstructionHook(**{option: 0})
