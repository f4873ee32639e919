import pytest
import torch
from torch import nn

from mmspike.backbones import MetaSpikformer
from mmspike.layers import SpikeAttention, attention_product
from mmspike.neurons import IF, SFA
from mmspike.recorders.attention_maps import (
    AttentionMap,
    AttentionMapRecorder,
    attention_blocks,
    column_sums,
)
from support.threads import in_thread


class Pick(nn.Module):
    """Neurons on some of the channels."""

    def __init__(self, channels, neuron):
        super().__init__()
        self.channels = channels
        self.neuron = neuron

    def forward(self, x):
        return self.neuron(x[:, self.channels])


class Attention(nn.Module):
    """q, k and v are the first, second and third third of the channels, as they come."""

    def __init__(self, dims, num_heads=1, **neuron):
        super().__init__()
        self.num_heads = num_heads
        self.q, self.k, self.v = (
            Pick(slice(i * dims, (i + 1) * dims), SFA(norm=1, **neuron)) for i in range(3)
        )

    def forward(self, x):
        self.spikes = self.q(x), self.k(x), self.v(x)
        return x


def record(net, *inputs):
    with AttentionMapRecorder(net) as recorder:
        for x in inputs:
            net(x)
    return recorder.maps()


def image(*channels):
    """One image of one row, from the values of each channel."""
    return torch.tensor(channels, dtype=torch.float32)[None, :, None]


def test_by_hand():
    # q = (1, 0), (2, 1), (0, 1) and k = (1, 1), (0, 3), (2, 0) at three positions: q sums to
    # (3, 2), so that they are attended to by 5, 6 and 6.
    x = image([1, 2, 0], [0, 1, 1], [1, 0, 2], [1, 3, 0], [0, 0, 0], [0, 0, 0])
    (one,) = record(nn.Sequential(Attention(2)), x)
    assert one.block == '0'
    assert one.weights.tolist() == [[[[[5, 6, 6]]]]]
    assert one.relative().tolist() == [[[pytest.approx([15 / 17, 18 / 17, 18 / 17])]]]


def test_heads_have_maps_of_their_own():
    # The same, but each of the two channels is a head.
    x = image([1, 2, 0], [0, 1, 1], [1, 0, 2], [1, 3, 0], [0, 0, 0], [0, 0, 0])
    (one,) = record(nn.Sequential(Attention(2, num_heads=2)), x)
    assert one.weights.tolist() == [[[[[3, 0, 6]], [[2, 6, 0]]]]]
    # Their mean is 2.5, 3, 3.
    assert one.relative().tolist() == [[[pytest.approx([15 / 17, 18 / 17, 18 / 17])]]]


def test_time_steps_are_kept_apart_and_share_one_scale():
    # Rows are step 0 of both images, then step 1 of both; q is 1, k is what is said.
    k = torch.tensor([[1.0, 1.0], [0.0, 2.0], [3.0, 3.0], [0.0, 0.0]]).view(4, 1, 1, 2)
    x = torch.cat([torch.ones_like(k), k, k], dim=1)
    (one,) = record(nn.Sequential(Attention(1, timesteps=2)), x)
    assert one.weights.shape == (2, 2, 1, 1, 2)
    assert one.weights.flatten(2).tolist() == [[[2, 2], [0, 4]], [[6, 6], [0, 0]]]
    assert one.relative().flatten(2).tolist() == [[[0.5, 0.5], [0, 4]], [[1.5, 1.5], [0, 0]]]


def test_column_sums_equal_those_of_the_explicit_products():
    q, k = torch.randint(0, 5, (2, 3, 4, 10, 6)).float() / 4
    assert torch.equal(column_sums(q, k), (q @ k.mT).sum(dim=-2))
    # A half counts exactly to 2048 only.
    many = torch.ones(4096, 1, dtype=torch.half)
    assert column_sums(many, many[:2]).tolist() == [4096, 4096]


