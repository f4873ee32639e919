_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../../_base_/models/metaspikformer-small_readout.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/coco_adamw_1x.py',
    '../../_base_/detection_runtime.py',
]

# Stages 2 and 4 have strides 8 and 16; three more levels make the pyramid that this head has on a
# ResNet.
model = dict(
    backbone=dict(_base_.backbone, _delete_=True, out_indices=(2, 4)),
    # start_level: mmdet leaves out the stage at 4, which is not there.
    neck=dict(in_channels=[64, 192], out_channels=128, start_level=0),
    bbox_head=dict(in_channels=128, feat_channels=128),
)
# The optimiser is the schedule's AdamW, 2e-4; mmdet's RetinaNet is trained with SGD, 0.01.
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
