_base_ = './sdt-2-256-lif-t10_1xb32-amp-tet-coslr-210e_cifar10-dvs.py'

# The authors of SDT advise this if the released recipe stays below the result of the paper: cutout,
# an average of the weights, no mixed precision. Flips and shifts stand in their code, unused. T is
# that of the result in the paper.
model = dict(backbone=dict(timesteps=16), head=dict(timesteps=16))
# _delete_: the options of mixed precision.
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=_base_.optim_wrapper.optimizer,
    paramwise_cfg=_base_.optim_wrapper.paramwise_cfg,
)
custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', momentum=2e-4)]

train_pipeline = [
    dict(type='mmspike.LoadEvents'),
    dict(type='mmspike.IntegrateEvents', timesteps=16, by='number'),
    dict(type='Resize', scale=64, interpolation='bilinear'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='mmspike.RandomShift', max_shift=5),
    dict(type='Cutout', shape=16, pad_val=0, prob=1.0),
    dict(type='mmspike.PackEventFrames'),
]
test_pipeline = [
    dict(type='mmspike.LoadEvents'),
    dict(type='mmspike.IntegrateEvents', timesteps=16, by='number'),
    dict(type='Resize', scale=64, interpolation='bilinear'),
    dict(type='mmspike.PackEventFrames'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
