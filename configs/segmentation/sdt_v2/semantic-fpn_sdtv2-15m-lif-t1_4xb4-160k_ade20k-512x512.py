_base_ = [
    '../../_base_/models/semantic-fpn_sdtv2.py',
    '../../_base_/datasets/ade20k_512.py',
    '../../_base_/schedules/ade20k_adamw_160k.py',
    '../../_base_/segmentation_runtime.py',
]

# The published classification weights, converted; README.md here says how.
pretrained = 'checkpoints/sdtv2-15m-lif-t1_in1k.pth'
model = dict(
    backbone=dict(
        arch='15M', init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.')
    ),
    neck=dict(in_channels=[32, 64, 128, 360]),
)
