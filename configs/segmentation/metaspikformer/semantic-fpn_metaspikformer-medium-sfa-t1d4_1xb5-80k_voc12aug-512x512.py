_base_ = [
    '../../_base_/models/semantic-fpn_metaspikformer.py',
    '../../_base_/datasets/voc12aug_512.py',
    '../../_base_/schedules/voc12aug_adamw_80k.py',
    '../../_base_/segmentation_runtime.py',
]

# The published classification weights, converted; README.md here says how.
pretrained = 'checkpoints/metaspikformer-medium-sfa-t1d4_in1k.pth'
model = dict(
    backbone=dict(
        arch='medium', init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.')
    ),
    neck=dict(in_channels=[24, 48, 96, 240]),
    # The reference's VOC configs say 150, which are ADE20K's; VOC has 21 with the background.
    decode_head=dict(num_classes=21),
)
default_hooks = dict(checkpoint=dict(interval=8000))
