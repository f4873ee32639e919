_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '../../_base_/models/metaspikformer-small_readout.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/coco_adamw_1x.py',
    '../../_base_/detection_runtime.py',
]

# Stages 1, 2 and 4 have strides 4, 8 and 16. The FPN's two further levels, 32 and 64, are every
# second pixel of the last one: anchors need them, RoIAlign would see nothing new there.
model = dict(
    backbone=dict(_base_.backbone, _delete_=True, out_indices=(1, 2, 4)),
    neck=dict(in_channels=[32, 64, 192], out_channels=128),
    rpn_head=dict(in_channels=128, feat_channels=128),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=128, featmap_strides=[4, 8, 16]),
        bbox_head=dict(in_channels=128),
    ),
)
# The optimiser is the schedule's AdamW, 2e-4; mmdet's Faster R-CNN is trained with SGD, 0.02.
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
