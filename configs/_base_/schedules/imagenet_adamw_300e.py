# MST on ImageNet: AdamW, 1e-4 whatever the batch, 300 epochs of cosine with 20 of warm-up, stepped
# by iteration; gradients clipped at 5; mixed precision. No decay of 1-D parameters, thresholds and
# biases of positions.
learning_rate, warmup_rate, lowest_rate = 1e-4, 1e-6, 1e-5
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(type='AdamW', lr=learning_rate, weight_decay=0.05),
    constructor='mmspike.OptimWrapperConstructor',
    paramwise_cfg=dict(
        flat_decay_mult=0.0,
        custom_keys={
            'threshold': dict(decay_mult=0.0),
            'relative_position_bias_table': dict(decay_mult=0.0),
        },
    ),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=warmup_rate / learning_rate,
        by_epoch=True,
        begin=0,
        end=20,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=280,
        eta_min=lowest_rate,
        by_epoch=True,
        begin=20,
        end=300,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=1024)
