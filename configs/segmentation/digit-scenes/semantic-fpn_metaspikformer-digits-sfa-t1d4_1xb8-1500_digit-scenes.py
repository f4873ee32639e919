_base_ = [
    '../../_base_/models/semantic-fpn_metaspikformer.py',
    '../../_base_/datasets/digit-scenes_ade20k.py',
    '../../_base_/segmentation_runtime.py',
]

# The weights that the digits were learned with (configs/classification); here the stem halves the
# image. `model.backbone.init_cfg.checkpoint=...` names others.
pretrained = 'checkpoints/metaspikformer-digits-sfa-t1d4.pth'
norm_cfg = dict(type='BN', requires_grad=True)
data_preprocessor = dict(mean=[60.0, 60.0, 60.0], std=[60.0, 60.0, 60.0], size=(128, 128))
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(
        # _delete_: a dict in place of a name.
        arch=dict(
            _delete_=True,
            embed_dims=(8, 16, 32, 64, 96),
            depths=(1, 1, 1, 2, 1),
            num_heads=4,
            stem_stride=2,
        ),
        norm_cfg=norm_cfg,
        layer_scale_init_value=None,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'),
    ),
    neck=dict(in_channels=[8, 16, 32, 96], out_channels=32, norm_cfg=norm_cfg),
    decode_head=dict(
        in_channels=[32, 32, 32, 32],
        channels=32,
        num_classes=11,
        norm_cfg=norm_cfg,
        # Seven of eight pixels are background.
        class_priors=[0.88] + [0.012] * 10,
        init_cfg=dict(type='Normal', std=0.1, override=dict(name='conv_seg')),
    ),
)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
    paramwise_cfg=dict(flat_decay_mult=0.0, custom_keys=dict(conv_seg=dict(lr_mult=10.0))),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=50),
    dict(type='PolyLR', power=1.0, eta_min=1e-5, by_epoch=False, begin=50, end=1500),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1500, val_interval=500)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(checkpoint=dict(interval=250))
auto_scale_lr = dict(enable=False, base_batch_size=8)
