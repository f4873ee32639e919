"""The record of neurons in checkpoints: what it says, how it is compared, what carries it."""

import copy
import json

import pytest
import torch
from mmengine.model import ExponentialMovingAverage, PretrainedInit
from mmengine.runner.checkpoint import (
    get_state_dict,
    load_checkpoint,
    save_checkpoint,
    weights_to_cpu,
)
from torch import nn
from torch.optim.swa_utils import AveragedModel

from mmspike.neurons import IF, ILIF, LIF, PLIF, QCFS, SFA, NeuronMismatchError, RecordError
from mmspike.neurons.records import find_record, is_record, read_record, record_key, write_record
from support.weights_alone import weights_alone


def small_model(**neuron_cfg) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), LIF(**neuron_cfg), nn.Linear(4, 2))


# --- What it says -------------------------------------------------------------------------------

DESCRIPTIONS = [
    (IF, dict(), dict(type='IF', threshold=1.0, v_reset=0.0)),
    (IF, dict(v_reset=None), dict(type='IF', threshold=1.0, v_reset=None)),
    (
        LIF,
        dict(tau=3, threshold=0.5),
        dict(type='LIF', threshold=0.5, v_reset=0.0, tau=3.0, decay_input=True),
    ),
    (
        PLIF,
        dict(decay_input=False),
        dict(type='PLIF', threshold=1.0, v_reset=0.0, decay_input=False),
    ),
    (QCFS, dict(levels=8), dict(type='QCFS', levels=8)),
    (SFA, dict(D=8), dict(type='SFA', D=8, norm=8.0, rounding='half_even')),
    (
        ILIF,
        dict(rounding='half_up'),
        dict(type='ILIF', D=4, norm=1.0, rounding='half_up', decay=0.25),
    ),
]


@pytest.mark.parametrize(('cls', 'options', 'expected'), DESCRIPTIONS)
def test_a_neuron_is_recorded(cls, options, expected):
    state_dict = nn.Sequential(nn.Identity(), nn.Sequential(cls(**options))).state_dict()
    assert find_record(state_dict, '1.0') == dict(neuron=expected)
    assert [key for key in state_dict if is_record(key)] == ['1.0._extra_state']
    assert find_record(state_dict, '0') == {}


@pytest.mark.parametrize('device', ['cpu', 'meta'])
def test_a_record_is_a_tensor_of_bytes_on_the_cpu_of_its_own(device):
    with torch.device(device):
        model = small_model(tau=4 / 3)
        first, second = model.state_dict(), model.state_dict()
    record = first['1._extra_state']
    assert (record.dtype, record.device.type, record.shape) == (torch.uint8, 'cpu', (256,))
    record.zero_()
    assert find_record(second, '1')['neuron']['tau'] == 4 / 3


def test_a_record_that_is_longer_takes_as_many_blocks_as_it_needs():
    class Verbose(IF):
        def describe(self):
            return dict(super().describe(), note='x' * 300)

    model = Verbose()
    assert model.state_dict()['_extra_state'].shape == (512,)
    model.load_state_dict(model.state_dict())
    with pytest.raises(NeuronMismatchError, match='xxx'):
        IF().load_state_dict(dict(model.state_dict()))


@pytest.mark.parametrize(('cls', 'options', 'expected'), DESCRIPTIONS)
def test_a_neuron_prints_its_options(cls, options, expected):
    printed = repr(cls(timesteps=3, **options))
    assert printed.startswith(f'{expected.pop("type")}(')
    for key, value in (expected | dict(timesteps=3, stateful=False)).items():
        assert f'{key}={value}' in printed


def test_the_membrane_is_not_part_of_a_checkpoint():
    model = small_model(stateful=True)
    keys = list(model.state_dict())
    model(torch.ones(2, 3))
    assert isinstance(model[1].v, torch.Tensor)
    assert list(model.state_dict()) == keys
    assert list(weights_alone(model.state_dict())) == ['0.weight', '0.bias', '2.weight', '2.bias']


