import copy
import threading

import pytest
import torch
from torch import nn

from mmspike import get_timesteps, set_timesteps
from mmspike.ann2snn import convert_to_spiking, fold_batch_norms, insert_qcfs, simulate
from mmspike.ann2snn.early_exit import stable_since
from mmspike.backbones import MST
from mmspike.energy import EnergyCounter
from mmspike.execution import set_execution
from mmspike.layers import TemporalMean
from mmspike.neurons import LIF, SpikingQCFS
from support.threads import at_the_same_time, in_thread


class Block(nn.Module):
    """A residual block whose activation is called twice."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.conv2(self.relu(self.conv1(x))) + x)


class Net(nn.Module):
    """Stem, blocks, pooling, classifier."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.blocks = nn.Sequential(Block(8), nn.AvgPool2d(2), Block(8))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


def quantised(levels=16):
    torch.manual_seed(0)
    net = Net().eval()
    insert_qcfs(net, levels=levels, thresholds=1.0)
    with torch.no_grad():  # so that images differ in their best class
        net.head[2].bias -= net(images(16)).mean(0)
    return net


def images(batch=3):
    return torch.randn(batch, 3, 10, 10, generator=torch.Generator().manual_seed(1))


class Stepper:
    """The network step by step, one call each, with a neuron for every place: the plain way."""

    def __init__(self, net):
        self.net = convert_to_spiking(net)
        for block in (self.net.blocks[0], self.net.blocks[2]):
            block.first, block.second = block.relu, copy.deepcopy(block.relu)
            block.forward = lambda x, b=block: b.second(b.conv2(b.first(b.conv1(x))) + x)
        for module in self.net.modules():
            if isinstance(module, SpikingQCFS):
                module.stateful = True

    def __call__(self, x, timesteps):
        with torch.no_grad():
            steps = torch.stack([self.net(x) for _ in range(timesteps)])
        return steps.cumsum(0) / torch.arange(1, timesteps + 1).view(-1, 1, 1)


