import copy
import pickle
import re
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_checkpoint
from mmpretrain import ImageClassificationInferencer
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.nn.functional import cross_entropy, softmax

from mmspike.energy import EnergyCounter
from mmspike.masking import get_masking, set_masking
from mmspike.neurons import NeuronMismatchError
from support.small_runs import DIGITS, small_config

NEURON = dict(type='mmspike.SFA', D=4)
ARCH = dict(embed_dims=(4, 4, 8, 8, 8), depths=(1, 1, 1, 1, 1), num_heads=2, stem_stride=1)
PLAIN = dict(
    type='ImageClassifier',
    backbone=dict(type='mmspike.MetaSpikformer', arch=ARCH, neuron_cfg=NEURON),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='mmspike.SpikeLinearClsHead',
        num_classes=10,
        in_channels=8,
        init_cfg=dict(type='Normal', layer='Linear', std=1.0),
    ),
)
IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SAMPLES = [DataSample().set_gt_label(i) for i in range(4)]


@pytest.fixture
def weights(tmp_path):
    """A teacher whose norms know the statistics of the images, and whose neurons fire."""
    init_default_scope('mmpretrain')
    torch.manual_seed(1)
    teacher = MODELS.build(PLAIN)
    teacher.init_weights()
    with torch.no_grad():
        for module in teacher.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(4)
    for _ in range(20):
        teacher.train()(IMAGES)
    answers = teacher.eval()(IMAGES)
    assert not torch.equal(answers[0], answers[1])
    torch.save(teacher.state_dict(), tmp_path / 'teacher.pth')
    return str(tmp_path / 'teacher.pth')


def student(weights, seed=0, **options):
    torch.manual_seed(seed)
    model = MODELS.build(
        dict(copy.deepcopy(PLAIN), type='mmspike.DistilledClassifier', teacher_checkpoint=weights)
        | options
    )
    model.init_weights()
    return model


def loss_of(model):
    return model.loss(IMAGES, SAMPLES)


def logits(weights):
    teacher = MODELS.build(PLAIN).eval()
    load_checkpoint(teacher, weights)
    with torch.no_grad():
        return teacher(IMAGES)


@pytest.mark.parametrize(('temperature', 'weight'), [(1.0, 1.0), (4.0, 0.5)])
def test_loss_is_the_divergence_from_the_teacher(weights, temperature, weight):
    model = student(weights, temperature=temperature, distill_weight=weight)
    losses = loss_of(model.train())
    scores = student(weights).train()(IMAGES)  # the same, before its norms moved
    target = softmax(logits(weights) / temperature, -1)
    expected = cross_entropy(scores / temperature, target) + (target * target.log()).sum(-1).mean()
    assert expected > 1e-3
    assert losses['distill_loss'].item() == pytest.approx(
        weight * temperature**2 * expected.item(), rel=1e-4
    )
    labels = torch.arange(4)
    assert losses['loss'].item() == pytest.approx(cross_entropy(scores, labels).item(), rel=1e-5)


def test_a_student_that_equals_its_teacher_has_nothing_to_learn(weights):
    model = student(weights)
    load_checkpoint(model, weights)
    assert loss_of(model.eval())['distill_loss'].abs() < 1e-6
    set_masking(model, {'all': 0.5})
    assert loss_of(model)['distill_loss'] > 1e-4


def test_gradient_goes_into_the_student_alone(weights):
    model = student(weights, distill_weight=1.0).train()
    losses = loss_of(model)
    losses['distill_loss'].backward()
    assert model.head.fc.weight.grad.any()
    teacher = model.teacher
    assert not teacher.training
    for parameter in teacher.parameters():
        assert not parameter.requires_grad
        assert parameter.grad is None
    before = copy.deepcopy(teacher.state_dict())
    loss_of(model)
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_teacher_is_no_part_of_the_model(weights):
    model, plain = student(weights), MODELS.build(PLAIN)
    loss_of(model)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert len(list(model.parameters())) == len(list(plain.parameters()))
    plain.load_state_dict(model.state_dict())
    averaged = ExponentialMovingAverage(student(weights))
    assert averaged.module.teacher is None


def test_copies_do_without_the_teacher_and_load_it_again(weights):
    model = student(weights).eval()
    taught = loss_of(model)['distill_loss']
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.teacher is None
        assert torch.equal(loss_of(twin)['distill_loss'], taught)
    assert model.teacher is not None


def test_the_teacher_follows_the_inputs(weights):
    model = student(weights)
    loss_of(model)
    teacher = model.teacher
    moved = []
    teacher.to = lambda device: moved.append(device) or teacher
    loss_of(model)
    assert moved == [IMAGES.device]


def test_evaluation_needs_no_teacher():
    model = student(Path('absent.pth')).eval()
    assert len(model.predict(IMAGES, SAMPLES)) == 4
    with pytest.raises(FileNotFoundError, match=r'no checkpoint file absent\.pth'):
        loss_of(model)


