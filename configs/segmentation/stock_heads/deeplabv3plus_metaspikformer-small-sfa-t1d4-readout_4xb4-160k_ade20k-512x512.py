_base_ = [
    '../../_base_/models/stock-segmentor_metaspikformer.py',
    '../../_base_/datasets/ade20k_512.py',
    '../../_base_/schedules/ade20k_adamw_160k.py',
    '../../_base_/segmentation_runtime.py',
]

# Stages 1, 3 and 4 have strides 4, 16 and 16. At 16, mmseg halves the dilations that it has at 8.
# Channels are those of the smallest DeepLabV3+ of mmseg, on a ResNet-18.
model = dict(
    backbone=dict(out_indices=(1, 3, 4)),
    decode_head=dict(
        type='DepthwiseSeparableASPPHead',
        in_channels=192,
        in_index=2,
        channels=128,
        dilations=(1, 6, 12, 18),
        # The map at stride 4 is always the first, whatever in_index says.
        c1_in_channels=32,
        c1_channels=12,
    ),
    auxiliary_head=dict(in_index=1),
)
# The schedule's AdamW (1e-3, heads twice as fast), where mmseg's DeepLabV3+ has SGD, 0.01.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(auxiliary_head=dict(lr_mult=2.0))))
