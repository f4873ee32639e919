_base_ = [
    '../../_base_/models/sdtv2_cls.py',
    '../../_base_/datasets/imagenet_bs128_swin_224.py',
    '../../_base_/schedules/imagenet_lamb_200e.py',
    '../../_base_/classification_runtime.py',
]

model = dict(backbone=dict(arch='55M'), head=dict(in_channels=640))

# The schedule of SDT v3 base, for half as many images and with twice the warm-up.
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
