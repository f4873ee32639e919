# SDT on ImageNet: LAMB, 300 epochs of cosine (already running during the warm-up of 20, as in timm)
# and 10 at the lowest rate, stepped by epoch; no weight decay on 1-D parameters. The learning rate
# is for the batch of all GPUs together, how many the reference does not say.
learning_rate, warmup_rate, lowest_rate = 1e-3, 1e-5, 2e-5
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(type='Lamb', lr=learning_rate, weight_decay=0.01),
    # flat: 1-D parameters. `neuron.w` and the like: the learned decay of PLIF, a single number.
    constructor='mmspike.OptimWrapperConstructor',
    paramwise_cfg=dict(
        flat_decay_mult=0.0,
        custom_keys={'activate.w': dict(decay_mult=0.0), 'neuron.w': dict(decay_mult=0.0)},
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=warmup_rate / learning_rate, begin=0, end=21),
    dict(type='CosineAnnealingLR', T_max=300, eta_min=lowest_rate, begin=0, end=301),
]
train_cfg = dict(by_epoch=True, max_epochs=310, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=384)
