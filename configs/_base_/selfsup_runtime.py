# Pre-training evaluates nothing, so that no checkpoint is the best.
_base_ = './classification_runtime.py'

default_hooks = dict(checkpoint=dict(save_best=None))
