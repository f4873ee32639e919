_base_ = [
    '../../_base_/models/sdt_cls.py',
    '../../_base_/datasets/digits_bs32.py',
    '../../_base_/schedules/digits_adamw_15e.py',
    '../../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(
        # A small network: two pools leave 8x8 tokens of the 32x32 pixels. _delete_: a dict in
        # place of a name.
        arch=dict(_delete_=True, embed_dims=96, depth=2),
        pooling_stat='1010',
    ),
    head=dict(num_classes=10, in_channels=96, topk=(1,)),
)
default_hooks = dict(logger=dict(interval=15))
