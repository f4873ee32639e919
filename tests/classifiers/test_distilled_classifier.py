import copy
import math
import os
import pickle
import re
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModule, ExponentialMovingAverage
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_checkpoint
from mmpretrain import ImageClassificationInferencer, get_model
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.nn.functional import cross_entropy, softmax

from mmspike.classifiers.logits_writer import LogitsWriter
from mmspike.classifiers.samples import Samples
from mmspike.datasets.handwritten_digits import HandwrittenDigits
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


@pytest.fixture(scope='module')
def teacher_file(tmp_path_factory):
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
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    torch.save(teacher.state_dict(), path)
    return path


@pytest.fixture
def weights(teacher_file, tmp_path):
    """The file of the teacher, for one test."""
    init_default_scope('mmpretrain')
    return str(shutil.copy(teacher_file, tmp_path))


def student(weights, seed=0, **options):
    torch.manual_seed(seed)
    model = MODELS.build(
        dict(copy.deepcopy(PLAIN), type='mmspike.DistilledClassifier', teacher_checkpoint=weights)
        | options
    )
    model.init_weights()
    return model


def loss_of(model, inputs=IMAGES, data_samples=SAMPLES):
    return model.loss(inputs, data_samples)


def logits(weights):
    teacher = MODELS.build(PLAIN).eval()
    load_checkpoint(teacher, weights)
    with torch.no_grad():
        return teacher(IMAGES)


def by_hand(tmp_path, **options):
    """The student's scores are the first two channels, the teacher's the third and 0."""
    init_default_scope('mmpretrain')
    plain = dict(
        type='ImageClassifier',
        backbone=dict(type='ChannelsOfFirstPixel'),
        head=dict(type='LinearClsHead', num_classes=2, in_channels=3, cal_acc=True),
    )
    teacher = MODELS.build(plain)
    teacher.head.fc.weight.data.copy_(torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]))
    teacher.head.fc.bias.data.zero_()
    torch.save(teacher.state_dict(), tmp_path / 'teacher.pth')
    model = MODELS.build(
        dict(
            plain,
            type='mmspike.DistilledClassifier',
            teacher_checkpoint=tmp_path / 'teacher.pth',
            **options,
        )
    )
    model.head.fc.weight.data.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    model.head.fc.bias.data.zero_()
    return model


@MODELS.register_module()
class ChannelsOfFirstPixel(BaseModule):
    def forward(self, x):
        return (x[:, :, 0, 0],)


# Probabilities: the student's are 1/2, 1/2 and 1/4, 3/4; the teacher's are 3/4, 1/4 for both.
PIXELS = torch.tensor([[0.0, 0.0, math.log(3)], [0.0, math.log(3), math.log(3)]])[..., None, None]
# Of both labels, 0 and 1.
LABEL_LOSS = (math.log(2) + math.log(4 / 3)) / 2


def test_soft_loss_by_hand(tmp_path):
    losses = by_hand(tmp_path, alpha=0.25).loss(PIXELS, SAMPLES[:2])
    first = 3 / 4 * math.log(3 / 2) + 1 / 4 * math.log(1 / 2)
    second = 3 / 4 * math.log(3) + 1 / 4 * math.log(1 / 3)
    assert losses['label_loss'].item() == pytest.approx(0.75 * LABEL_LOSS)
    assert losses['distill_loss'].item() == pytest.approx(0.25 * (first + second) / 2)


def test_temperature_by_hand(tmp_path):
    losses = by_hand(tmp_path, alpha=1, tau=2).loss(PIXELS[:1], SAMPLES[:1])
    root = math.sqrt(3)
    p, q = root / (1 + root), 1 / (1 + root)  # of the teacher, at twice the temperature
    expected = 4 * (p * math.log(2 * p) + q * math.log(2 * q))
    assert losses['distill_loss'].item() == pytest.approx(expected)
    assert losses['label_loss'] == 0


def test_hard_loss_by_hand(tmp_path):
    losses = by_hand(tmp_path, distillation='hard').loss(PIXELS, SAMPLES[:2])
    assert losses['label_loss'].item() == pytest.approx(LABEL_LOSS / 2)
    assert losses['distill_loss'].item() == pytest.approx((math.log(2) + math.log(4)) / 4)


def test_names_in_the_log(tmp_path):
    model = by_hand(tmp_path)
    losses = model.loss(PIXELS[1:], SAMPLES[1:2])
    total, logged = model.parse_losses(losses)
    assert set(logged) == {'loss', 'label_loss', 'distill_loss', 'accuracy_top-1'}
    assert logged['loss'] == total == losses['label_loss'] + losses['distill_loss']
    assert logged['accuracy_top-1'] == 100


