_base_ = [
    '../../_base_/models/sdt_cls.py',
    '../../_base_/datasets/imagenet_bs48_bicubic_224.py',
    '../../_base_/schedules/imagenet_lamb_310e.py',
    '../../_base_/classification_runtime.py',
]

# Every batch is mixed.
model = dict(
    backbone=dict(arch='8-768'),
    head=dict(in_channels=768),
    train_cfg=dict(
        augments=[dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)],
        probs=[0.5, 0.5],
    ),
)

train_dataloader = dict(batch_size=36)
val_dataloader = dict(batch_size=36)
test_dataloader = val_dataloader
auto_scale_lr = dict(enable=False, base_batch_size=288)
