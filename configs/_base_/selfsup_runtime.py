# Pre-training evaluates nothing, so that no checkpoint is the best.
_base_ = './classification_runtime.py'

default_hooks = dict(checkpoint=dict(save_best=None))
custom_hooks = [
    *_base_.custom_hooks,
    # Pictures of the same images every ten epochs.
    dict(type='mmspike.ReconstructionHook', interval=10),
]
