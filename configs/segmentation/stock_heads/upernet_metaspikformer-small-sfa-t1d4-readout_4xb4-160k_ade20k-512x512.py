_base_ = [
    '../../_base_/models/stock-segmentor_metaspikformer.py',
    '../../_base_/datasets/ade20k_512.py',
    '../../_base_/schedules/ade20k_adamw_160k.py',
    '../../_base_/segmentation_runtime.py',
]

# Stages 1 to 4 have strides 4, 8, 16 and 16; the head brings all maps to the size of the first. Its
# channels are a quarter of mmseg's 512, as the backbone is small.
model = dict(
    backbone=dict(out_indices=(1, 2, 3, 4)),
    decode_head=dict(
        type='UPerHead',
        in_channels=[32, 64, 128, 192],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=128,
    ),
    auxiliary_head=dict(in_index=2),
)
# AdamW as mmseg trains UPerNet on a transformer (Swin); its ResNets have SGD, 0.01.
optim_wrapper = dict(
    optimizer=dict(lr=6e-5, weight_decay=0.01),
    paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0),
)