@pytest.mark.parametrize('timesteps', [1, 2])
def test_of_a_backbone(timesteps):
    arch = dict(embed_dims=(4, 4, 8, 8, 8), depths=(1, 1, 1, 2, 1), num_heads=2, stem_stride=2)
    net = MetaSpikformer(arch, timesteps=timesteps, norm_cfg=dict(type='BN', momentum=1.0))
    x = 9 * torch.rand(3, 3, 32, 48)
    net(x)  # for the statistics of its norms
    net.eval()
    products = {}

    def explicit(block, inputs, out):
        spikes = block.neuron(inputs[0])
        maps = [branch(spikes).flatten(2) for branch in (block.q, block.k, block.v)]
        q, k, v = (one.unflatten(1, (block.num_heads, -1)).mT for one in maps)
        products[block] = q @ k.mT
        # What a map says: the factors of v in the sum of the context over the positions.
        context = attention_product(q, k, v).sum(dim=-2)
        weights = column_sums(q, k)[..., None]
        assert torch.allclose(context, (weights * v).sum(dim=-2))

    handles = [m.register_forward_hook(explicit) for m in net.modules()
               if isinstance(m, SpikeAttention)]  # fmt: skip
    found = record(net, x)
    assert [one.block for one in found] == [
        'stages.3.blocks.0.attn', 'stages.3.blocks.1.attn', 'stages.4.blocks.0.attn'
    ]  # fmt: skip
    assert len(handles) == 3
    assert any(one.weights.any() for one in found)
    for one, product in zip(found, products.values(), strict=True):
        assert one.stride == 16
        assert one.weights.shape == (timesteps, 3, 2, 2, 3)
        expected = product.sum(dim=-2).view(timesteps, 3, 2, 2, 3)
        assert torch.allclose(one.weights, expected)


def test_what_passes_for_an_attention_block():
    spiking, other, single = Attention(1), Attention(1), Attention(1)
    other.v = nn.Identity()
    del single.num_heads
    net = nn.Sequential(spiking, other, single, nn.MultiheadAttention(2, 1))
    assert attention_blocks(net) == {'0': spiking}
    with pytest.raises(ValueError, match='Identity has no spiking attention'):
        AttentionMapRecorder(nn.Identity())


def test_binary_neurons_and_silence():
    block = Attention(1)
    for branch in (block.q, block.k, block.v):
        branch.neuron = IF(timesteps=2)
    # 0.6 a step reaches the threshold of 1 in the second of two steps.
    x = torch.full((2, 3, 1, 2), 0.6)
    assert record(nn.Sequential(block), x)[0].weights.flatten(1).tolist() == [[0, 0], [2, 2]]
    assert not record(nn.Sequential(block), 0 * x)[0].relative().any()


def test_later_runs_follow_along_the_batch():
    net = nn.Sequential(Attention(1))
    (one,) = record(net, torch.ones(1, 3, 1, 1), torch.zeros(2, 3, 1, 1))
    assert one.weights.flatten().tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match=r'\(1, 1\) and \(1, 2\), cannot be recorded together'):
        record(net, torch.ones(1, 3, 1, 1), torch.ones(1, 3, 1, 2))


def test_recomputed_blocks_do_not_count():
    arch = dict(embed_dims=(4,) * 5, depths=(1,) * 5, num_heads=2, stem_stride=2)
    net = MetaSpikformer(arch, with_cp=True)
    with AttentionMapRecorder(net) as recorder:
        net(torch.rand(2, 3, 32, 32))[0].sum().backward()
    assert [one.weights.shape[1] for one in recorder.maps()] == [2, 2]


def test_leaves_the_model_as_it_was():
    net = nn.Sequential(Attention(1))
    with pytest.raises(RuntimeError, match='stop'), AttentionMapRecorder(net) as recorder:
        net(torch.ones(1, 3, 1, 1))
        raise RuntimeError('stop')
    net(torch.ones(1, 3, 1, 1))
    assert recorder.maps()[0].weights.numel() == 1
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_maps_grow_to_the_image_and_padding_is_cut_off():
    one = AttentionMap('a', torch.tensor([[1.0, 3.0]]).view(1, 1, 1, 1, 2), (2, 4))
    assert one.on_image(2, 3).tolist() == [[[0.5, 0.5, 1.5], [0.5, 0.5, 1.5]]]
    with pytest.raises(ValueError, match='3x4 pixels does not lie within the input of 2x4'):
        one.on_image(3, 4)


def test_calls_in_other_threads_are_not_recorded():
    net, x = nn.Sequential(Attention(2)), torch.rand(1, 6, 1, 3) * 3
    expected = record(net, x)
    with AttentionMapRecorder(net) as recorder:
        in_thread(lambda: net(2 * x))
        net(x)
    (one,), (right,) = recorder.maps(), expected
    assert str(one) == str(right)
