_base_ = [
    '../../_base_/models/sdtv3-large_cls.py',
    '../../_base_/datasets/digits_bs32.py',
    '../../_base_/schedules/digits_adamw_15e.py',
    '../../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(
        # A small network for 32x32 pixels. _delete_: a dict in place of a name.
        arch=dict(
            _delete_=True,
            embed_dims=(16, 32, 64, 96),
            depths=(1, 1, 1, 2),
            num_heads=4,
            stem_stride=1,
            rep_expansion=1.0,
        ),
        # Two blocks are too few to begin as nothing.
        layer_scale_init_value=None,
    ),
    head=dict(num_classes=10, in_channels=96, topk=(1,)),
    train_cfg=None,
)
default_hooks = dict(logger=dict(interval=15))
