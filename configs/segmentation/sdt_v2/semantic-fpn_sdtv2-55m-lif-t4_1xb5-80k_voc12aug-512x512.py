_base_ = [
    '../../_base_/models/semantic-fpn_sdtv2.py',
    '../../_base_/datasets/voc12aug_512.py',
    '../../_base_/schedules/voc12aug_adamw_80k.py',
    '../../_base_/segmentation_runtime.py',
]

# The published classification weights, converted; README.md here says how.
pretrained = 'checkpoints/sdtv2-55m-lif-t4_in1k.pth'
model = dict(
    backbone=dict(
        arch='55M',
        timesteps=4,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'),
    ),
    neck=dict(in_channels=[64, 128, 256, 640]),
    # VOC has 21 classes with the background.
    decode_head=dict(num_classes=21),
)
default_hooks = dict(checkpoint=dict(interval=8000))
