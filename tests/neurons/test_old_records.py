"""Checkpoints from when records were in torch's metadata load without a word, and are compared."""

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_checkpoint
from torch import nn
from torch.utils.data import TensorDataset

from mmspike.files import read_training_checkpoint
from mmspike.masking import get_masking
from mmspike.neurons import LIF, PLIF, SFA, NeuronMismatchError, SpikingQCFS
from mmspike.neurons.records import find_record, is_record
from mmspike.weights import check_weights
from support.paths import ROOT

FILE = ROOT / 'tests/data/checkpoints/records_in_metadata.pth'


class Toy(BaseModel):
    """The model of the file; its masking ratio at net.1 was 0.25."""

    def __init__(self, D=8, **lif):
        super().__init__()
        layers = [SFA(D=D), nn.Linear(3, 3), PLIF(init_tau=3.0), nn.Linear(3, 3)]
        self.net = nn.Sequential(nn.Linear(2, 3), *layers, LIF(**dict(dict(tau=3.0), **lif)))
        self.fc = nn.Linear(3, 1)

    def forward(self, x, mode='tensor'):
        out = self.fc(self.net(x))
        return dict(loss=(out - 1).square().mean()) if mode == 'loss' else [out]


def by_torch(model):
    model.load_state_dict(saved())


def by_mmengine(model):
    load_checkpoint(model, str(FILE), strict=True)


def saved(key='state_dict'):
    return read_training_checkpoint(FILE)[key]


LOADERS = pytest.mark.parametrize('load', [by_torch, by_mmengine])


def test_the_file_is_old():
    assert not any(is_record(key) for key in (*saved(), *saved('ema_state_dict')))
    assert find_record(saved(), 'net.5') == dict(neuron=LIF(tau=3.0).describe())
    assert find_record(saved(), 'net.1')['masking_ratio'] == 0.25
    assert find_record(saved('ema_state_dict'), 'module.net.3')['neuron'] == PLIF().describe()
    assert find_record(saved(), 'net.0') == {}


@LOADERS
def test_it_loads_strictly_and_without_a_word(load, recwarn, capsys):
    model = Toy()
    load(model)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, saved()[name])
    assert next(iter(get_masking(model).values())) == 0.25
    assert 'key' not in ''.join(capsys.readouterr())
    assert not recwarn


def test_the_tools_find_all_weights_in_it():
    check_weights(Toy(), read_training_checkpoint(FILE), str(FILE))


@LOADERS
def test_its_neurons_are_compared(load):
    with pytest.raises(NeuronMismatchError, match=r'SFA\(D=8.*SFA\(D=4'):
        load(Toy(D=4))
    with pytest.raises(NeuronMismatchError, match=r'tau=3\.0.*tau=2\.0'):
        load(Toy(tau=2.0))
    with pytest.warns(UserWarning, match=r'tau=3\.0.*tau=2\.0'):
        load(Toy(tau=2.0, on_mismatch='warn'))


@pytest.mark.parametrize('way', [dict, lambda weights: {**weights}])
def test_without_its_metadata_it_says_nothing_of_neurons(way, recwarn):
    model = Toy(tau=2.0)
    model.load_state_dict(way(saved()))
    assert not recwarn
    assert not any(get_masking(model).values())


def test_a_learned_number_is_known_to_be_of_a_neuron_of_mmspike():
    old = nn.Sequential(SpikingQCFS()).state_dict()
    record = find_record(old, '0')
    del old['0._extra_state']
    old._metadata['0'].update(record)
    old['0.threshold'].fill_(-1.0)
    with pytest.warns(UserWarning, match=r'0\.threshold is -1.0'):
        nn.Sequential(SpikingQCFS()).load_state_dict(old)


def test_saved_again_it_is_a_file_of_today():
    model = Toy()
    by_torch(model)
    assert find_record(dict(model.state_dict()), 'net.1') == find_record(saved(), 'net.1')


@pytest.mark.parametrize('hook', [None, dict(D=dict(train=[(0, 4), (1, 8)]), scale_norm=True)])
def test_training_goes_on_with_averages(tmp_path, hook):
    model = Toy(D=8 if hook is None else 4)
    own = [] if hook is None else [dict(type='mmspike.TimestepExpansionHook', **hook)]
    runner = Runner(
        model, str(tmp_path), resume=True, load_from=str(FILE),
        train_dataloader=dict(
            dataset=TensorDataset(torch.rand(2, 2)), batch_size=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[dict(type='EMAHook', strict_load=True), *own],
        default_scope='mmengine', experiment_name=tmp_path.name,
    )  # fmt: skip
    runner.train()
    (averages,) = (one.ema_model for one in runner.hooks if isinstance(one, EMAHook))
    assert averages.steps == 2
    for one in (model, averages.module):
        assert (one.net[1].D, one.net[1].masking_ratio) == (8, 0.25)
    assert 'net.1._extra_state' in read_training_checkpoint(tmp_path / 'epoch_2.pth')['state_dict']
