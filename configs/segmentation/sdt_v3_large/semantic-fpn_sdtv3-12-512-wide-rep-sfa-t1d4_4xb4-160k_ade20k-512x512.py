_base_ = [
    '../../_base_/models/semantic-fpn_sdtv3-large.py',
    '../../_base_/datasets/ade20k_512.py',
    '../../_base_/schedules/ade20k_adamw_160k.py',
    '../../_base_/segmentation_runtime.py',
]

# The published classification weights, converted; README.md here says how.
pretrained = 'checkpoints/sdtv3-12-512-wide-rep-sfa-t1d4_in1k.pth'
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'))
)
