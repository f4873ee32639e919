_base_ = [
    '../../_base_/models/metaspikformer_cls.py',
    '../../_base_/datasets/fashion-mnist_bs128.py',
    '../../_base_/schedules/digits_adamw_15e.py',
    '../../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(
        # The small network of the digits for one channel; its stem halves the 28 pixels.
        # _delete_: a dict in place of a name.
        arch=dict(
            _delete_=True,
            embed_dims=(8, 16, 32, 64, 96),
            depths=(1, 1, 1, 2, 1),
            num_heads=4,
            stem_stride=2,
        ),
        in_channels=1,
    ),
    head=dict(num_classes=10, in_channels=96, topk=(1,)),
)
default_hooks = dict(logger=dict(interval=50))
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-2, by_epoch=True, begin=0, end=1,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR', T_max=9, eta_min=1e-5, by_epoch=True, begin=1, end=10,
        convert_to_iter_based=True,
    ),
]  # fmt: skip
train_cfg = dict(max_epochs=10)
auto_scale_lr = dict(base_batch_size=128)
