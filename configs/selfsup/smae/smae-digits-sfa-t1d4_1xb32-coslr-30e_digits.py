_base_ = [
    '../../_base_/models/smae_digits.py',
    '../../_base_/datasets/digits_bs32_smae.py',
    '../../_base_/schedules/digits_adamw_15e.py',
    '../../_base_/selfsup_runtime.py',
]

val_cfg = test_cfg = None
optim_wrapper = dict(optimizer=dict(lr=2e-3, betas=(0.9, 0.95)))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-2,
        by_epoch=True,
        begin=0,
        end=3,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=27,
        eta_min=1e-5,
        by_epoch=True,
        begin=3,
        end=30,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=30, val_interval=30)
default_hooks = dict(logger=dict(interval=15))
