_base_ = [
    '../../_base_/models/mask-rcnn_sdtv2.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/coco_adamw_1x.py',
    '../../_base_/detection_runtime.py',
]

# The published classification weights, converted; README.md here says how.
pretrained = 'checkpoints/sdtv2-15m-lif-t4_in1k.pth'
model = dict(
    backbone=dict(
        arch='15M',
        timesteps=4,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'),
    ),
    neck=dict(in_channels=[64, 128, 256, 360], timesteps=4),
    rpn_head=dict(timesteps=4),
    roi_head=dict(timesteps=4),
)