# --- How it is compared -------------------------------------------------------------------------


DIFFERENT = [
    (LIF(), IF(), 'LIF', 'IF'),
    (LIF(), LIF(tau=4), 'tau=2.0', 'tau=4.0'),
    (LIF(), LIF(decay_input=False), 'decay_input=True', 'decay_input=False'),
    (LIF(), LIF(threshold=0.5), 'threshold=1.0', 'threshold=0.5'),
    (LIF(), LIF(v_reset=None), 'v_reset=0.0', 'v_reset=None'),
    (PLIF(), PLIF(decay_input=False), 'decay_input=True', 'decay_input=False'),
    (SFA(), SFA(D=8, norm=4), 'D=4', 'D=8'),
    (SFA(), SFA(norm=1), 'norm=4.0', 'norm=1.0'),
    (SFA(), SFA(rounding='half_up'), 'rounding=half_even', 'rounding=half_up'),
    (ILIF(), ILIF(decay=0.5), 'decay=0.25', 'decay=0.5'),
    (ILIF(norm=4), SFA(), 'ILIF', 'SFA'),
    (QCFS(), QCFS(levels=8), 'levels=16', 'levels=8'),
]


@pytest.mark.parametrize(('saved', 'own', 'old', 'new'), DIFFERENT)
def test_another_neuron_is_an_error_that_shows_both(saved, own, old, new):
    for first, second, was, has in ((saved, own, old, new), (own, saved, new, old)):
        message = f'made with neurons .*{was}.*, the model has .*{has}.*on_mismatch=.warn'
        with pytest.raises(NeuronMismatchError, match=message):
            nn.Sequential(second).load_state_dict(nn.Sequential(first).state_dict())


@pytest.mark.parametrize(
    ('cls', 'options'),
    [
        (LIF, dict(detach_reset=False, surrogate='atan', timesteps=4, stateful=True)),
        (PLIF, dict(init_tau=5.0)),
        (SFA, dict(grad_window='strict', norm=4.0)),
        (ILIF, dict(detach_reset=False, on_mismatch='warn')),
    ],
)
def test_options_without_effect_on_the_output_may_differ(cls, options, recwarn):
    saved, model = cls(), nn.Sequential(cls(**options))
    model.load_state_dict(nn.Sequential(saved).state_dict())
    assert not recwarn
    assert [*model.parameters()] == [*saved.parameters()]


def test_on_mismatch_warn_loads_the_weights_all_the_same():
    saved = nn.Sequential(nn.Linear(2, 3), PLIF(init_tau=3.0, threshold=0.5))
    model = nn.Sequential(nn.Linear(2, 3), PLIF(on_mismatch='warn'))
    with pytest.warns(UserWarning, match=r'neurons PLIF\(threshold=0\.5.*PLIF\(threshold=1\.0'):
        model.load_state_dict(saved.state_dict())
    for own, theirs in zip(model.parameters(), saved.parameters(), strict=True):
        assert torch.equal(own, theirs)


def test_weights_without_a_record_are_accepted(recwarn):
    saved, model = small_model(tau=3.0), small_model()
    model.load_state_dict(weights_alone(saved.state_dict()))
    assert not recwarn
    assert torch.equal(model[0].weight, saved[0].weight)


# --- What carries it ----------------------------------------------------------------------------


def test_the_record_survives_a_safe_torch_load(tmp_path):
    saved = small_model(tau=3.0, v_reset=None)
    torch.save(saved.state_dict(), tmp_path / 'weights.pth')
    state_dict = torch.load(tmp_path / 'weights.pth', weights_only=True)
    same = small_model(tau=3.0, v_reset=None)
    same.load_state_dict(state_dict)
    assert torch.equal(same[0].weight, saved[0].weight)
    with pytest.raises(NeuronMismatchError, match=r'v_reset=None, tau=3\.0'):
        small_model().load_state_dict(state_dict)