def test_the_teacher_is_not_masked(weights, tmp_path, monkeypatch):
    masked = MODELS.build(PLAIN)
    load_checkpoint(masked, weights)
    set_masking(masked, {'all': 0.9})
    torch.save(masked.state_dict(), tmp_path / 'masked.pth')
    with_masks, without = student(tmp_path / 'masked.pth'), student(weights)
    said = []
    monkeypatch.setattr('mmspike.neurons.masking.print_log', lambda *args: said.append(args))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        taught = loss_of(with_masks)['distill_loss']
    # Neither a warning nor a line in the log says that it is.
    assert said == []
    assert torch.equal(taught, loss_of(without)['distill_loss'])
    assert get_masking(with_masks) == get_masking(with_masks.teacher) == {}


def test_losses_on_every_step_are_averaged_for_the_teacher(weights):
    head = dict(PLAIN['head'], timesteps=2, loss=dict(type='mmspike.TETLoss'))
    backbone = dict(PLAIN['backbone'], timesteps=2)
    model = student(weights, backbone=backbone, head=head, teacher=PLAIN)
    assert loss_of(model)['distill_loss'].isfinite()


def test_a_teacher_of_another_kind(weights, tmp_path):
    cfg = dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=64),
    )
    torch.save(MODELS.build(cfg).state_dict(), tmp_path / 'resnet.pth')
    (tmp_path / 'resnet.py').write_text(f'model = {cfg!r}')
    path = str(tmp_path / 'resnet.pth')
    for teacher in (cfg, str(tmp_path / 'resnet.py')):
        model = student(path, teacher=teacher)
        assert loss_of(model)['distill_loss'].isfinite()
        assert type(model.teacher.backbone).__name__ == 'ResNet'


def test_what_the_teacher_does_is_not_counted_as_energy(weights):
    model = student(weights)
    with EnergyCounter(model) as counter:
        model(IMAGES, SAMPLES, mode='loss')
    with EnergyCounter(model) as alone:
        model(IMAGES)
    assert counter.counts().layers.keys() == alone.counts().layers.keys()
    assert not counter.counts().uncounted


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(temperature=0), ValueError, 'temperature must be .*above 0'),
        (dict(distill_weight=-1), ValueError, 'distill_weight must be .*at least 0'),
        (dict(head=None), ValueError, 'without a head .* set head'),
        (dict(teacher_checkpoint=None), TypeError, r'path of a file, got None \(NoneType\)'),
        (dict(teacher_checkpoint='https://a.b/c.pth'), ValueError, "URL 'https://.*download it"),
    ],
)
def test_misuse(weights, options, error, message):
    with pytest.raises(error, match=message):
        student(weights, **options)


def test_teachers_that_do_not_fit(weights, tmp_path):
    other = dict(PLAIN, head=dict(PLAIN['head'], num_classes=5))
    with pytest.raises(ValueError, match=r'does not fit the config: .*, 2 of another shape: head'):
        loss_of(student(weights, teacher=other))
    torch.save(MODELS.build(other).state_dict(), tmp_path / 'five.pth')
    message = re.escape('of the teacher have shape (4, 5), those of the student (4, 10)')
    with pytest.raises(ValueError, match=message):
        loss_of(student(str(tmp_path / 'five.pth'), teacher=other))
    backbone = dict(PLAIN['backbone'], neuron_cfg=dict(NEURON, D=2))
    with pytest.raises(NeuronMismatchError, match=r'SFA\(D=4'):
        loss_of(student(weights, teacher=dict(PLAIN, backbone=backbone)))


@pytest.mark.slow
def test_resumed_training_equals_uninterrupted_training(weights, tmp_path):
    def train(name, **options):
        cfg = small_config(DIGITS, tmp_path / name)
        cfg.model = dict(
            copy.deepcopy(PLAIN), type='mmspike.DistilledClassifier', teacher_checkpoint=weights
        )
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        cfg.train_cfg.max_epochs = 2
        cfg.default_hooks.checkpoint.update(save_optimizer=True, save_best=None)
        ratios = dict(self_attention=dict(type='linear', start=0.25, stop=0.5, end=1))
        cfg.custom_hooks.append(dict(type='mmspike.RSMScheduleHook', ratios=ratios))
        for key, value in options.items():
            cfg[key] = value
        runner = Runner.from_cfg(cfg)
        runner.train()
        return torch.cat([p.detach().flatten() for p in runner.model.parameters()])

    whole = train('whole')
    first = str(tmp_path / 'whole/work/epoch_1.pth')
    assert torch.equal(train('resumed', load_from=first, resume=True), whole)
    saved = torch.load(first, weights_only=False)
    assert list(saved['state_dict']) == list(MODELS.build(PLAIN).state_dict())

    # Whoever infers with it has no hook, and no teacher; the ratio is that of the training.
    Path(weights).unlink()
    config = str(next((tmp_path / 'whole/work').glob('*.py')))
    model = ImageClassificationInferencer(config, first, 'cpu').model
    assert set(get_masking(model).values()) == {0.25}
