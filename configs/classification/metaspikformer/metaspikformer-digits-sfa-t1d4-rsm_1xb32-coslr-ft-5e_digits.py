_base_ = './metaspikformer-digits-sfa-t1d4_1xb32-coslr-15e_digits.py'

# Training begins with a network without masks, which is also the teacher of the masked one.
# `--cfg-options load_from=... model.teacher_checkpoint=...` names other weights.
load_from = 'checkpoints/metaspikformer-digits-sfa-t1d4.pth'
model = dict(type='mmspike.DistilledClassifier', teacher_checkpoint=load_from)

custom_hooks = [
    dict(type='mmspike.ProgressSeedHook'),
    # The share of dropped spikes rises to 3 of 4 in epochs 4 and 5.
    dict(
        type='mmspike.RSMScheduleHook',
        ratios=dict(
            self_attention=dict(type='linear', start=0.0, stop=0.75, end=3),
            mlp=dict(type='linear', start=0.0, stop=0.75, end=3),
        ),
    ),
]

# A tenth of the learning rate, without warm-up, for a third of the epochs.
optim_wrapper = dict(optimizer=dict(lr=4e-4))
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        T_max=5,
        eta_min=1e-6,
        by_epoch=True,
        begin=0,
        end=5,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=5)
# The best epoch would be one before the masks begin.
default_hooks = dict(checkpoint=dict(save_best=None))