@pytest.mark.parametrize('wrapped', [False, True])
def test_the_record_survives_mmengine(tmp_path, wrapped):
    saved = small_model(tau=3.0)
    state_dict = weights_to_cpu(get_state_dict(saved))
    path = str(tmp_path / 'weights.pth')
    save_checkpoint(dict(state_dict=state_dict, meta={}) if wrapped else state_dict, path)
    same = small_model(tau=3.0)
    load_checkpoint(same, path, strict=True)
    assert torch.equal(same[0].weight, saved[0].weight)
    with pytest.raises(NeuronMismatchError, match=r'tau=3\.0.*tau=2\.0'):
        load_checkpoint(small_model(), path)


@pytest.mark.parametrize('prefix', ['backbone', 'backbone.'])
def test_the_record_survives_mmengine_below_a_prefix(tmp_path, prefix):
    path = str(tmp_path / 'weights.pth')
    saved = small_model(tau=3.0)
    torch.save(nn.ModuleDict({'backbone': saved}).state_dict(), path)
    same = small_model(tau=3.0)
    PretrainedInit(path, prefix=prefix)(same)
    assert torch.equal(same[0].weight, saved[0].weight)
    with pytest.raises(NeuronMismatchError, match=r'tau=3\.0.*tau=2\.0'):
        PretrainedInit(path, prefix=prefix)(small_model())
    with pytest.warns(UserWarning, match=r'tau=3\.0'):
        PretrainedInit(path, prefix=prefix)(small_model(on_mismatch='warn'))


def renamed(state_dict, path):
    """Through mmengine's loader, under names that it changes."""
    torch.save({f'old.{key}': value for key, value in state_dict.items()}, path)
    return lambda model: load_checkpoint(
        model, str(path), strict=True, revise_keys=[(r'^old\.', '')]
    )


def in_half_precision(state_dict, path):
    halved = {key: value.half() for key, value in state_dict.items()}
    return lambda model: model.load_state_dict(halved)


def averaged(state_dict, path):
    """As tools do that average several files."""
    mean = {key: 0.3 * value + 0.7 * value for key, value in state_dict.items()}
    return lambda model: model.load_state_dict(mean)


def copied(state_dict, path):
    return lambda model: model.load_state_dict(dict(state_dict))


def assigned(state_dict, path):
    return lambda model: model.load_state_dict(state_dict, assign=True)


def not_strict(state_dict, path):
    return lambda model: model.load_state_dict(state_dict, strict=False)


WAYS = [copied, not_strict, assigned, in_half_precision, averaged, renamed]


@pytest.mark.parametrize('way', WAYS)
def test_the_record_survives(way, tmp_path):
    load = way(small_model(tau=3.0).state_dict(), tmp_path / 'weights.pth')
    load(small_model(tau=3.0))
    with pytest.raises(NeuronMismatchError, match=r'tau=3\.0.*tau=2\.0'):
        load(small_model())


def averaged_by_torch(model):
    return AveragedModel(model, use_buffers=True)


def averaged_by_mmengine(model):
    return ExponentialMovingAverage(model, update_buffers=True)


def compiled(model):
    return torch.compile(model, backend='eager')


@pytest.mark.parametrize(
    'wrap',
    [averaged_by_torch, averaged_by_mmengine, compiled, nn.DataParallel, copy.deepcopy],
    ids=lambda wrap: wrap.__name__,
)
def test_wrapped_models_have_records(wrap):
    saved = wrap(small_model(tau=3.0)).state_dict()
    wrap(small_model(tau=3.0)).load_state_dict(saved)
    with pytest.raises(NeuronMismatchError, match=r'tau=3\.0.*tau=2\.0'):
        wrap(small_model()).load_state_dict(saved)


def test_averages_follow_models_whose_neurons_change():
    """The averages copy the tensors of one state dict into those of another."""
    model = small_model()
    averages = ExponentialMovingAverage(model, update_buffers=True)
    for ratio in (0.123456789, 0.0):
        model[1].masking_ratio = ratio
        averages.update_parameters(model)
    assert find_record(averages.state_dict(), 'module.1') == find_record(model.state_dict(), '1')


