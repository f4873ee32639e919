import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmspike.layers import SpikeAttention, attention_product


@settings(deadline=None, max_examples=40)
@given(
    tokens=st.integers(1, 40),
    d=st.integers(1, 12),
    e=st.integers(1, 24),
    levels=st.sampled_from([1, 4]),
    seed=st.integers(0, 1000),
)
def test_both_orders_of_the_product_are_exact_on_spikes(tokens, d, e, levels, seed):
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (
        torch.randint(0, levels + 1, (2, 3, tokens, width), generator=generator) / levels
        for width in (d, d, e)
    )
    exact = torch.einsum('bhnd,bhmd,bhme->bhne', q.double(), k.double(), v.double())
    assert torch.equal(attention_product(q, k, v).double(), exact)


@pytest.mark.parametrize(('tokens', 'd', 'e'), [(4, 16, 64), (196, 16, 64)])
def test_the_cheaper_order_is_taken(tokens, d, e):
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        attention_product(
            torch.rand(1, tokens, d), torch.rand(1, tokens, d), torch.rand(1, tokens, e)
        )
    quadratic, linear = 2 * tokens**2 * (d + e), 4 * tokens * d * e
    assert counter.get_total_flops() == min(quadratic, linear)


def test_attention_by_hand():
    """One head, two tokens, identity projections: (q k^T) v * 2 / sqrt(d), then neuron and proj."""
    attention = SpikeAttention(
        2, 1, value_ratio=1, neuron_cfg=dict(type='mmspike.SFA', D=4), norm_cfg=dict(type='BN')
    ).eval()
    for branch in (attention.q, attention.k, attention.v, attention.out):
        branch.conv.weight.data.copy_(torch.eye(2)[:, :, None, None])
        branch.bn.eps = 0.0
        branch.bn.running_var.fill_(1.0)
    # Channels first: token 0 is (4, 0), token 1 is (2, 2); after the first neuron (1, 0), (.5, .5),
    # which the neurons of q, k and v then round: .5 -> 0 of 4 (half to even), 1 -> 1 of 4.
    x = torch.tensor([[[[4.0, 2.0]], [[0.0, 2.0]]]])
    q = torch.tensor([[0.25, 0.0], [0.0, 0.0]])
    expected = torch.round((q @ q.T @ q * 2 / 2**0.5).clamp(0, 4)) / 4
    torch.testing.assert_close(attention(x)[0].flatten(1).T, expected)


@pytest.mark.parametrize('channels_last', [False, True])
def test_heads_attend_by_themselves_in_every_memory_format(channels_last):
    """Two heads on a map that is wider than high: each is an attention of its own channels."""
    attention = SpikeAttention(
        8, 2, neuron_cfg=dict(type='mmspike.SFA', D=4), norm_cfg=dict(type='BN')
    ).eval()
    for branch in (attention.q, attention.k, attention.v, attention.out):
        branch.bn.running_var.fill_(0.01)  # so that much is fired
    x = 2 * torch.randn(3, 8, 2, 5)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        spikes = attention.neuron(x)
        q, k, v = (branch(spikes).flatten(2) for branch in (attention.q, attention.k, attention.v))
        heads = [
            torch.einsum('bdn,bdm,bem->ben', q[:, 4 * i : 4 * i + 4], k[:, 4 * i : 4 * i + 4],
                         v[:, 16 * i : 16 * i + 16])
            for i in range(2)
        ]  # fmt: skip
        expected = attention.out((2 / 4**0.5 * torch.cat(heads, 1)).unflatten(-1, (2, 5)))
        torch.testing.assert_close(attention(x), expected)
    assert expected.any()


def test_width_must_divide_into_heads():
    with pytest.raises(ValueError, match='embed_dims=10 must be a multiple of num_heads=4'):
        SpikeAttention(10, 4, neuron_cfg=dict(type='mmspike.SFA'), norm_cfg=dict(type='BN'))
