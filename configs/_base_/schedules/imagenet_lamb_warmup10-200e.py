# SDT v2 at one step: the schedule of SDT v3 base, for half as many images and with twice the
# warm-up.
_base_ = './imagenet_lamb_200e.py'

optim_wrapper = dict(optimizer=dict(lr=6e-4 * 1024 / 256))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-6,
        by_epoch=True,
        begin=0,
        end=10,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=190,
        eta_min=1e-6,
        by_epoch=True,
        begin=10,
        end=200,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=1024)
