_base_ = [
    '../../_base_/models/mask-rcnn_metaspikformer.py',
    '../../_base_/datasets/digit-scenes_coco.py',
    '../../_base_/schedules/digit-scenes_adamw_4e.py',
    '../../_base_/detection_runtime.py',
]

# The weights that the digits were learned with (configs/classification); here the stem halves the
# image. `model.backbone.init_cfg.checkpoint=...` names others.
pretrained = 'checkpoints/metaspikformer-digits-sfa-t1d4.pth'
model = dict(
    data_preprocessor=dict(mean=[60.0, 60.0, 60.0], std=[60.0, 60.0, 60.0], pad_size_divisor=32),
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
    neck=dict(in_channels=[16, 32, 64, 96], out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, finest_scale=28),
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=10),
        mask_roi_extractor=dict(out_channels=64, finest_scale=28),
        mask_head=dict(num_convs=2, in_channels=64, conv_out_channels=64, num_classes=10),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=500, max_per_img=100),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=50), rcnn=dict(max_per_img=20)),
)
train_dataloader = dict(batch_size=4)
