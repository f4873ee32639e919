import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmspike import set_timesteps
from mmspike.heads.cls import SpikeLinearClsHead
from mmspike.neurons import NeuronMismatchError

ARCH = dict(embed_dims=(4, 6, 8, 16, 16), depths=(1, 1, 1, 1, 1), num_heads=4, stem_stride=1)


def classifier(timesteps=1, neuron='LIF', **head):
    return MODELS.build(
        dict(
            type='ImageClassifier',
            data_preprocessor=dict(num_classes=5, mean=[0.5] * 3, std=[0.3] * 3),
            backbone=dict(
                type='mmspike.MetaSpikformer',
                arch=ARCH,
                timesteps=timesteps,
                neuron_cfg=dict(type=f'mmspike.{neuron}'),
            ),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='mmspike.SpikeLinearClsHead',
                num_classes=5,
                in_channels=16,
                timesteps=timesteps,
                **head,
            ),
        )
    )


def batch(size=6):
    return dict(
        inputs=torch.rand(size, 3, 16, 16),
        data_samples=[DataSample().set_gt_label(i % 5) for i in range(size)],
    )


def test_reads_the_mean_of_the_logits_of_all_steps():
    head = SpikeLinearClsHead(3, 2, timesteps=2, neuron_cfg=dict(type='mmspike.IF', threshold=1.0))
    head.fc.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    head.fc.bias.data.zero_()
    # IF with x = 0.6, 0.6 fires at the second step only; with x = 1, 0 at the first only.
    feats = torch.tensor([[0.6, 1.0], [0.6, 0.0]])
    assert head.step_logits((feats,)).tolist() == [[[0, 1, 1]], [[1, 0, 1]]]
    assert head.pre_logits((feats,)).tolist() == [[0.5, 0.5]]
    assert head((feats,)).tolist() == [[0.5, 0.5, 1.0]]


@pytest.mark.parametrize('timesteps', [1, 4])
@pytest.mark.parametrize(
    'loss',
    [
        dict(type='CrossEntropyLoss'),
        dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        dict(type='mmspike.TETLoss'),
    ],
    ids=lambda loss: loss['type'],
)
def test_trains_in_a_stock_classifier(timesteps, loss):
    model = classifier(timesteps, loss=loss)
    data = model.data_preprocessor(batch(), training=True)
    losses = model(**data, mode='loss')
    losses['loss'].backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize('loss', ['CrossEntropyLoss', 'mmspike.TETLoss'])
@pytest.mark.parametrize('augment', ['Mixup', 'CutMix'])
def test_mixed_labels(augment, loss):
    model = classifier(2, loss=dict(type=loss))
    model.data_preprocessor = MODELS.build(
        dict(
            type='ClsDataPreprocessor',
            num_classes=5,
            batch_augments=dict(augments=dict(type=augment, alpha=1.0)),
        )
    )
    data = model.data_preprocessor(batch(), training=True)
    assert 'gt_score' in data['data_samples'][0]
    assert torch.isfinite(model(**data, mode='loss')['loss'])


def test_predicts_one_answer_per_image_and_knows_accuracy():
    model = classifier(3, cal_acc=True, topk=(1, 2)).eval()
    data = model.data_preprocessor(batch(), training=False)
    predictions = model(**data, mode='predict')
    assert len(predictions) == 6
    assert all(p.pred_score.shape == (5,) for p in predictions)
    losses = model(**data, mode='loss')
    correct = sum(int(p.pred_label) == int(p.gt_label) for p in predictions)
    assert float(losses['accuracy_top-1'][0]) == pytest.approx(100 * correct / 6)
    assert model(data['inputs'], mode='tensor').shape == (6, 5)


def test_averaged_weights_follow_the_model():
    model = classifier(2, neuron='PLIF')
    average = ExponentialMovingAverage(model, momentum=0.5, update_buffers=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    average.update_parameters(model)
    average.update_parameters(model)
    assert average.module(torch.rand(2, 3, 16, 16)).shape == (2, 5)


def test_mixed_precision():
    model = classifier(2)
    data = model.data_preprocessor(batch(), training=True)
    with torch.autocast('cpu', torch.bfloat16):
        loss = model(**data, mode='loss')['loss']
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_features_before_the_classifier_are_one_per_image():
    model = classifier(3).eval()
    images = torch.rand(4, 3, 16, 16)
    feature = model.extract_feat(images, stage='pre_logits')
    assert feature.shape == (4, 16)
    torch.testing.assert_close(model.head.fc(feature), model(images))


def test_pretrained_head_checks_its_neuron(tmp_path):
    model = classifier(2)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'w.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'w.pth'), prefix='head.')
    SpikeLinearClsHead(5, 16, init_cfg=init_cfg).init_weights()
    other = SpikeLinearClsHead(5, 16, init_cfg=init_cfg, neuron_cfg=dict(type='mmspike.IF'))
    with pytest.raises(NeuronMismatchError, match=r'SFA\(D=4.*IF\('):
        other.init_weights()


def test_time_steps_of_backbone_and_head_must_agree():
    model = classifier(4)
    data = model.data_preprocessor(batch(), training=True)
    set_timesteps(model.head, 2)
    for mode in ('loss', 'predict'):
        with pytest.raises(ValueError, match=r'24 feature rows for 6 samples.*timesteps=2'):
            model(**data, mode=mode)
    set_timesteps(model, 2)
    assert torch.isfinite(model(**data, mode='loss')['loss'])


def test_accuracy_in_training_needs_one_score():
    with pytest.raises(ValueError, match='cal_acc=True'):
        classifier(2, cal_acc=True, loss=dict(type='mmspike.TETLoss'))
