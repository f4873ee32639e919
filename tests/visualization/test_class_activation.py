import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from mmspike import set_timesteps
from mmspike.backbones import SDT
from mmspike.heads.cls import SpikeLinearClsHead
from mmspike.visualization.class_activation import cam_reshape_transform


class Classifier(nn.Module):
    def __init__(self, timesteps):
        super().__init__()
        self.backbone = SDT(dict(embed_dims=16, depth=1))
        self.head = SpikeLinearClsHead(3, 16)
        set_timesteps(self, timesteps)

    def forward(self, x):
        return self.head((self.backbone(x)[0].mean((2, 3)),))


def test_maps_are_averaged_over_time():
    transform = cam_reshape_transform(Classifier(3))
    x = torch.randn(6, 4, 5, 5)
    torch.testing.assert_close(transform(x), (x[:2] + x[2:4] + x[4:]) / 3)


def test_the_number_of_steps_is_read_at_every_call():
    model = Classifier(3)
    transform = cam_reshape_transform(model)
    set_timesteps(model, 2)
    x = torch.randn(6, 4, 5, 5)
    torch.testing.assert_close(transform(x), (x[:3] + x[3:]) / 2)


def test_bad_input():
    with pytest.raises(ValueError, match='contains no spiking module'):
        cam_reshape_transform(nn.Conv2d(1, 1, 1))
    with pytest.raises(ValueError, match='cannot hold 3 time steps'):
        cam_reshape_transform(Classifier(3))(torch.randn(4, 1, 2, 2))


def test_grad_cam_shows_all_steps():
    """With the package that mmpretrain's tool uses, beside the definition of Grad-CAM."""
    cam = pytest.importorskip('pytorch_grad_cam')
    targets = pytest.importorskip('pytorch_grad_cam.utils.model_targets')
    model = Classifier(2).train()  # norms that follow the batch: neurons fire without training
    layer = model.backbone.stages[-1].mlp.fc2.bn
    images = torch.randn(2, 3, 32, 32) * 2
    seen = {}
    handle = layer.register_forward_hook(lambda m, i, out: seen.update(maps=out))
    scores = model(images)
    handle.remove()
    (grads,) = torch.autograd.grad(scores[:, 1].sum(), seen['maps'])
    maps, grads = (x.detach().unflatten(0, (2, 2)).mean(0) for x in (seen['maps'], grads))
    expected = (maps * grads.mean((2, 3), keepdim=True)).sum(1, keepdim=True).relu()
    expected = expected - expected.amin((2, 3), keepdim=True)
    expected = expected / (1e-7 + expected.amax((2, 3), keepdim=True))
    expected = interpolate(expected, (32, 32), mode='bilinear')[:, 0]

    grad_cam = cam.GradCAM(model, [layer], reshape_transform=cam_reshape_transform(model))
    model.train()  # the tool has put it into evaluation mode
    shown = grad_cam(images, [targets.ClassifierOutputTarget(1)] * 2)
    assert shown.shape == (2, 32, 32)
    torch.testing.assert_close(torch.from_numpy(shown), expected, rtol=0, atol=0.05)
