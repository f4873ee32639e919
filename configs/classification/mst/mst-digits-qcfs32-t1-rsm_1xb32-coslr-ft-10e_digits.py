_base_ = './mst-digits-qcfs32-t1_1xb32-coslr-25e_digits.py'

# Training begins with a network without masks, which is also the teacher of the masked one.
# `--cfg-options load_from=... model.teacher_checkpoint=...` names other weights.
load_from = 'checkpoints/mst-digits-qcfs32-t1.pth'
model = dict(type='mmspike.DistilledClassifier', teacher_checkpoint=load_from)

custom_hooks = [
    dict(type='mmspike.ProgressSeedHook'),
    # As the published weights: 3 of 4 spikes of q, k and the attention map are dropped.
    dict(
        type='mmspike.RSMScheduleHook',
        ratios=dict(self_attention=dict(type='linear', start=0.25, stop=0.75, end=4)),
    ),
]

# A third of the learning rate, without warm-up.
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        T_max=10,
        eta_min=1e-6,
        by_epoch=True,
        begin=0,
        end=10,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=10)
# The best epoch would be one before all masks are there.
default_hooks = dict(checkpoint=dict(save_best=None))
