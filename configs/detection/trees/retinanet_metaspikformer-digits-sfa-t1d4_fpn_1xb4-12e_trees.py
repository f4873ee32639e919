_base_ = [
    '../../_base_/models/retinanet_metaspikformer.py',
    '../../_base_/datasets/trees_coco.py',
    '../../_base_/schedules/digit-scenes_adamw_4e.py',
    '../../_base_/detection_runtime.py',
]

# The weights that the digits were learned with (configs/classification); here the stem halves the
# image. `model.backbone.init_cfg.checkpoint=...` names others.
pretrained = 'checkpoints/metaspikformer-digits-sfa-t1d4.pth'
model = dict(
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
        num_classes=1,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        # Half of the trees have sides of 30 to 50 pixels.
        anchor_generator=dict(octave_base_scale=3, ratios=[1.0], strides=[8, 16, 16]),
    ),
    test_cfg=dict(nms_pre=500, max_per_img=100),
)
train_cfg = dict(max_epochs=12, val_interval=4)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR', T_max=12, eta_min=1e-5, by_epoch=True, begin=0, end=12,
        convert_to_iter_based=True,
    ),
]  # fmt: skip
