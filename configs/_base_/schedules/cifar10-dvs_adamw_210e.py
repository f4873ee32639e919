# SDT on CIFAR10-DVS: AdamW, 200 epochs of cosine (already running during the warm-up of 10, as in
# timm) and 10 at the lowest rate, stepped by epoch; no weight decay on 1-D parameters.
learning_rate, warmup_rate, lowest_rate = 7.5e-3, 1e-3, 3e-4
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(type='AdamW', lr=learning_rate, weight_decay=1e-4),
    # `neuron.w` and the like: the learned decay of PLIF, a single number.
    constructor='mmspike.OptimWrapperConstructor',
    paramwise_cfg=dict(
        flat_decay_mult=0.0,
        custom_keys={'activate.w': dict(decay_mult=0.0), 'neuron.w': dict(decay_mult=0.0)},
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=warmup_rate / learning_rate, begin=0, end=11),
    dict(type='CosineAnnealingLR', T_max=200, eta_min=lowest_rate, begin=0, end=201),
]
train_cfg = dict(by_epoch=True, max_epochs=210, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=32)
