_base_ = [
    '../../_base_/models/retinanet_metaspikformer.py',
    '../../_base_/datasets/digit-scenes_coco.py',
    '../../_base_/schedules/digit-scenes_adamw_4e.py',
    '../../_base_/detection_runtime.py',
]

# The weights that the digits were learned with (configs/classification); here the stem halves the
# image. `model.backbone.init_cfg.checkpoint=...` names others.
pretrained = 'checkpoints/metaspikformer-digits-sfa-t1d4.pth'
model = dict(
    data_preprocessor=dict(mean=[60.0, 60.0, 60.0], std=[60.0, 60.0, 60.0]),
    backbone=dict(
        # _delete_: a dict in place of a name.
        arch=dict(
            _delete_=True,
            embed_dims=(8, 16, 32, 64, 96),
            depths=(1, 1, 1, 2, 1),
            num_heads=4,
            stem_stride=2,
        ),
        init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'),
    ),
    neck=dict(in_channels=[16, 32, 64, 96], out_channels=64, num_outs=3),
    bbox_head=dict(
        num_classes=10,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        # Digits have sides of 24 to 56 pixels.
        anchor_generator=dict(octave_base_scale=3, strides=[8, 16, 16]),
    ),
    test_cfg=dict(nms_pre=300, max_per_img=20),
)
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
train_dataloader = dict(batch_size=4)