def test_old_arguments(tmp_path):
    new = by_hand(tmp_path, alpha=1, tau=2).loss(PIXELS, SAMPLES[:2])
    with pytest.warns(DeprecationWarning, match='is deprecated') as caught:
        model = by_hand(tmp_path, temperature=2, distill_weight=0.5)
    said = [str(one.message) for one in caught]
    assert said[0].startswith('DistilledClassifier(temperature=...) is deprecated')
    assert said[0].endswith('use tau=...')
    assert said[1].startswith('DistilledClassifier(distill_weight=...) is deprecated')
    assert said[1].endswith('use alpha=...')
    old = model.loss(PIXELS, SAMPLES[:2])
    assert old['label_loss'].item() == pytest.approx(LABEL_LOSS)
    torch.testing.assert_close(old['distill_loss'], new['distill_loss'] / 2)
    with pytest.warns(DeprecationWarning, match=r'use DistilledClassifier\.tau'):
        assert model.temperature == 2


@pytest.mark.parametrize(('tau', 'alpha'), [(1.0, 0.5), (4.0, 0.25)])
def test_loss_is_the_divergence_from_the_teacher(weights, tau, alpha):
    model = student(weights, tau=tau, alpha=alpha)
    losses = loss_of(model.train())
    scores = student(weights).train()(IMAGES)  # the same, before its norms moved
    target = softmax(logits(weights) / tau, -1)
    expected = cross_entropy(scores / tau, target) + (target * target.log()).sum(-1).mean()
    assert expected > 1e-3
    assert losses['distill_loss'].item() == pytest.approx(
        alpha * tau**2 * expected.item(), rel=1e-4
    )
    label_loss = cross_entropy(scores, torch.arange(4)).item()
    assert losses['label_loss'].item() == pytest.approx((1 - alpha) * label_loss, rel=1e-5)


def test_a_student_that_equals_its_teacher_has_nothing_to_learn(weights):
    model = student(weights)
    load_checkpoint(model, weights)
    assert loss_of(model.eval())['distill_loss'].abs() < 1e-6
    set_masking(model, {'all': 0.5})
    assert loss_of(model)['distill_loss'] > 1e-4


def test_gradient_goes_into_the_student_alone(weights):
    model = student(weights).train()
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


def two_layers(weights, timesteps=1, backbone=None, **options):
    """A student with a distillation head, and a teacher with the usual one."""
    head = dict(PLAIN['head'], type='mmspike.SpikeDistillClsHead', timesteps=timesteps, **options)
    backbone = dict(PLAIN['backbone'], timesteps=timesteps, **(backbone or {}))
    return student(weights, teacher=PLAIN, backbone=backbone, head=head).train()


@pytest.mark.parametrize('loss', ['CrossEntropyLoss', 'mmspike.TETLoss'])
@pytest.mark.parametrize('timesteps', [1, 2])
@pytest.mark.parametrize('analog_fc', [False, True])
def test_labels_train_one_layer_and_the_teacher_the_other(weights, timesteps, loss, analog_fc):
    model = two_layers(weights, timesteps, analog_fc=analog_fc, loss=dict(type=loss))
    twin = copy.deepcopy(model)
    losses = loss_of(model)
    first, second = twin.head.separate_logits(twin.extract_feat(IMAGES))
    target = softmax(logits(weights), -1)
    expected = cross_entropy(second.mean(0), target) + (target * target.log()).sum(-1).mean()
    assert losses['distill_loss'].item() == pytest.approx(expected.item() / 2, rel=1e-4)
    labelled = twin.head.loss_by_logits(first, SAMPLES)['loss'] / 2
    torch.testing.assert_close(losses['label_loss'], labelled)

    layers = (model.head.fc.weight, model.head.fc_distill.weight)
    for name, trained in (('label_loss', [True, False]), ('distill_loss', [False, True])):
        grads = torch.autograd.grad(losses[name], layers, retain_graph=True, allow_unused=True)
        assert [grad is not None for grad in grads] == trained


def test_averaged_layers_in_evaluation(weights):
    model = two_layers(weights).eval()
    first, second = model.head.separate_logits(model.extract_feat(IMAGES))
    predictions = torch.stack([sample.pred_score for sample in model.predict(IMAGES)])
    torch.testing.assert_close(predictions, softmax((first[0] + second[0]) / 2, -1))


def test_mixed_precision(weights):
    model = two_layers(weights)
    with torch.autocast('cpu', torch.bfloat16):
        losses = loss_of(model)
    assert losses['distill_loss'].dtype == torch.float32
    model.parse_losses(losses)[0].backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_recomputed_activations(weights):
    losses, grads = [], []
    for with_cp in (False, True):
        model = two_layers(weights, backbone=dict(with_cp=with_cp))
        losses.append(model.parse_losses(loss_of(model))[0])
        losses[-1].backward()
        grads.append([p.grad for p in model.parameters()])
    assert torch.equal(*losses)
    torch.testing.assert_close(*grads)


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


