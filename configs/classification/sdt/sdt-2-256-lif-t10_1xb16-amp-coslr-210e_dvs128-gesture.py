_base_ = './sdt-2-256-lif-t16_1xb16-amp-coslr-210e_dvs128-gesture.py'

model = dict(backbone=dict(timesteps=10), head=dict(timesteps=10))

learning_rate, warmup_rate, lowest_rate = 2e-3, 1e-5, 1e-5
optim_wrapper = dict(optimizer=dict(lr=learning_rate, weight_decay=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=warmup_rate / learning_rate, begin=0, end=11),
    dict(type='CosineAnnealingLR', T_max=200, eta_min=lowest_rate, begin=0, end=201),
]

train_pipeline = [
    dict(type='mmspike.LoadEvents'),
    dict(type='mmspike.IntegrateEvents', timesteps=10, by='number'),
    dict(type='mmspike.PackEventFrames'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_dataloader = val_dataloader
