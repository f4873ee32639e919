import copy

import pytest
import torch
from torch import nn

from mmspike.backbones import SDTV3Large
from mmspike.selfsup import SMAEEncoder

ARCH = dict(
    embed_dims=(4, 4, 8, 8), depths=(1, 1, 1, 2), num_heads=2, stem_stride=2, rep_expansion=1.0
)


def encoder(**options):
    torch.manual_seed(0)
    return SMAEEncoder(ARCH, **options)


def test_visible_tokens_in_shuffled_order():
    net = encoder().eval()
    x, noise = torch.randn(2, 3, 64, 32), torch.rand(2, 8)
    tokens, mask, ids_restore = net(x, noise=noise)
    assert tokens.shape == (2, 4, 8)
    assert mask.shape == ids_restore.shape == (2, 8)
    net.legacy_token_order = True
    every = net(x, noise=noise)[0]
    assert every.shape == (2, 8, 8)
    for own, whole, row in zip(tokens, every, noise, strict=True):
        assert torch.equal(own, whole[row.argsort()[:4]])


def test_masked_pixels_are_never_seen():
    net = encoder(legacy_token_order=True).train()
    x, noise = torch.randn(2, 3, 64, 32), torch.rand(2, 8)
    other = copy.deepcopy(net)
    tokens, mask, _ = net(x, noise=noise)
    pixels = mask.view(2, 1, 4, 2).repeat_interleave(16, 2).repeat_interleave(16, 3)
    torch.testing.assert_close(other(x + 100 * pixels, noise=noise)[0], tokens)
    for name, value in net.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_the_stem_is_silent_in_masked_patches():
    net = encoder().train()
    seen = []
    net.stages[3].downsample.register_forward_hook(lambda _, args, out: seen.append(out))
    _, mask, _ = net(torch.randn(2, 3, 64, 64))
    silent = seen[0].abs().sum(1).flatten(1) == 0
    assert torch.equal(silent, mask.bool())


def test_whole_images_give_the_maps_of_the_backbone():
    net, x = encoder().eval(), torch.randn(2, 3, 40, 40)
    backbone = SDTV3Large(ARCH, layer_scale_init_value=None).eval()
    backbone.load_state_dict(net.state_dict())
    for mask in (None, False):
        assert torch.equal(net(x, mask=mask)[0], backbone(x)[0])


def test_several_time_steps_are_averaged():
    """Of a neuron without memory, all steps are alike."""
    net = encoder().eval()
    x, noise = torch.randn(2, 3, 32, 32), torch.rand(2, 4)
    once = net(x, noise=noise)[0]
    net.timesteps = 3
    in_time = SMAEEncoder(ARCH, timesteps=3).eval()
    in_time.load_state_dict(net.state_dict())
    torch.testing.assert_close(in_time(x, noise=noise)[0], once)


def test_recomputation_changes_neither_gradients_nor_statistics():
    plain, recomputing = encoder().train(), encoder(with_cp=True).train()
    x, noise = torch.randn(2, 3, 32, 32), torch.rand(2, 2, 4)
    for net in (plain, recomputing):
        # Two forward passes with different masks before one backward pass.
        sum(net(x, noise=one)[0].square().mean() for one in noise).backward()
    for (name, own), other in zip(plain.named_parameters(), recomputing.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, msg=name)
    for (name, own), other in zip(plain.named_buffers(), recomputing.buffers(), strict=True):
        assert torch.equal(own, other), name


def test_gradients_of_a_batch_of_one_are_half_of_those_of_the_image_twice():
    """PyTorch's batch norm can go wrong for a batch of one; see docs/parity.md."""
    image, noise = torch.randn(1, 3, 64, 64), torch.rand(1, 16)
    for legacy in (False, True):
        grads = []
        for times in (1, 2):
            net = encoder(legacy_token_order=legacy).eval()
            tokens = net(image.repeat(times, 1, 1, 1), noise=noise.repeat(times, 1))[0]
            (tokens.square().sum() / times).backward()
            grads.append({name: p.grad for name, p in net.named_parameters()})
        for name, own in grads[0].items():
            torch.testing.assert_close(own, grads[1][name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize('shape', [(1, 3, 40, 64), (1, 3, 64, 65), (3, 64, 64), (1, 2, 3, 64, 64)])
def test_images_of_other_sizes_are_refused(shape):
    with pytest.raises(ValueError, match=rf'multiples of 16, got shape \({shape[0]}, '):
        encoder()(torch.rand(shape))


@pytest.mark.parametrize('ratio', [0, 1])
def test_bad_mask_ratios(ratio):
    with pytest.raises(ValueError, match=f'mask_ratio must lie between 0 and 1, got {ratio}'):
        encoder(mask_ratio=ratio)


def test_norms_that_see_masked_patches_are_refused():
    with pytest.raises(ValueError, match='is a BatchNorm2d, which sees masked'):
        encoder(stem_norm_cfg=dict(type='BN'))
    replaced = nn.SyncBatchNorm.convert_sync_batchnorm(encoder())  # as sync_bn of the runner does
    with pytest.raises(
        ValueError, match=r'is a SyncBatchNorm.* mmspike\.VisibleSyncBN instead of sync_bn'
    ):
        replaced(torch.rand(1, 3, 32, 32))
    encoder(stem_norm_cfg=dict(type='mmspike.VisibleSyncBN'))(torch.rand(1, 3, 32, 32))
