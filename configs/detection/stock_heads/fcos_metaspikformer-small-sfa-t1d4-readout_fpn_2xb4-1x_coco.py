_base_ = [
    '../../_base_/models/metaspikformer-small_readout.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/coco_adamw_1x.py',
    '../../_base_/detection_runtime.py',
]

# Stages 2 and 4 have strides 8 and 16. With three more levels these are the strides that the sizes
# of objects per level (`regress_ranges`, left as they are) were made for.
model = dict(
    type='FCOS',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(_base_.backbone, out_indices=(2, 4)),
    neck=dict(
        type='FPN',
        in_channels=[64, 192],
        out_channels=128,
        add_extra_convs='on_output',
        num_outs=5,
        relu_before_extra_convs=True,
    ),
    bbox_head=dict(
        type='FCOSHead',
        num_classes=80,
        in_channels=128,
        stacked_convs=4,
        feat_channels=128,
        strides=[8, 16, 32, 64, 128],
        norm_on_bbox=True,
        centerness_on_reg=True,
        center_sampling=True,
        conv_bias=True,
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
    ),
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type='nms', iou_threshold=0.6),
        max_per_img=100,
    ),
)
# The schedule's AdamW, 2e-4, where mmdet's FCOS has SGD, 0.01; its clipping stays.
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
