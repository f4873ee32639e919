# Semantic FPN on MetaSpikformer, as SDT v3 builds it (the large backbone). The backbone's outputs
# are at strides 2, 4, 8 and 16; of the head's strides only the ratios count.
quarters = dict(type='mmspike.SFA', D=4)
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
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='mmspike.MetaSpikformer',
        arch='large',
        out_indices=(0, 1, 2, 4),
        timesteps=1,
        neuron_cfg=quarters,
        norm_cfg=norm_cfg,
        layer_scale_init_value=1e-6,
    ),
    neck=dict(
        type='mmspike.SpikeFPN',
        in_channels=[32, 64, 128, 360],
        out_channels=128,
        num_outs=4,
        timesteps=1,
        neuron_cfg=quarters,
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        type='mmspike.SpikeFPNHead',
        in_channels=[128, 128, 128, 128],
        in_index=[0, 1, 2, 3],
        feature_strides=[2, 4, 8, 16],
        channels=128,
        num_classes=150,
        timesteps=1,
        neuron_cfg=quarters,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
