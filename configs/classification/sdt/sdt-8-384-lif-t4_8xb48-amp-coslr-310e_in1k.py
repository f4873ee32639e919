_base_ = [
    '../../_base_/models/sdt_cls.py',
    '../../_base_/datasets/imagenet_bs48_bicubic_224.py',
    '../../_base_/schedules/imagenet_lamb_310e.py',
    '../../_base_/classification_runtime.py',
]

# Three batches of five are mixed.
model = dict(
    backbone=dict(arch='8-384'),
    head=dict(in_channels=384),
    train_cfg=dict(
        augments=[dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)],
        probs=[0.3, 0.3],
    ),
)

# Larger crops, weaker RandAugment, a higher learning rate.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='RandomResizedCrop',
        scale=224,
        crop_ratio_range=(0.2, 1.0),
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=5,
        magnitude_std=0.5,
        hparams=_base_.randaug_hparams,
    ),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-5 / 1.5e-3, begin=0, end=21),
    dict(type='CosineAnnealingLR', T_max=300, eta_min=1.5e-5, begin=0, end=301),
]
