_base_ = [
    '../../_base_/models/mask-rcnn_metaspikformer.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/coco_adamw_1x.py',
    '../../_base_/detection_runtime.py',
]

# The published classification weights, converted; README.md here says how.
pretrained = 'checkpoints/metaspikformer-medium-sfa-t1d4_in1k.pth'
model = dict(
    backbone=dict(
        arch='medium', init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.')
    ),
    neck=dict(in_channels=[48, 96, 192, 240], out_channels=192),
    rpn_head=dict(in_channels=192, feat_channels=192),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=192),
        bbox_head=dict(in_channels=192, fc_out_channels=768),
        mask_roi_extractor=dict(out_channels=192),
        mask_head=dict(in_channels=192, conv_out_channels=192),
    ),
)