@pytest.mark.parametrize('chunk', [1, 5, 8, 12, 100])
def test_chunks_are_the_network_step_by_step(chunk):
    net, x = quantised(), images()
    expected = Stepper(net)(x, 12)
    spiking = convert_to_spiking(net)
    simulation = simulate(spiking, 12, chunk=chunk, scores_module='')
    with torch.no_grad():
        out = spiking(x)
    torch.testing.assert_close(simulation.scores, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(out, simulation.scores[-1])
    with torch.no_grad():
        assert torch.equal(spiking(x), out)  # nothing is left behind


def test_without_answers_only_the_last_step_counts():
    net, x = quantised(), images()
    one, other = convert_to_spiking(net), convert_to_spiking(net)
    simulate(one, 12, chunk=5)
    simulate(other, 12, chunk=5, scores_module='')
    with torch.no_grad():
        torch.testing.assert_close(one(x), other(x))


def test_answers_approach_those_of_the_quantised_network():
    net, x = quantised(levels=64), images(16)
    distances = []
    for timesteps in (4, 16, 64):
        spiking = convert_to_spiking(net)
        simulate(spiking, timesteps)
        with torch.no_grad():
            distances.append((spiking(x) - net(x)).abs().mean().item())
    assert distances[0] > 2 * distances[1] > 4 * distances[2]


@pytest.mark.parametrize('readout', ['head.0', 'head.1', 'head.2', ''])
def test_reading_out_earlier_is_the_same_where_the_rest_is_linear(readout):
    net, x = quantised(), images()
    spiking, usual = convert_to_spiking(net), convert_to_spiking(net)
    simulate(spiking, 12, chunk=5, readout_module=readout)
    simulate(usual, 12, chunk=5, readout_module='')
    with torch.no_grad():
        torch.testing.assert_close(spiking(x), usual(x), rtol=1e-5, atol=1e-6)


def test_layers_before_the_neurons_run_once_and_those_behind_the_readout_on_means():
    net = convert_to_spiking(quantised())
    simulate(net, 12, chunk=4, readout_module='head.0')
    calls = {}
    for name in ('stem.0', 'stem.1', 'blocks.0.conv1', 'head.2'):
        layer = net.get_submodule(name)
        own = type(layer)

        class Counting(own):
            def forward(self, x, name=name, own=own):
                calls.setdefault(name, []).append(len(x))
                return own.forward(self, x)

        layer.__class__ = Counting
    with torch.no_grad():
        net(images(3))
    assert calls == {
        'stem.0': [3], 'stem.1': [3], 'blocks.0.conv1': [12, 12, 12], 'head.2': [3, 3, 3],
    }  # fmt: skip


def test_energy_does_not_depend_on_chunks():
    net, x = quantised(), images()
    counts = []
    for chunk in (12, 5):
        spiking = convert_to_spiking(net)
        simulate(spiking, 12, chunk=chunk, readout_module='head.0')
        with torch.no_grad(), EnergyCounter(spiking) as counter:
            spiking(x)
        counts.append(counter.counts())
    whole, cut = counts
    assert whole.samples == cut.samples == 3
    assert list(whole.layers) == list(cut.layers)
    for name, layer in whole.layers.items():
        other = cut.layers[name]
        assert (layer.macs, layer.analog_macs) == (other.macs, other.analog_macs)
        assert layer.sops == other.sops
        assert other.macs_once == pytest.approx(layer.macs_once)
        # An ANN of this shape computes every layer once for every image.
        steps = 1 if name in ('stem.0', 'head.2') else 12
        assert layer.macs == pytest.approx(steps * layer.macs_once)
    assert whole.neurons == cut.neurons
    assert whole.neurons['stem.2'].timesteps == 12


def test_early_exit():
    net, x = quantised(), images(6)
    whole, early = convert_to_spiking(net), convert_to_spiking(net)
    simulate(whole, 60, chunk=5, scores_module='')
    simulation = simulate(early, 60, chunk=5, scores_module='', patience=6)
    with torch.no_grad():
        whole(x)
        out = early(x)
    steps = len(simulation.scores)
    assert simulation.exit_steps.tolist() == stable_since(simulation.scores, 6).tolist()
    # It stops with the first chunk in which the last sample became stable.
    assert steps - 5 < simulation.exit_steps.max() <= steps < 60
    torch.testing.assert_close(simulation.scores, whole.simulation.scores[:steps])
    # Every sample's answer is the one that it had when it became stable.
    exits = simulation.exit_steps
    for i, exit_step in enumerate(exits.tolist()):
        assert torch.equal(out[i], simulation.scores[exit_step - 1, i])
    assert len(set(exits.tolist())) > 1


def test_energy_of_an_early_exit_is_that_of_the_steps_that_ran():
    net, x = quantised(), images(6)
    early = convert_to_spiking(net)
    simulation = simulate(early, 60, chunk=5, scores_module='', patience=6)
    with torch.no_grad(), EnergyCounter(early) as counter:
        early(x)
    steps = len(simulation.scores)
    counts = counter.counts()
    assert counts.neurons['stem.2'].timesteps == steps < 60
    conv = counts.layers['blocks.0.conv1']
    assert conv.macs == pytest.approx(steps * conv.macs_once)
    assert counts.layers['stem.0'].macs == counts.layers['stem.0'].macs_once


def test_stable_since_by_hand():
    best = torch.tensor([[0, 1, 0], [0, 0, 1], [1, 0, 0], [1, 0, 1], [1, 0, 0]])
    scores = nn.functional.one_hot(best, 2).float()
    assert stable_since(scores, 3).tolist() == [5, 4, 0]
    assert stable_since(scores, 1).tolist() == [1, 1, 1]
    assert stable_since(scores, 2).tolist() == [2, 3, 0]


def test_timesteps_are_set_in_one_place():
    net, x = convert_to_spiking(quantised()), images()
    simulate(net, 12, chunk=5)
    assert get_timesteps(net) == 12
    with torch.no_grad():
        net(x)
    assert get_timesteps(net) == 12
    set_timesteps(net, 3)
    assert net.simulation.timesteps == 3
    expected = Stepper(quantised())(x, 3)[-1]
    with torch.no_grad():
        torch.testing.assert_close(net(x), expected, rtol=1e-5, atol=1e-5)


def test_a_copy_runs_by_itself():
    net, x = convert_to_spiking(quantised()), images()
    simulate(net, 6, chunk=4)
    other = copy.deepcopy(net)
    with torch.no_grad():
        expected = net(x)
        nn.init.zeros_(net.head[2].weight)
        assert torch.equal(other(x), expected)
        assert not torch.equal(net(x), expected)
    assert other.simulation is not net.simulation


@pytest.mark.parametrize('part', ['stem.0', 'blocks.0.relu', 'head.2'])
def test_a_copy_that_is_made_during_a_call_is_not_running(part):
    net, x, copies = convert_to_spiking(quantised()), images(), []
    simulate(net, 6, chunk=4)
    module = net.get_submodule(part)
    hook = module.register_forward_hook(lambda *_: copies.append(copy.deepcopy(net)))
    with torch.no_grad():
        net(x)
        hook.remove()
        expected = net(x + 1)
        for copied in copies:
            copied.get_submodule(part)._forward_hooks.popitem()
            assert torch.equal(copied(x + 1), expected)
            assert get_timesteps(copied) == 6
    assert copies


def test_an_error_inside_leaves_a_model_that_works():
    net, x = convert_to_spiking(quantised()), images()
    simulate(net, 6, chunk=4)
    with torch.no_grad():
        expected = net(x)
        with pytest.raises(RuntimeError):
            net(x[:, :2])
        assert 'forward' not in net.stem[0].__dict__
        assert torch.equal(net(x), expected)


def test_it_can_be_trained_through_all_steps():
    net = convert_to_spiking(quantised()).train()
    simulate(net, 6, chunk=2)
    net(images()).square().sum().backward()
    assert net.stem[0].weight.grad.abs().sum() > 0


def test_training_runs_all_steps_whatever_the_patience():
    gradients = []
    for patience in (None, 1):
        net = convert_to_spiking(quantised()).train()
        simulate(net, 6, chunk=2, scores_module='', patience=patience)
        net(images()).square().sum().backward()
        assert net.simulation.exit_steps is None
        gradients.append(net.head[2].weight.grad)
    torch.testing.assert_close(*gradients)


def test_a_temporal_mean_is_the_readout():
    class WithMean(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
            self.neck = TemporalMean()

        def forward(self, x):
            return self.neck((self.backbone(x),))[0]

    torch.manual_seed(0)
    net = WithMean().eval()
    insert_qcfs(net)
    outs = []
    for chunk in (9, 4):
        spiking = convert_to_spiking(net)
        assert simulate(spiking, 9, chunk=chunk).readout_module == 'neck'
        with torch.no_grad():
            outs.append(spiking(images()))
    assert outs[0].shape == (3, 4, 6, 6)
    torch.testing.assert_close(*outs)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(timesteps=0), 'timesteps'),
        (dict(timesteps=4, chunk=0), 'chunk must be at least 1'),
        (dict(timesteps=4, readout_module='nowhere'), "no module 'nowhere'"),
        (dict(timesteps=4, patience=3), 'patience needs scores_module'),
        (dict(timesteps=4, patience=0, scores_module=''), 'patience must be at least 1'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        simulate(convert_to_spiking(quantised()), **options)


def bare_mst(timesteps, **options):
    """MST without a host around it: it repeats images by itself."""
    torch.manual_seed(0)
    arch = dict(embed_dims=16, depths=(1, 2), num_heads=(2, 4), window_size=2)
    net = MST(arch, out_indices=(1,), timesteps=1, **options).eval()
    spiking = convert_to_spiking(net)
    set_timesteps(spiking, timesteps)
    return spiking


def test_a_backbone_by_itself():
    whole, cut = bare_mst(6), bare_mst(6)
    simulate(cut, 6, chunk=4)
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        (steps,), (mean,) = whole(x), cut(x)
        torch.testing.assert_close(mean, steps.unflatten(0, (6, 2)).mean(0), rtol=1e-4, atol=1e-5)
        cut(x)
    assert cut.total_timesteps == 6


@pytest.mark.parametrize('chunk', [8, 3])
def test_frames_are_cut_into_chunks(chunk):
    whole, cut = bare_mst(8, readout=True), bare_mst(8, readout=True)
    simulation = simulate(cut, 8, chunk=chunk)
    assert simulation.readout_module == 'readout'
    frames = torch.rand(2, 8, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(cut(frames), whole(frames), rtol=1e-4, atol=1e-5)
        with pytest.raises(ValueError, match=r'holds 7 frames .* T=8'):
            cut(frames[:, :7])


def test_frames_for_a_network_that_knows_no_time():
    net, frames = quantised(), torch.randn(3, 6, 3, 10, 10)
    spiking = convert_to_spiking(net)
    simulation = simulate(spiking, 6, chunk=4, scores_module='')
    stepper = Stepper(net)
    with torch.no_grad():
        spiking(frames)
        expected = torch.stack([stepper.net(frames[:, t]) for t in range(6)])
    expected = expected.cumsum(0) / torch.arange(1, 7).view(-1, 1, 1)
    torch.testing.assert_close(simulation.scores, expected, rtol=1e-5, atol=1e-5)


def test_parts_that_know_time_by_themselves_are_the_readout_or_refused():
    with pytest.raises(
        ValueError, match=r"only one chunk: read out there \(readout_module='readout'\)"
    ):
        simulate(bare_mst(4, readout=True), 4, readout_module='')
    net = convert_to_spiking(quantised())
    net.head.insert(0, LIF())
    with pytest.raises(ValueError, match=r'head.0 is a neuron of another kind \(LIF\)'):
        simulate(net, 4)


def test_parts_have_no_time_outside_of_the_model():
    net = convert_to_spiking(quantised())
    simulate(net, 4, input_module='stem', readout_module='head')
    with pytest.raises(RuntimeError, match='stem is part of a simulated model'):
        net.stem(images())


def test_a_network_that_encodes_twice():
    class Sliding(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())

        def forward(self, x):
            return self.backbone(x[..., :5]) + self.backbone(x[..., 5:])

    net = Sliding().eval()
    insert_qcfs(net)
    net = convert_to_spiking(net)
    simulate(net, 4, readout_module='')
    with torch.no_grad(), pytest.raises(RuntimeError, match=r'called twice.*sliding windows'):
        net(images())


def test_recomputed_blocks_can_be_fine_tuned():
    net = bare_mst(4, with_cp=True)
    simulate(net, 4)
    net.train()
    net(torch.rand(2, 3, 16, 16, requires_grad=True))[0].sum().backward()


def test_sums_in_half_precision_do_not_stall():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x):
            return self.act(x) * 0 + x

    net = Constant()
    insert_qcfs(net)
    net = convert_to_spiking(net.eval())
    simulate(net, 1024)
    x = torch.full((1, 4), 0.7).bfloat16()
    with torch.no_grad():
        assert torch.equal(net(x), x)


def test_answers_must_be_scores():
    net = convert_to_spiking(quantised())
    simulate(net, 4, readout_module='', scores_module='head.0')
    with (
        torch.no_grad(),
        pytest.raises(RuntimeError, match=r'head.0.* must put out scores \(B, K\)'),
    ):
        net(images())


def test_layers_keep_a_forward_of_their_own():
    net = convert_to_spiking(quantised())
    own = net.stem[0].forward = lambda x: nn.Conv2d.forward(net.stem[0], x)
    simulate(net, 4, chunk=2)
    with torch.no_grad():
        net(images())
    assert net.stem[0].__dict__['forward'] is own


def test_norms_are_folded_before():
    net = convert_to_spiking(quantised())
    simulate(net, 4)
    with pytest.raises(ValueError, match='fold the norms first'):
        fold_batch_norms(net)


@pytest.mark.parametrize('execution', ['spike', 'bitwise'])
def test_spike_driven_execution_comes_after(execution):
    net = convert_to_spiking(quantised())
    set_execution(net, execution)
    with pytest.raises(ValueError, match=f"then switch .* it is '{execution}'"):
        simulate(net, 4)
    set_execution(net, 'integer')
    simulate(net, 4, chunk=3)
    with torch.no_grad():
        expected = net(images())
        set_execution(net, execution)
        torch.testing.assert_close(net(images()), expected, rtol=1e-4, atol=1e-5)


def test_models_that_are_not_converted():
    with pytest.raises(ValueError, match='no neurons of a conversion'):
        simulate(quantised(), 4)
    with pytest.raises(ValueError, match='no QCFS'):
        convert_to_spiking(Net())
    net = convert_to_spiking(quantised())
    simulate(net, 4)
    with pytest.raises(ValueError, match='simulated already'):
        simulate(net, 4)


def test_a_method_of_a_host_that_does_not_reach_the_readout():
    """Its steps would be missing from the mean, without a word."""

    class Host(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
            self.neck = nn.Conv2d(4, 4, 1)

        def extract_feat(self, x):
            return self.backbone(x)

        def forward(self, x):
            return self.neck(self.extract_feat(x))

    net = Host().eval()
    insert_qcfs(net)
    net = convert_to_spiking(net)
    simulate(net, 8, chunk=4, readout_module='neck')
    with (
        torch.no_grad(),
        pytest.raises(RuntimeError, match=r'the read-out \(neck\) was not called'),
    ):
        net(images())


def test_neurons_behind_the_readout():
    net = convert_to_spiking(quantised())
    simulate(net, 4, readout_module='blocks.0', scores_module='head.2')
    message = r'blocks.2.relu is a neuron behind the read-out \(blocks.0\)'
    with torch.no_grad(), pytest.raises(RuntimeError, match=message):
        net(images())


def energy_of(net, x):
    """MACs of an ANN for each layer, counted while gradients are on: nothing is kept then."""
    with EnergyCounter(net) as counter:
        net(x)
    return {name: layer.macs_once for name, layer in counter.counts().layers.items()}


@pytest.mark.parametrize('broken', ['stem.0', 'blocks.0.conv1', 'head.2'])
def test_an_exception_in_mid_simulation_leaves_later_counts_right(broken):
    net, x = convert_to_spiking(quantised()), images()
    simulate(net, 12, chunk=4)
    expected = energy_of(net, x)
    before = {module: set(vars(module)) for module in net.modules()}
    layer = net.get_submodule(broken)

    def fail(x):
        raise KeyboardInterrupt

    # Not a hook: the layer is to fail inside of what the simulation puts around it.
    layer.forward = fail
    with pytest.raises(KeyboardInterrupt), torch.no_grad():
        net(x)
    del layer.forward
    assert {module: set(vars(module)) for module in net.modules()} == before
    assert energy_of(net, x) == expected


def test_nothing_is_written_on_the_layers_of_others():
    net, x = convert_to_spiking(quantised()), images()
    simulate(net, 8, chunk=4)
    layer, seen = net.stem[0], []

    def forward(x):
        seen.append(set(vars(layer)))
        return nn.Conv2d.forward(layer, x)

    layer.forward = forward
    with torch.no_grad():
        net(x)
    assert seen == [set(vars(nn.Conv2d(1, 1, 1))) | {'forward'}]


def test_mst_writes_nothing_on_the_layers_of_others():
    net = bare_mst(2)
    before = {module: set(vars(module)) for module in net.modules()}
    with torch.no_grad():
        net(torch.rand(1, 3, 16, 16))
    assert {module: set(vars(module)) for module in net.modules()} == before


class Meeting:
    """A hook that keeps a model in mid-call until another thread has tried to call it."""

    def __init__(self):
        self.inside, self.tried = threading.Event(), threading.Event()

    def __call__(self, module, inputs):
        self.inside.set()
        assert self.tried.wait(timeout=60)


@pytest.mark.parametrize('part', ['', 'head', 'blocks.0.relu'])
def test_a_second_thread_is_refused_and_disturbs_nothing(part):
    net, x = convert_to_spiking(quantised()), images()
    simulate(net, 12, chunk=4, readout_module='head')
    with torch.no_grad():
        expected = net(x)
    meeting = Meeting()
    handle = net.blocks[1].register_forward_pre_hook(meeting)

    def first():
        with torch.no_grad():
            return net(x)

    def second():
        assert meeting.inside.wait(timeout=60)
        try:
            with pytest.raises(RuntimeError, match=r'running .*copy\.deepcopy'):
                net.get_submodule(part)(x if not part else torch.rand(3, 8, 4, 4))
        finally:
            meeting.tried.set()

    out, _ = at_the_same_time(first, second)
    handle.remove()
    assert torch.equal(out, expected)
    assert torch.equal(in_thread(first), expected)


def test_copies_run_in_threads_of_their_own():
    net, batches = convert_to_spiking(quantised()), torch.randn(3, 2, 3, 10, 10)
    simulate(net, 12, chunk=4, scores_module='')
    with torch.no_grad():
        expected = [net(x) for x in batches]

    def call(model, x):
        def repeatedly():
            with torch.no_grad():
                return [model(x) for _ in range(5)]

        return repeatedly

    calls = [call(copy.deepcopy(net), x) for x in batches]
    for outs, right in zip(at_the_same_time(*calls), expected, strict=True):
        assert all(torch.equal(out, right) for out in outs)


def test_a_call_inside_a_call_is_refused():
    net, x = convert_to_spiking(quantised()), images()
    simulate(net, 4)
    handle = net.blocks[1].register_forward_pre_hook(lambda module, inputs: net(x))
    with torch.no_grad(), pytest.raises(RuntimeError, match='running already'):
        net(x)
    handle.remove()
    with torch.no_grad():
        assert torch.equal(net(x), net(x))


@pytest.mark.parametrize('how', ['compile', 'export', 'trace'])
def test_a_simulated_model_cannot_be_compiled(how):
    net, x = convert_to_spiking(quantised()), images()
    simulate(net, 4)
    ways = dict(
        compile=lambda: torch.compile(net, backend='eager')(x),
        export=lambda: torch.export.export(net, (x,)),
        trace=lambda: torch.jit.trace(net, (x,)),
    )
    with pytest.raises(RuntimeError, match='compile or export the quantised network'):
        ways[how]()
