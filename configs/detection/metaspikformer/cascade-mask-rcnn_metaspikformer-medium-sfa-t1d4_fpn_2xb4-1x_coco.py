_base_ = [
    '../../_base_/models/cascade-mask-rcnn_metaspikformer.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/coco_adamw_1x.py',
    '../../_base_/detection_runtime.py',
]

# The published classification weights, converted; README.md here says how.
pretrained = 'checkpoints/metaspikformer-medium-sfa-t1d4_in1k.pth'
# A list is replaced completely.
bbox_heads = [
    dict(
        type='mmspike.SpikeShared4Conv1FCBBoxHead',
        in_channels=192,
        conv_out_channels=192,
        fc_out_channels=768,
        roi_feat_size=7,
        num_classes=80,
        neuron_cfg=dict(type='mmspike.SFA', D=4, norm=1),
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder', target_means=[0.0, 0.0, 0.0, 0.0], target_stds=stds
        ),
        reg_class_agnostic=True,
        reg_decoded_bbox=True,
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=10.0),
    )
    for stds in ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067])
]
model = dict(
    backbone=dict(
        arch='medium', init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.')
    ),
    neck=dict(in_channels=[48, 96, 192, 240], out_channels=192),
    rpn_head=dict(in_channels=192, feat_channels=192),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=192),
        bbox_head=bbox_heads,
        mask_roi_extractor=dict(out_channels=192),
        mask_head=dict(in_channels=192, conv_out_channels=192),
    ),
)
