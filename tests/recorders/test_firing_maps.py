import numpy as np
import pytest
import torch
from torch import nn

from mmspike.backbones import MetaSpikformer
from mmspike.neurons import IF, SFA
from mmspike.recorders.firing_maps import FiringMap, FiringMapRecorder
from mmspike.recorders.firing_rates import FiringRateRecorder
from mmspike.visualization.firing_map_plots import firing_map_figure
from support.threads import in_thread


class Stage(nn.Module):
    """Calls its parts one after the other, and neurons on what each of them gives."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return x


class Net(nn.Module):
    def __init__(self, *stages):
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return x


def rates(net, *inputs):
    with FiringMapRecorder(net) as recorder:
        for x in inputs:
            net(x)
    return [one.rates.tolist() for one in recorder.maps()]


X = torch.tensor([[[[0.0, 1.0], [2.0, 9.0]], [[-5.0, 3.0], [0.4, 4.0]]]])


@pytest.mark.parametrize('norm', [None, 1.0])
def test_integers_count_as_so_many_spikes_and_channels_are_averaged(norm):
    # At most 4: (0, -5), (1, 3), (2, 0.4), (9, 4) fire 0 and 0, 1 and 3, 2 and 0, 4 and 4.
    assert rates(Net(Stage(SFA(D=4, norm=norm))), X) == [[[[0, 2], [1, 4]]]]


def test_time_steps_are_averaged_image_by_image():
    # Rows are step 0 of both images, then step 1 of both.
    x = torch.tensor([1.0, 2.0, 3.0, 0.0]).view(4, 1, 1, 1)
    assert rates(Net(Stage(SFA(timesteps=2, norm=1))), x) == [[[[2]], [[1]]]]


def test_binary_neurons_with_memory():
    # 0.6 a step reaches the threshold of 1 in the second of two steps, 0.3 never.
    x = torch.tensor([[0.6, 0.3]]).repeat(2, 1).view(2, 1, 1, 2)
    assert rates(Net(Stage(IF(timesteps=2))), x) == [[[[0.5, 0]]]]


def test_layers_weigh_as_many_neurons_as_they_have():
    class Widen(nn.Module):
        def forward(self, x):
            return x.repeat(1, 3, 1, 1) * 0  # three channels that stay silent

    net = Net(Stage(SFA(norm=1), Widen(), SFA(norm=1)))
    assert rates(net, torch.full((1, 1, 1, 1), 4.0)) == [[[[1.0]]]]


def test_neurons_at_other_resolutions_are_left_out():
    net = Net(Stage(SFA(norm=1), nn.MaxPool2d(2), SFA(norm=1)), Stage(nn.MaxPool2d(1)),
              Stage(SFA(norm=1), nn.MaxPool2d(1, stride=2)))  # fmt: skip
    x = torch.arange(16.0).view(1, 1, 4, 4)
    with FiringMapRecorder(net) as recorder:
        net(x)
    (one,) = recorder.maps()  # the others have no neuron, or none at the size of their output
    assert (one.stage, one.stride, one.mean) == ('stage 0', 2, 4.0)
    assert one.rates.shape == (1, 2, 2)


def test_a_neuron_that_is_called_twice_counts_twice():
    shared = SFA(norm=1)

    class Double(nn.Module):
        def __init__(self):
            super().__init__()
            self.neuron = shared

        def forward(self, x):
            return self.neuron(x) + self.neuron(2 * x)

    x = torch.ones(1, 1, 1, 1)
    assert rates(Net(Stage(Double())), x) == [[[[1.5]]]]
    # Shared by two stages, it counts for that which runs: 1 and 2, then 3 and 4 of 6.
    assert rates(Net(Stage(Double()), Stage(Double())), x) == [[[[1.5]]], [[[3.5]]]]


def test_later_runs_follow_along_the_batch():
    net = Net(Stage(SFA(norm=1)))
    assert rates(net, torch.ones(1, 1, 1, 1), torch.zeros(2, 1, 1, 1)) == [
        [[[1.0]], [[0.0]], [[0.0]]]
    ]
    with pytest.raises(ValueError, match=r'\(1, 1\) and \(1, 2\), cannot be recorded together'):
        rates(net, torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 2))


def test_backbones_without_a_list_of_stages_have_their_children():
    class Plain(nn.Sequential):
        pass

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = Plain(nn.Identity(), SFA())
            self.head = SFA()

    model = Model()
    with FiringMapRecorder(model) as recorder:
        model.head(model.backbone(torch.ones(1, 1, 1, 1)))
    assert [one.stage for one in recorder.maps()] == ['1']


def test_leaves_the_model_as_it_was():
    net = Net(Stage(SFA()))
    with pytest.raises(RuntimeError, match='stop'), FiringMapRecorder(net) as recorder:
        net(X)
        raise RuntimeError('stop')
    net(X)
    assert len(recorder.maps()[0].rates) == 1
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_model_without_neurons():
    with pytest.raises(ValueError, match='Linear has no neurons'):
        FiringMapRecorder(nn.Linear(1, 1))


def small_net(**kwargs):
    arch = dict(
        embed_dims=(4, 4, 8, 8, 8), depths=(1, 1, 1, 1, 1), num_heads=2, stem_stride=2
    )  # fmt: skip
    return MetaSpikformer(arch, **kwargs)


@pytest.mark.parametrize('timesteps', [1, 2])
def test_agrees_with_the_firing_rates_of_the_layers(timesteps):
    net = small_net(timesteps=timesteps, neuron_cfg=dict(type='mmspike.ILIF'), readout=True)
    with FiringMapRecorder(net) as maps, FiringRateRecorder(net) as layers:
        net(torch.rand(2, 3, 32, 48) * 4)
    found = maps.maps()
    assert [one.stage for one in found] == [f'stage {i}' for i in range(5)]
    assert [one.stride for one in found] == [2, 4, 8, 16, 16]
    assert [tuple(one.rates.shape[1:]) for one in found] == [
        (16, 24), (8, 12), (4, 6), (2, 3), (2, 3),
    ]  # fmt: skip
    last = [rate for rate in layers.rates() if rate.name.startswith('stages.4.')]
    mean = sum(rate.spikes for rate in last) / sum(rate.outputs for rate in last)
    assert mean > 0
    assert found[4].mean == pytest.approx(mean)


def test_recomputed_activations_do_not_count():
    found = {}
    for with_cp in (False, True):
        torch.manual_seed(0)
        net = small_net(with_cp=with_cp)
        with FiringMapRecorder(net) as recorder:
            net(torch.rand(2, 3, 32, 32))[0].sum().backward()
        found[with_cp] = [one.rates for one in recorder.maps()]
    assert all(torch.equal(a, b) for a, b in zip(found[False], found[True], strict=True))


def test_steps_and_slots_by_hand():
    # Rows are step 0 of both images, then step 1 of both: 3, 1 and then 0, 1 of at most 3.
    x = torch.tensor([3.0, 1.0, 0.0, 1.0]).view(4, 1, 1, 1)
    net = Net(Stage(SFA(D=3, timesteps=2)))
    with FiringMapRecorder(net, slots=True) as recorder:
        net(x)
    (one,) = recorder.maps()
    assert one.rates.flatten().tolist() == [1.5, 1]
    assert one.steps.flatten(1).tolist() == [[3, 1], [0, 1]]
    assert one.slots.flatten(1).tolist() == [[0.5, 1], [0.5, 0], [0.5, 0]]
    assert [step.rates.flatten().tolist() for step in one.per_step()] == [[3, 1], [0, 1]]
    assert [slot.mean for slot in one.per_slot()] == [0.75, 0.25, 0.25]
    assert one.per_slot()[2].on_image(1, 1, index=0).tolist() == [[0.5]]


@pytest.mark.parametrize(
    'neuron',
    [dict(type='mmspike.SFA', D=4), dict(type='mmspike.ILIF', D=3), dict(type='mmspike.LIF'),
     dict(type='mmspike.SFA', D=3, norm=0.7)],
    ids=lambda neuron: ''.join(map(str, neuron.values())),
)  # fmt: skip
@pytest.mark.parametrize('timesteps', [1, 3])
def test_steps_and_slots_add_up(neuron, timesteps):
    net = small_net(timesteps=timesteps, neuron_cfg=neuron)
    plain, slots = FiringMapRecorder(net), FiringMapRecorder(net, slots=True)
    with plain, slots:
        net(4 * torch.rand(2, 3, 32, 32))
        net(4 * torch.rand(1, 3, 32, 32))
    assert plain.maps()[0].mean > 0
    for one, other in zip(plain.maps(), slots.maps(), strict=True):
        assert one.rates.shape[0] == 3
        assert one.slots is None
        assert torch.equal(one.rates, other.rates)
        assert one.steps.shape == (timesteps, *one.rates.shape)
        assert torch.allclose(one.steps.mean(dim=0), one.rates)
        assert other.slots.shape == (neuron.get('D', 1), *one.rates.shape)
        assert torch.allclose(other.slots.sum(dim=0), one.rates)
        assert (other.slots.diff(dim=0) <= 0).all()


def test_layers_with_more_slots_than_others():
    # The first fires 2 of at most 2, the second 2 and then 1 of at most 3.
    net = Net(Stage(SFA(D=2, norm=1), SFA(D=3, norm=1)))
    with FiringMapRecorder(net, slots=True) as recorder:
        net(torch.full((1, 1, 1, 1), 3.0))
        net(torch.full((1, 1, 1, 1), 1.0))
    (one,) = recorder.maps()
    assert one.slots.flatten(1).tolist() == [[1, 1], [1, 0], [0, 0]]


def test_steps_are_unknown_where_layers_do_not_run_as_many():
    class Mean(nn.Module):
        def forward(self, x):
            return x.unflatten(0, (2, -1)).mean(dim=0)

    net = Net(Stage(SFA(timesteps=2, norm=1), Mean(), SFA(norm=1)))
    with FiringMapRecorder(net, slots=True) as recorder:
        net(torch.tensor([4.0, 2.0]).view(2, 1, 1, 1))
    (one,) = recorder.maps()
    assert one.rates.item() == 3  # 4, 2 and their mean
    assert one.slots.flatten().tolist() == pytest.approx([1, 1, 2 / 3, 1 / 3])
    with pytest.raises(ValueError, match='stage 0 has no values per time step'):
        one.per_step()


def test_slots_have_to_be_asked_for():
    with pytest.raises(ValueError, match='stage 1 has no values per slot; record it with'):
        MAP.per_slot()


MAP = FiringMap('stage 1', torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]), (4, 4))


def test_maps_grow_to_the_image_and_padding_is_cut_off():
    assert MAP.on_image(4, 3).tolist() == [[0, 0, 1], [0, 0, 1], [2, 2, 3], [2, 2, 3]]
    with pytest.raises(ValueError, match='5x4 pixels does not lie within the input of 4x4'):
        MAP.on_image(5, 4)


@pytest.mark.parametrize('number', [0, 1, 4, 5])
def test_a_figure_has_no_empty_panel(number):
    result, image = np.zeros((60, 80, 3), np.uint8), np.zeros((3, 4, 3), np.uint8)
    figure = firing_map_figure(result, image, [MAP] * number, title='scene.png')
    figure.draw_without_rendering()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles.count('stage 1, stride 2\nmean 1.500') == number
    assert titles[0] == 'scene.png'
    bars = [axes for axes in figure.axes if axes.get_ylabel() == 'spikes per neuron and step']
    assert len(bars) == (number > 0)
    assert len(titles) == 1 + number + number % 2 + len(bars)
    limits = {image.get_clim() for axes in figure.axes for image in axes.images[1:]}
    assert limits <= {(0, 3)}


def test_silence_is_drawn():
    image = np.zeros((4, 4, 3), np.uint8)
    silent = FiringMap('stage 0', torch.zeros(1, 2, 2), (4, 4))
    figure = firing_map_figure(image, image, [silent])
    figure.draw_without_rendering()
    assert figure.axes[2].images[1].get_clim() == (0, 1)


@pytest.mark.parametrize('size', [(4, 40), (40, 4)], ids=['wide', 'high'])
def test_titles_do_not_overlap(size):
    image = np.zeros((*size, 3), np.uint8)
    one = FiringMap('stage 0', torch.zeros(1, 2, 2), size)
    figure = firing_map_figure(image, image, [one] * 5)
    figure.draw_without_rendering()
    boxes = [axes.title.get_window_extent() for axes in figure.axes[1:7]]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_calls_in_other_threads_are_not_recorded():
    net, expected = Net(Stage(SFA(D=4))), rates(Net(Stage(SFA(D=4))), X)
    with FiringMapRecorder(net) as recorder:
        in_thread(lambda: net(2 * X))
        net(X)
    assert [one.rates.tolist() for one in recorder.maps()] == expected
