# Put together from runs of SDT v3's repository, none of which is exactly this. Its configs for VOC
# (SDT_V3/Segmentation/configs/sem_sdt) have SDT v2's backbones. At T=1 they learn with 1e-3 or
# 5e-4, the head 2 times (VOC alone) or 10 times (with aug) as fast, 3 to 10 images, 80k iterations,
# 1500 of them a linear start; at T=4, from weights of their own, with 1e-4 and a start of 1000.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.005),
    constructor='mmspike.OptimWrapperConstructor',
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.0))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1000),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=1000, end=80000, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=80000, val_interval=8000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=5)
