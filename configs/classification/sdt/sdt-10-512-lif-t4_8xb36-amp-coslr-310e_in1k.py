_base_ = [
    '../../_base_/models/sdt_cls.py',
    '../../_base_/datasets/imagenet_bs48_bicubic_224.py',
    '../../_base_/schedules/imagenet_lamb_310e.py',
    '../../_base_/classification_runtime.py',
]

# The reference's file for it is named 10_384, and says 512 inside. Three batches of four are mixed.
model = dict(
    backbone=dict(arch='10-512'),
    head=dict(in_channels=512),
    train_cfg=dict(
        augments=[dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)],
        probs=[0.375, 0.375],
    ),
)

# Larger crops.
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
        magnitude_level=7,
        magnitude_std=0.5,
        hparams=_base_.randaug_hparams,
    ),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=36, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=36)
test_dataloader = val_dataloader
auto_scale_lr = dict(enable=False, base_batch_size=288)