def test_a_teacher_by_the_name_of_a_model(tmp_path):
    name = 'mobilenet-v2_8xb32_in1k'
    torch.manual_seed(0)
    teacher = get_model(name).eval()
    torch.save(teacher.state_dict(), tmp_path / 'teacher.pth')
    head = dict(PLAIN['head'], num_classes=1000)
    model = student(str(tmp_path / 'teacher.pth'), teacher=name, head=head, alpha=1)
    loss = loss_of(model)['distill_loss']
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (RGB['mean'], RGB['std']))
    with torch.no_grad():
        # The student's images are as they were read: BGR, not normalised.
        target = softmax(teacher((IMAGES.flip(1) - mean) / std), -1)
        scores = student(str(tmp_path / 'teacher.pth'), teacher=name, head=head)(IMAGES)
    expected = cross_entropy(scores, target) + (target * target.log()).sum(-1).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-3)


RGB = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)


@pytest.mark.parametrize(
    'of_student',
    [RGB, dict(mean=[5, 6, 7], std=[1.0, 2.0, 4.0], to_rgb=False), dict(to_rgb=True)],
)
@pytest.mark.parametrize('of_teacher', [RGB, dict(RGB, to_rgb=False)])
def test_a_teacher_that_normalises_in_another_way(weights, of_student, of_teacher):
    """It is given what its own preprocessor would make of the images."""
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    teacher = dict(PLAIN, data_preprocessor=of_teacher)
    model = student(
        weights, teacher=teacher, data_preprocessor=dict(of_student), distillation='hard', alpha=1
    )
    batch = model.data_preprocessor(dict(inputs=list(images), data_samples=SAMPLES), training=True)
    loss_of(model, **batch)
    seen = []
    model.teacher.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model.loss(batch['inputs'], batch['data_samples'])
    expected = MODELS.build(dict(of_teacher, type='ClsDataPreprocessor'))(
        dict(inputs=list(images))
    )['inputs']
    torch.testing.assert_close(seen[0], expected)
    if of_student == of_teacher:
        assert torch.equal(seen[0], batch['inputs'])


def test_what_the_teacher_does_is_not_counted_as_energy(weights):
    model = student(weights)
    with EnergyCounter(model) as counter:
        model(IMAGES, SAMPLES, mode='loss')
    with EnergyCounter(model) as alone:
        model(IMAGES)
    assert counter.counts().layers.keys() == alone.counts().layers.keys()
    assert not counter.counts().uncounted


def store(folder, logits, labels=(0, 1, 2, 3)):
    samples = Samples('HandwrittenDigits', len(logits), 'sample_idx', None, list(labels))
    with LogitsWriter(folder, samples, {}) as writer:
        writer.append(logits.numpy())
        writer.finish()
    return folder


def numbered(*order):
    """Images and samples that say which they are, in any order."""
    samples = [DataSample(metainfo=dict(sample_idx=i)).set_gt_label(i) for i in order]
    return IMAGES[list(order)], samples


def with_logits(folder, **options):
    return student(None, teacher_logits=folder, **options)


@pytest.mark.parametrize('options', [dict(tau=2.0), dict(distillation='hard')])
def test_stored_logits_teach_as_the_teacher_does(weights, tmp_path, options):
    folder = store(tmp_path / 'logits', logits(weights))
    stored, live = with_logits(folder, **options), student(weights, **options)
    batch = numbered(3, 0, 2, 2, 1)
    for name, value in loss_of(live, *batch).items():
        torch.testing.assert_close(loss_of(stored, *batch)[name], value)
    assert stored.teacher is None
    assert live.teacher is not None


def test_copies_read_stored_logits_again(weights, tmp_path):
    model = with_logits(store(tmp_path / 'logits', logits(weights))).eval()
    taught = loss_of(model, *numbered(0, 1))['distill_loss']
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(loss_of(twin, *numbered(0, 1))['distill_loss'], taught)
    assert list(model.state_dict()) == list(MODELS.build(PLAIN).state_dict())


def test_evaluation_needs_no_stored_logits():
    model = with_logits('absent').eval()
    assert len(model.predict(IMAGES, SAMPLES)) == 4
    with pytest.raises(FileNotFoundError, match=r'no folder absent of stored logits'):
        loss_of(model)


def test_stored_logits_of_other_classes(tmp_path):
    model = with_logits(store(tmp_path / 'logits', torch.zeros(4, 5)))
    with pytest.raises(ValueError, match=r'teacher have shape \(2, 5\), .* student \(2, 10\)'):
        loss_of(model, *numbered(0, 1))


