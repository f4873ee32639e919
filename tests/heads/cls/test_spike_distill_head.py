import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample
from torch.nn.functional import cross_entropy

from mmspike.energy import EnergyCounter
from mmspike.execution import check_spike_driven, set_execution
from mmspike.heads.cls import SpikeDistillClsHead
from support.reference_cases import Case, Difference

SAMPLES = [DataSample().set_gt_label(i) for i in range(2)]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def by_hand(**options):
    """Two steps, two samples; IF with 0.6, 0.6 fires at the second step, with 1, 0 at the first."""
    head = SpikeDistillClsHead(
        2, 2, timesteps=2, neuron_cfg=dict(type='mmspike.IF', threshold=1.0), **options
    )
    with torch.no_grad():
        head.fc.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        head.fc_distill.weight.copy_(torch.tensor([[0.0, 4.0], [8.0, 0.0]]))
        head.fc.bias.fill_(0)
        head.fc_distill.bias.fill_(1)
    first, second = [[0.6, 1.0], [1.0, 0.6]], [[0.6, 0.0], [0.0, 0.6]]
    return head, (torch.tensor(first + second),)


def test_both_layers_read_the_same_spikes():
    head, feats = by_hand()
    labelled, distilled = head.separate_logits(feats)
    assert labelled.tolist() == [[[0, 2], [1, 0]], [[1, 0], [0, 2]]]
    assert distilled.tolist() == [[[5, 1], [1, 9]], [[1, 9], [5, 1]]]
    assert head.pre_logits(feats).tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert head.analog_layers == ()


def test_the_first_layer_may_read_the_membrane():
    head, feats = by_hand(analog_fc=True)
    labelled, distilled = head.separate_logits(feats)
    expected = torch.tensor([[[0.6, 2.0], [1.0, 1.2]], [[0.6, 0.0], [0.0, 1.2]]])
    torch.testing.assert_close(labelled, expected)
    assert torch.equal(distilled, by_hand()[0].separate_logits(feats)[1])
    torch.testing.assert_close(head.pre_logits(feats), torch.tensor([[0.6, 0.5], [0.5, 0.6]]))
    assert head.analog_layers == ('fc',)


def test_logits_are_the_mean_of_both_layers():
    head, feats = by_hand()
    assert head.step_logits(feats).tolist() == [[[2.5, 1.5], [1, 4.5]], [[1, 4.5], [2.5, 1.5]]]
    assert head(feats).tolist() == [[1.75, 3.0], [1.75, 3.0]]
    assert [int(sample.pred_label) for sample in head.predict(feats)] == [1, 1]


@pytest.mark.parametrize('loss', ['CrossEntropyLoss', 'mmspike.TETLoss'])
def test_without_a_teacher_the_mean_is_trained(loss):
    head, feats = by_hand(loss=dict(type=loss))
    value = head.loss(feats, SAMPLES)['loss']
    if loss == 'CrossEntropyLoss':
        torch.testing.assert_close(value, cross_entropy(head(feats), torch.tensor([0, 1])))
    value.backward()
    assert torch.equal(head.fc.weight.grad, head.fc_distill.weight.grad)
    assert head.fc.weight.grad.any()


def test_names_for_converters():
    names = set(dict(SpikeDistillClsHead(3, 4).named_parameters()))
    assert names == {'fc.weight', 'fc.bias', 'fc_distill.weight', 'fc_distill.bias'}


@pytest.mark.parametrize('analog_fc', [False, True])
def test_spike_driven_execution(analog_fc):
    torch.manual_seed(0)
    head = SpikeDistillClsHead(3, 8, analog_fc=analog_fc).eval()
    x = torch.randn(5, 8) * 2
    whole = head((x,))
    set_execution(head, 'spike')
    torch.testing.assert_close(head((x,)), whole)
    inputs = {one.layer: one for one in check_spike_driven(head, lambda: head((x,)))}
    assert inputs['fc'].declared == analog_fc
    assert not inputs['fc_distill'].declared


def test_an_analog_layer_costs_multiplications():
    head = SpikeDistillClsHead(3, 8, analog_fc=True).eval()
    with EnergyCounter(head) as counter:
        head((torch.ones(2, 8),))
    layers = counter.counts().layers
    assert layers['fc'].analog_macs == 2 * 3 * 8
    assert layers['fc_distill'].analog_macs == 0
    assert layers['fc_distill'].spikes == 2 * 8


def test_without_a_neuron_both_layers_are_analog():
    head = SpikeDistillClsHead(3, 4, neuron_cfg=None)
    assert head.analog_layers == ('fc', 'fc_distill')


def test_sdtv3_large_as_published():
    case = Case.load('sdtv3_spikformer_large')
    names = {'fc': 'head', 'fc_distill': 'head_kd'}
    weights = case.weights()
    head = SpikeDistillClsHead(10, 128, analog_fc=True).eval()
    head.load_state_dict(
        {
            f'{ours}.{name}': weights[f'{theirs}.{name}']
            for ours, theirs in names.items()
            for name in ('weight', 'bias')
        },
        strict=False,
    )
    encoded = torch.from_numpy(case.numbers['output/encoder'])
    feats = (encoded.mean(-1).flatten(0, 1),)
    labelled, distilled = head.separate_logits(feats)
    ours = dict(head=labelled[0], head_kd=distilled[0], logits=head(feats))
    for name, value in ours.items():
        difference = Difference.of(name, value.detach().numpy(), case.numbers[f'output/{name}'])
        assert difference.absolute < 1e-5, difference
