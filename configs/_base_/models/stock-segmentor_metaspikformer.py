# Shared part of the segmentors with heads without spikes.
_base_ = './metaspikformer-small_readout.py'

norm_cfg = dict(type='SyncBN', requires_grad=True)
# Tools of mmseg look for it at the top level; change both.
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(512, 512),
)
head = dict(
    dropout_ratio=0.1,
    num_classes=150,
    norm_cfg=norm_cfg,
    align_corners=False,
    loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(_base_.backbone, norm_cfg=norm_cfg),
    decode_head=head,
    # It reads the map before the last, as in mmseg.
    auxiliary_head=dict(
        head,
        type='FCNHead',
        in_channels=128,
        channels=64,
        num_convs=1,
        concat_input=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
