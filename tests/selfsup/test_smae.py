import json

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mmspike.selfsup import SMAE, SMAEDecoder, SMAEEncoder, SMAEHead
from support.parity import agrees, compare
from support.reference_cases import DATA, cases
from support.reference_smae import LOSS
from support.small_smae import ARCH, small_smae


@pytest.mark.parametrize('case', cases('sdtv3_spikmae'))
def test_outputs_statistics_and_gradients_equal_the_reference(case):
    for row in compare(case):
        assert agrees(case, row), row


@pytest.mark.parametrize(
    ('arch', 'variant'), [('12-512', 'spikmae_12_512'), ('12-768-smae', 'spikmae_12_768')]
)
def test_parameter_count_is_the_reference_count(arch, variant):
    counted = json.loads((DATA / 'sdtv3_large_counts.json').read_text())['variants'][variant]
    with torch.device('meta'):
        backbone = SMAEEncoder(arch)
        model = SMAE(backbone, SMAEDecoder(embed_dim=backbone.out_channels[0]), SMAEHead(LOSS))
    ours = sum(p.numel() for p in model.parameters())
    assert ours == counted['parameters_trainable']
    # Two tables of positions of 196 patches are fixed parameters of the reference.
    tables = 196 * (backbone.out_channels[0] + 256)
    assert ours + tables == counted['parameters_total']


@pytest.mark.parametrize('size', [(32, 32), (16, 40)])
@pytest.mark.parametrize('legacy', [False, True])
def test_every_parameter_trains_at_any_size(size, legacy):
    model = small_smae(legacy_token_order=legacy).train()
    losses = model(torch.randn(3, 3, *size), mode='loss')
    losses['loss'].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert bool(model.neck.mask_token.grad.any()) is not legacy


def test_mask_tokens_are_used_by_default_and_never_in_the_legacy_order():
    images, noise = torch.randn(2, 3, 32, 32), torch.rand(2, 16)
    for legacy in (False, True):
        model = small_smae(legacy_token_order=legacy).eval()
        before = model.predict_patches(images, noise)[0]
        model.neck.mask_token.data.add_(1)
        assert torch.equal(model.predict_patches(images, noise)[0], before) is legacy


@pytest.mark.parametrize(
    ('decoder', 'head'), [({}, {}), (dict(patch_size=8), {}), ({}, dict(patch_size=8))]
)
def test_parts_with_other_patches_are_refused(decoder, head):
    encoder = SMAEEncoder(dict(ARCH, stem_stride=1))  # patches of 8x8 pixels
    neck = SMAEDecoder(embed_dim=encoder.out_channels[0], **decoder)
    with pytest.raises(ValueError, match=r'has 8x8 pixels of 3 channels, .* set patch_size=8 in'):
        SMAE(encoder, neck, SMAEHead(LOSS, **head))
    SMAE(encoder, SMAEDecoder(embed_dim=8, patch_size=8), SMAEHead(LOSS, patch_size=8))


def test_reconstructions():
    model = small_smae().eval()
    images, noise = torch.randn(2, 3, 16, 40), torch.rand(2, 10)
    found = model.reconstruct(images, noise)
    pred, mask = model.predict_patches(images, noise)
    hidden = mask.view(2, 1, 2, 5).repeat_interleave(8, 2).repeat_interleave(8, 3).bool()
    hidden = hidden.expand_as(images)
    assert torch.equal(found.original, images)
    assert torch.equal(found.masked, images.masked_fill(hidden, 0))
    assert torch.equal(found.predicted[~hidden], images[~hidden])
    pixels = model.head.unpatchify(model.head.pixels(pred, images), (2, 5))
    torch.testing.assert_close(found.predicted[hidden], pixels[hidden])
    torch.testing.assert_close(found.loss, model.head.loss(pred, images, mask))


def test_it_is_built_from_a_config():
    init_default_scope('mmpretrain')
    model = MODELS.build(
        dict(
            type='mmspike.SMAE',
            backbone=dict(type='mmspike.SMAEEncoder', arch=ARCH),
            neck=dict(type='mmspike.SMAEDecoder', img_size=32, patch_size=8, embed_dim=8),
            head=dict(type='mmspike.SMAEHead', loss=LOSS, patch_size=8, norm_pix=True),
        )
    )
    (feature,) = model(torch.rand(1, 3, 32, 32), mode='tensor')
    assert feature.shape == (1, 8, 4, 4)
