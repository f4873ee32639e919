_base_ = [
    '../../_base_/models/metaspikformer-small_readout.py',
    '../../_base_/datasets/coco_instance.py',
    '../../_base_/schedules/coco_adamw_1x.py',
    '../../_base_/detection_runtime.py',
]

norm_cfg = dict(type='SyncBN')
act_cfg = dict(type='SiLU', inplace=True)
# RTMDet-s from the neck on. Its neck doubles the stride from level to level, which the last two
# stages (both 16) do not: from stages 2 and 4, at 8 and 16, a convolution makes the level at 32.
model = dict(
    type='RTMDet',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        # As the backbone's weights were trained; RTMDet's own backbone takes BGR.
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(_base_.backbone, out_indices=(2, 4), norm_cfg=norm_cfg),
    neck=[
        dict(
            type='ChannelMapper',
            in_channels=[64, 192],
            out_channels=128,
            kernel_size=1,
            num_outs=3,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
        ),
        dict(
            type='CSPNeXtPAFPN',
            in_channels=[128, 128, 128],
            out_channels=128,
            num_csp_blocks=1,
            expand_ratio=0.5,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
        ),
    ],
    bbox_head=dict(
        type='RTMDetSepBNHead',
        num_classes=80,
        in_channels=128,
        stacked_convs=2,
        feat_channels=128,
        anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32]),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        with_objectness=False,
        exp_on_reg=False,
        share_conv=True,
        pred_kernel_size=1,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
    ),
    train_cfg=dict(
        assigner=dict(type='DynamicSoftLabelAssigner', topk=13),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
    test_cfg=dict(
        nms_pre=30000,
        min_bbox_size=0,
        score_thr=0.001,
        nms=dict(type='nms', iou_threshold=0.65),
        max_per_img=300,
    ),
)
# Without masks: its assigner takes them, where there are any, for those of RTMDet-Ins.
train_pipeline = [
    dict(step, with_mask=False) if step['type'] == 'LoadAnnotations' else step
    for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
# RTMDet's AdamW, 4e-3 for 256 images, is 1.25e-4 for 8. Unlike there: 12 epochs instead of 300,
# several scales instead of mosaic and mixup, no moving average of the weights.
optim_wrapper = dict(
    optimizer=dict(lr=1.25e-4),
    # bypass_duplicate: the levels share the convolutions of the head.
    paramwise_cfg=dict(bias_decay_mult=0.0, bypass_duplicate=True),
)
val_evaluator = dict(metric='bbox', proposal_nums=(100, 1, 10))
test_evaluator = val_evaluator
