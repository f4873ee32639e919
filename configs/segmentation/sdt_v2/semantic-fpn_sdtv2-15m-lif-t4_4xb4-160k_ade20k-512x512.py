_base_ = [
    '../../_base_/models/semantic-fpn_sdtv2.py',
    '../../_base_/datasets/ade20k_512.py',
    '../../_base_/schedules/ade20k_adamw_160k.py',
    '../../_base_/segmentation_runtime.py',
]

# The published classification weights, converted; README.md here says how.
pretrained = 'checkpoints/sdtv2-15m-lif-t4_in1k.pth'
model = dict(
    backbone=dict(
        arch='15M',
        timesteps=4,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'),
    ),
    neck=dict(in_channels=[32, 64, 128, 360]),
)
# As the released configs for four steps: mixed precision, the neck twice as fast as well.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    paramwise_cfg=dict(custom_keys=dict(neck=dict(lr_mult=2.0))),
)