def test_exported_programs_hold_weights_alone():
    model = small_model().eval()
    exported = torch.export.export(model, (torch.ones(2, 3),))
    assert list(exported.state_dict) == list(weights_alone(model.state_dict()))


# --- What is no record --------------------------------------------------------------------------


def as_bytes(text):
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def mixed_up():
    return write_record(dict(neuron=LIF().describe())) // 2


STRANGE = {
    'bytes that are no JSON': (as_bytes('{"neuron"'), 'is damaged: it begins with .*neuron'),
    'an average of different ones': (mixed_up(), 'is damaged'),
    'nothing': (as_bytes(''), 'is damaged'),
    'no tensor': (dict(neuron=dict(type='LIF')), 'a tensor of bytes, got dict'),
    'a number': (torch.tensor(1.0), r'a tensor of bytes, got Tensor of shape \(\)'),
    'a weight': (torch.ones(3, 3), r'a tensor of bytes, got Tensor of shape \(3, 3\)'),
    'quantised': (
        torch.quantize_per_tensor(torch.ones(3), 1.0, 0, torch.quint8), 'a quantised one, .*quint8'
    ),
    'sparse': (torch.ones(3).to_sparse(), 'a sparse one, torch.sparse_coo'),
    'on the meta device': (torch.ones(3, device='meta'), 'one on the meta device'),
    'complex': (torch.ones(3, dtype=torch.complex64), 'a tensor of bytes, got torch.complex64'),
    'NaN': (torch.full((3,), torch.nan), 'is damaged'),
    'JSON of another kind': (as_bytes('[1, 2]'), r'not known .* \[1, 2\]'),
    'endless brackets': (as_bytes('[' * 100_000), 'is damaged'),
    'a number as JSON': (as_bytes('1'), 'not known .* 1'),
    'another key': (as_bytes('{"neuron": {"type": "LIF"}, "delay": 1}'), 'not known .*delay'),
    'no neuron': (as_bytes('{"masking_ratio": 0.5}'), 'not known .*masking_ratio'),
    'no type': (as_bytes('{"neuron": {"tau": 2.0}}'), 'not known .*tau'),
    'a strange ratio': (
        as_bytes('{"neuron": {"type": "LIF"}, "masking_ratio": 1.0}'), 'not known .*masking_ratio'
    ),
    'a ratio that is no number': (
        as_bytes('{"neuron": {"type": "LIF"}, "masking_ratio": "a"}'), 'not known .*masking_ratio'
    ),
}  # fmt: skip


@pytest.mark.parametrize(('saved', 'message'), STRANGE.values(), ids=STRANGE)
def test_what_is_no_record_is_an_error_that_names_the_module(saved, message):
    model = nn.ModuleDict({'backbone': small_model()})
    state_dict = {**model.state_dict(), 'backbone.1._extra_state': saved}
    with pytest.raises(RecordError, match=f'the record of backbone.1 .*{message}'):
        model.load_state_dict(state_dict)
    neuron = model['backbone'][1]
    with pytest.raises(RecordError, match=f'the record of LIF .*{message}'):
        neuron.set_extra_state(saved)
    with pytest.raises(RecordError, match=f'the record of the neuron .*{message}'):
        neuron.load_state_dict(dict(_extra_state=saved))


def test_a_record_that_says_nothing_is_accepted(recwarn):
    model = small_model()
    model.load_state_dict({**model.state_dict(), record_key('1'): write_record({})})
    assert not recwarn


def test_records_are_read_as_they_were_written():
    record = dict(neuron=dict(type='Näuron', tau=0.1 + 0.2, v_reset=None), masking_ratio=1 / 3)
    assert read_record(write_record(record), '') == record
    assert json.loads(bytes(write_record(record).tolist())) == record
