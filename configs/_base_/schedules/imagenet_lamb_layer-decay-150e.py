# SDT v3 large behind its pre-training: LAMB with the trust ratio clipped at 1, learning rate 6e-4
# per 256 images and 0.75 times as much in each earlier block, 150 epochs of cosine with 10 of
# warm-up, stepped by iteration; no weight decay on 1-D parameters.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(type='Lamb', lr=6e-4 * 1024 / 256, weight_decay=0.05, trust_clip=True),
    constructor='mmspike.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.75, flat_decay_mult=0.0),
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
        T_max=140,
        eta_min=1e-6,
        by_epoch=True,
        begin=10,
        end=150,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=150, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=1024)
