# Small enough for a CPU: a few minutes on 2 cores.
_base_ = [
    '../../_base_/models/sdt_dvs_64.py',
    '../../_base_/datasets/event_digits.py',
    '../../_base_/schedules/digits_adamw_15e.py',
    '../../_base_/classification_runtime.py',
]

embed_dims = 64
model = dict(
    backbone=dict(
        # _delete_: the base names its architecture.
        arch=dict(_delete_=True, embed_dims=embed_dims, depth=1),
        pooling_stat='0111',
        dvs_pool=False,
        timesteps=8,
    ),
    head=dict(in_channels=embed_dims, timesteps=8),
)
