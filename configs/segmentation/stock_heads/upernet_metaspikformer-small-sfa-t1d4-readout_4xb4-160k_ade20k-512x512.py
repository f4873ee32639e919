_base_ = [
    '../../_base_/datasets/ade20k_512.py',
    '../../_base_/schedules/ade20k_adamw_160k.py',
    '../../_base_/segmentation_runtime.py',
]

# The published classification weights, converted; README.md here says how.
pretrained = 'checkpoints/metaspikformer-small-sfa-t1d4_in1k.pth'
norm_cfg = dict(type='SyncBN', requires_grad=True)
# Stages 1 to 4 have strides 4, 8, 16 and 16; the head brings all maps to the size of the first. Its
# channels are a quarter of mmseg's 512, as the backbone is small.
# At the top as well, where tools of mmseg look for it; change both.
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(512, 512),
)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='mmspike.MetaSpikformer',
        arch='small',
        out_indices=(1, 2, 3, 4),
        readout=True,
        timesteps=1,
        neuron_cfg=dict(type='mmspike.SFA', D=4),
        norm_cfg=norm_cfg,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'),
    ),
    decode_head=dict(
        type='UPerHead',
        in_channels=[32, 64, 128, 192],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=128,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    # On the map before the last, as in mmseg.
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=128,
        in_index=2,
        channels=64,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
# AdamW as mmseg trains UPerNet on a transformer (Swin); its ResNets have SGD, 0.01.
optim_wrapper = dict(
    optimizer=dict(lr=6e-5, weight_decay=0.01),
    paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0),
)
