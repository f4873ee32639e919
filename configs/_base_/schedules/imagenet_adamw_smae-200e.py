# SDT v3's masked pre-training: AdamW, learning rate 1.5e-4 per 256 images, 200 epochs of cosine
# with 20 of warm-up, stepped by iteration; weight decay on all parameters.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(
        type='AdamW', lr=1.5e-4 * 2048 / 256, betas=(0.9, 0.95), eps=1e-4, weight_decay=0.05
    ),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-6,
        by_epoch=True,
        begin=0,
        end=20,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=180,
        eta_min=5e-6,
        by_epoch=True,
        begin=20,
        end=200,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=200)
auto_scale_lr = dict(enable=False, base_batch_size=2048)
