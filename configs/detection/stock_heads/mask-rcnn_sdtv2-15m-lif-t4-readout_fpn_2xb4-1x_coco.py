_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/coco_adamw_1x.py',
    '../../_base_/detection_runtime.py',
]

# The published classification weights, converted; docs/weights.md says how.
pretrained = 'checkpoints/sdtv2-15m-lif-t4_in1k.pth'
strides = [4, 8, 16, 16]
model = dict(
    backbone=dict(
        _delete_=True,  # the options of a ResNet
        type='mmspike.SDTV2',
        arch='15M',
        out_indices=(1, 2, 3, 4),
        readout=True,
        timesteps=4,
        neuron_cfg=dict(type='mmspike.LIF'),
        init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'),
    ),
    neck=dict(in_channels=[64, 128, 256, 360]),
    rpn_head=dict(anchor_generator=dict(strides=[*strides, 32])),
    roi_head=dict(
        bbox_roi_extractor=dict(featmap_strides=strides),
        mask_roi_extractor=dict(featmap_strides=strides),
    ),
)
