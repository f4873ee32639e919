_base_ = [
    '../../_base_/models/mask-rcnn_metaspikformer.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/coco_adamw_1x.py',
    '../../_base_/detection_runtime.py',
]

# The published classification weights, converted; README.md here says how.
pretrained = 'checkpoints/metaspikformer-large-sfa-t1d4_in1k.pth'
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'))
)
