import pytest
import torch
from torch import nn

from mmspike.layers import SpikeWindowAttention
from mmspike.layers.window_grid import MASKED, WindowGrid, relative_positions

SIZES = [(8, 8), (7, 10), (4, 9), (3, 3), (2, 11), (1, 1), (5, 4), (13, 6)]


def offsets_and_windows(size, window, shifted):
    """For each pair of tokens of a map: row and column offset, and whether they share a window.

    Worked out without cyclic shift or padding: windows of a shifted map begin `window // 2` tokens
    late, and what stands before makes windows of its own.
    """
    places = torch.cartesian_prod(*(torch.arange(side) for side in size)).view(-1, 2)
    offsets = places.unsqueeze(1) - places
    shares = torch.ones(len(places), len(places), dtype=torch.bool)
    for dim, side in enumerate(size):
        shift = window // 2 if shifted and side > window else 0
        number = (places[:, dim] - shift).div(window, rounding_mode='floor')
        shares &= number.unsqueeze(1) == number
    return offsets, shares


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('window', [4, 3])
@pytest.mark.parametrize('shifted', [False, True])
def test_attention_in_windows_is_attention_over_the_map_with_other_windows_masked(
    size, window, shifted
):
    torch.manual_seed(0)
    heads, dims = 2, 6
    attn = SpikeWindowAttention(
        dims, heads, window_size=window, shifted=shifted, neuron_cfg=dict(type='ReLU')
    ).double()
    nn.init.normal_(attn.relative_position_bias_table)
    x = torch.randn(2, dims, *size, dtype=torch.float64)

    offsets, shares = offsets_and_windows(size, window, shifted)
    rows = (offsets + window - 1).clamp(0, 2 * window - 2)
    bias = attn.relative_position_bias_table[rows[..., 0] * (2 * window - 1) + rows[..., 1]]
    q, k, v = (
        part.relu().flatten(2).unflatten(1, (heads, -1)).transpose(2, 3)
        for part in attn.qkv(x).chunk(3, 1)
    )
    scores = (q @ k.transpose(2, 3) * (dims // heads) ** -0.5).relu() + bias.permute(2, 0, 1)
    weights = scores.masked_fill(~shares, float('-inf')).softmax(-1)
    context = (weights @ v).relu().transpose(2, 3).flatten(1, 2).view(x.shape)
    expected = attn.proj(context)
    torch.testing.assert_close(attn(x), expected)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('shifted', [False, True])
def test_merging_undoes_partition(size, shifted):
    grid = WindowGrid(*size, 4, shifted)
    x = torch.randn(2, *size, 3)
    windows = grid.partition(x)
    assert windows.shape == (2, *grid.counts, *grid.window, 3)
    assert torch.equal(grid.merge(windows), x)


def test_nothing_is_masked_where_whole_windows_stand_still():
    assert WindowGrid(8, 12, 4).mask('cpu') is None
    assert WindowGrid(3, 2, 4, shifted=True).mask('cpu') is None
    mask = WindowGrid(8, 8, 4, shifted=True).mask('cpu')
    assert mask.shape == (4, 1, 16, 16)
    # Of the shifted windows the first has no border inside, the last has two.
    assert [set(part.unique().tolist()) for part in (mask[0], mask[3])] == [{0.0}, {0.0, MASKED}]
    assert (mask[3] == 0).sum() == 4 * 4 * 4


def test_each_offset_of_two_tokens_has_its_row():
    index = relative_positions(3)
    assert index.shape == (3, 3, 3, 3)
    assert sorted(index.unique().tolist()) == list(range(25))
    assert index[1, 1, 1, 1] == 12  # no offset: the middle
    assert index[0, 0, 2, 2] == 0
    assert index[2, 0, 0, 2] == 20


def test_padding_never_fires():
    attn = SpikeWindowAttention(
        4, 1, window_size=4, shifted=True, neuron_cfg=dict(type='mmspike.SpikingQCFS')
    )
    nn.init.constant_(attn.qkv.bias, 5.0)  # all fire
    fired = []
    attn.q_neuron.register_forward_hook(lambda module, _, out: fired.append(out.count_nonzero()))
    with torch.no_grad():
        attn(torch.zeros(1, 4, 5, 7))
    assert fired == [4 * 5 * 7]


def test_other_numbers_of_heads_are_refused():
    with pytest.raises(ValueError, match='embed_dims=6 must be a multiple of num_heads=4'):
        SpikeWindowAttention(6, 4, window_size=4, shifted=False, neuron_cfg=dict(type='ReLU'))
