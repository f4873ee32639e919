import numpy as np
import pytest
import torch

from mmspike.selfsup import SMAEDecoder
from support.reference_cases import Case


def decoder(**options):
    torch.manual_seed(0)
    sizes = dict(embed_dim=8, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2)
    return SMAEDecoder(**{**dict(img_size=(32, 48), patch_size=16), **sizes, **options}).eval()


def test_positions_are_those_of_the_reference():
    numbers = Case.load('sdtv3_spikmae').numbers
    own = decoder(img_size=224, decoder_embed_dim=32).decoder_pos_embed.numpy()
    np.testing.assert_allclose(own, numbers['own_decoder_pos_embed'], atol=1e-6)


def test_tokens_come_to_their_patches_and_mask_tokens_to_all_others():
    net = decoder()
    seen = []
    net.decoder_blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    tokens = torch.randn(1, 2, 8)
    ids_restore = torch.tensor([[3, 0, 5, 2, 1, 4]])  # patches 1 and 4 are visible
    assert net(tokens, ids_restore).shape == (1, 6, 768)
    found = seen[0] - net.decoder_pos_embed
    embedded = net.decoder_embed(net.normed(tokens))
    torch.testing.assert_close(found[0, 1], embedded[0, 0])
    torch.testing.assert_close(found[0, 4], embedded[0, 1])
    for patch in (0, 2, 3, 5):
        torch.testing.assert_close(found[0, patch], net.mask_token[0, 0])


def test_other_sizes_get_positions_of_their_own_grid():
    tokens, ids_restore = torch.randn(2, 4, 8), torch.rand(2, 8).argsort(1)
    net, other = decoder(), decoder(img_size=(64, 32))
    other.load_state_dict({**net.state_dict(), 'decoder_pos_embed': other.decoder_pos_embed})
    assert torch.equal(net(tokens, ids_restore, (4, 2)), other(tokens, ids_restore))
    assert not torch.equal(net(tokens, ids_restore, (2, 4)), other(tokens, ids_restore))


def test_initialisation():
    net = decoder()
    net.init_weights()
    assert 0.005 < net.mask_token.std() < 0.05
    assert torch.equal(net.decoder_pos_embed, decoder().decoder_pos_embed)


def test_sizes_that_are_no_multiples_are_refused():
    with pytest.raises(ValueError, match=r'img_size .* patch_size=16, got \(32, 40\)'):
        decoder(img_size=(32, 40))
