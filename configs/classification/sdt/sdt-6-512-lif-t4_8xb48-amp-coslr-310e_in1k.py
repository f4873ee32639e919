_base_ = [
    '../../_base_/models/sdt_cls.py',
    '../../_base_/datasets/imagenet_bs48_bicubic_224.py',
    '../../_base_/schedules/imagenet_lamb_310e.py',
    '../../_base_/classification_runtime.py',
]

# Three batches of five are mixed.
model = dict(
    backbone=dict(arch='6-512'),
    head=dict(in_channels=512),
    train_cfg=dict(
        augments=[dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)],
        probs=[0.3, 0.3],
    ),
)
