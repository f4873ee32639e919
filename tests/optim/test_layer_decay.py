import pytest
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from support.small_parts import BACKBONES

DETECTOR = dict(
    type='RetinaNet',
    backbone=dict(type='mmspike.SDT', arch=dict(embed_dims=16, depth=2), out_indices=(2, 3, -1)),
    neck=dict(type='mmspike.SpikeFPN', in_channels=[8, 16, 16], out_channels=8, num_outs=3),
    bbox_head=dict(
        type='mmspike.SpikeRetinaHead', num_classes=3, in_channels=8, feat_channels=8,
        stacked_convs=1, anchor_generator=dict(
            type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8, 16]
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'), loss_cls=dict(type='FocalLoss'),
    ),
)  # fmt: skip
SEGMENTOR = dict(
    type='EncoderDecoder',
    backbone=dict(type='mmspike.SDT', arch=dict(embed_dims=16, depth=2), out_indices=(2, 3, -1)),
    decode_head=dict(
        type='mmspike.SpikeFPNHead', in_channels=[8, 16, 16], in_index=[0, 1, 2], channels=8,
        feature_strides=[4, 8, 16], num_classes=3, loss_decode=dict(type='CrossEntropyLoss'),
    ),
    train_cfg=dict(), test_cfg=dict(mode='whole'),
)  # fmt: skip


def wrapper_of(model):
    return build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.1),
            constructor='mmspike.LayerDecayOptimWrapperConstructor',
            paramwise_cfg=dict(layer_decay_rate=0.5, norm_decay_mult=0.0),
        ),
    )


@pytest.mark.parametrize(
    ('scope', 'cfg'), [('mmdet', DETECTOR), ('mmseg', SEGMENTOR)], ids=['detector', 'segmentor']
)
def test_models_of_every_host(scope, cfg):
    init_default_scope(scope)
    model = MODELS.build(ConfigDict(cfg))
    groups = wrapper_of(model).optimizer.param_groups
    rates = {group['param_name']: group['lr'] for group in groups}
    assert set(rates) == {name for name, _ in model.named_parameters()}
    # Four convolutions, the end of the embedding and two blocks, in front of neck and head.
    for stage in range(7):
        found = {rate for name, rate in rates.items() if f'backbone.stages.{stage}.' in name}
        assert found == {0.5 ** (7 - stage)}
    assert {rate for name, rate in rates.items() if 'backbone' not in name} == {1.0}
    norms = {group['weight_decay'] for group in groups if '.bn.' in group['param_name']}
    assert norms == {0.0}


def test_a_model_without_depths_is_refused():
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Linear(1, 1)

    with pytest.raises(TypeError, match='got Other with the backbone Linear'):
        wrapper_of(Other())
    with pytest.raises(TypeError, match='got MetaSpikformer with the backbone NoneType'):
        wrapper_of(BACKBONES[0].make())