@pytest.mark.parametrize('place', ['train_cfg', 'data_preprocessor'])
def test_stored_logits_of_images_that_are_mixed(tmp_path, place):
    augments = dict(augments=dict(type='Mixup', alpha=0.2))
    option = dict(augments) if place == 'train_cfg' else dict(batch_augments=augments)
    with pytest.raises(ValueError, match=r'batch_augments .* leave it out'):
        with_logits(tmp_path, **{place: option})


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(tau=0), ValueError, 'tau must be .*above 0'),
        (dict(alpha=-0.1), ValueError, 'alpha must be .*at least 0 and at most 1, got -0.1'),
        (dict(alpha=1.1), ValueError, 'alpha must be .*at most 1, got 1.1'),
        (dict(distillation='firm'), ValueError, "must be 'soft' or 'hard', got 'firm'"),
        (dict(distillation='hard', tau=2), ValueError, 'got tau=2: leave tau out'),
        (dict(teacher='resnet5'), ValueError, "'resnet5' is neither a config file nor a model"),
        (dict(head=None), ValueError, 'without a head .* set head'),
        (dict(teacher_checkpoint=None), ValueError, r'\(teacher_logits\), got neither'),
        (dict(teacher_logits='logits'), ValueError, "got {'teacher_checkpoint': .*'logits'}"),
        (
            dict(teacher_checkpoint=3),
            TypeError,
            r'teacher_checkpoint must be a path, got 3 \(int\)',
        ),
        (dict(teacher_checkpoint='https://a.b/c.pth'), ValueError, "URL 'https://.*download it"),
        (
            dict(teacher_checkpoint=None, teacher_logits='logits', teacher=PLAIN),
            ValueError,
            "teacher_logits='logits'\\) need no teacher",
        ),
    ],
)
def test_misuse(weights, options, error, message):
    with pytest.raises(error, match=message):
        loss_of(student(weights, **options))


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


@pytest.mark.parametrize('indices', [4, [0, 1, 2, 4]])
def test_training_on_stored_logits(tmp_path, indices):
    """They are those of the first four digits."""
    cfg = small_config(DIGITS, tmp_path)
    dataset = HandwrittenDigits(indices=4)
    labels = [dataset.get_data_info(i)['gt_label'] for i in range(4)]
    folder = store(tmp_path / 'logits', torch.randn(4, 10), labels)
    cfg.model = dict(PLAIN, type='mmspike.DistilledClassifier', teacher_logits=str(folder))
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.train_dataloader.dataset.indices = indices
    runner = Runner.from_cfg(cfg)
    if indices == 4:
        runner.train()
        return
    with pytest.raises(ValueError, match='of other `indices`'):
        runner.train()


def test_training_on_the_logits_of_other_data(tmp_path):
    cfg = small_config(DIGITS, tmp_path)
    folder = store(tmp_path / 'logits', torch.randn(4, 10))
    cfg.model = dict(PLAIN, type='mmspike.DistilledClassifier', teacher_logits=str(folder))
    cfg.train_dataloader.dataset.indices = 6
    runner = Runner.from_cfg(cfg)
    with pytest.raises(ValueError, match='the training data are 6 samples of HandwrittenDigits'):
        runner.train()
    assert runner.iter == 0


def train_rank(rank, folder, logits):
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2
    )
    try:
        cfg = small_config(DIGITS, folder)
        head = dict(PLAIN['head'], type='mmspike.SpikeDistillClsHead')
        cfg.model = dict(
            PLAIN, type='mmspike.DistilledClassifier', teacher_logits=logits, head=head
        )
        cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.5))
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        cfg.train_dataloader.dataset.indices = 5
        cfg.launcher = 'pytorch'
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
        )
        runner = Runner.from_cfg(cfg)
        runner.train()
        torch.save(runner.model.module.state_dict(), folder / f'rank_{rank}.pth')
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_on_a_number_of_samples_that_they_cannot_share(tmp_path):
    """The sampler gives a sample twice, and every layer has its gradient."""
    init_default_scope('mmpretrain')
    dataset = HandwrittenDigits(indices=5)
    labels = [dataset.get_data_info(i)['gt_label'] for i in range(5)]
    folder = store(tmp_path / 'logits', torch.randn(5, 10), labels)
    context = torch.multiprocessing.get_context('fork')
    processes = [
        context.Process(target=train_rank, args=(rank, tmp_path, str(folder))) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    first, second = (torch.load(tmp_path / f'rank_{rank}.pth') for rank in (0, 1))
    before = student(None, teacher_logits=folder).state_dict()
    for name in ('head.fc.weight', 'backbone.stages.0.downsample.conv.weight'):
        assert torch.equal(first[name], second[name])
        assert not torch.equal(first[name], before[name])


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
