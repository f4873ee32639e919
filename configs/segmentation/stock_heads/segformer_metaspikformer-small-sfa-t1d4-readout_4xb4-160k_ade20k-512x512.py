_base_ = [
    '../../_base_/models/stock-segmentor_metaspikformer.py',
    '../../_base_/datasets/ade20k_512.py',
    '../../_base_/schedules/ade20k_adamw_160k.py',
    '../../_base_/segmentation_runtime.py',
]

# Stages 1 to 4 have strides 4, 8, 16 and 16; the head brings all maps to the size of the first.
model = dict(
    backbone=dict(out_indices=(1, 2, 3, 4)),
    decode_head=dict(
        type='SegformerHead', in_channels=[32, 64, 128, 192], in_index=[0, 1, 2, 3], channels=256
    ),
    auxiliary_head=None,
)
# The optimiser of mmseg's SegFormer: AdamW, norms without decay, the head ten times as fast.
optim_wrapper = dict(
    optimizer=dict(lr=6e-5, weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(decode_head=dict(lr_mult=10.0))),
)
