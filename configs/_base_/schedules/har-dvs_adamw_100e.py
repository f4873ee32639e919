# SDT v3 on HAR-DVS: AdamW, learning rate 4e-5 per 256 recordings, 100 epochs of cosine with 10 of
# warm-up, stepped by iteration; gradients clipped at a norm of 1; no weight decay on 1-D
# parameters.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(type='AdamW', lr=4e-5 * 72 / 256, weight_decay=0.01),
    clip_grad=dict(max_norm=1.0),
    # `neuron.w` and the like: the learned decay of PLIF, a single number.
    constructor='mmspike.OptimWrapperConstructor',
    paramwise_cfg=dict(
        flat_decay_mult=0.0,
        custom_keys={'activate.w': dict(decay_mult=0.0), 'neuron.w': dict(decay_mult=0.0)},
    ),
)
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
        T_max=90,
        eta_min=1e-6,
        by_epoch=True,
        begin=10,
        end=100,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=72)
