_base_ = './metaspikformer-digits-sfa-t1d4_1xb32-coslr-15e_digits.py'

# Trained in one step, fine-tuned in four: in the first step I-LIF fires what SFA does, and then
# learns what to do with what is left on its membranes. `--cfg-options load_from=...` names other
# weights.
load_from = 'checkpoints/metaspikformer-digits-sfa-t1d4.pth'
# The checkpoint was made with SFA. on_mismatch: this is intended.
neuron = dict(type='mmspike.ILIF', D=4, on_mismatch='warn')

# _delete_: the options of the stateless neuron do not apply.
model = dict(
    backbone=dict(timesteps=4, neuron_cfg=dict(_delete_=True, norm=None, **neuron)),
    head=dict(timesteps=4, neuron_cfg=dict(_delete_=True, norm=1, **neuron)),
)

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
