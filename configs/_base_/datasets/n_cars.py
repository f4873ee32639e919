# N-Cars: frames of equal time of its 100 ms; from 120x100, in whose upper left corner the cut-outs
# lie, to 64x64; flips.
dataset_type = 'mmspike.NCars'
data_root = 'data/n_cars'
data_preprocessor = dict(type='mmspike.EventDataPreprocessor', num_classes=2)

train_pipeline = [
    dict(type='mmspike.LoadEvents'),
    dict(type='mmspike.IntegrateEvents', timesteps=10, by='time'),
    dict(type='Resize', scale=64, interpolation='bilinear'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='mmspike.PackEventFrames'),
]
test_pipeline = [
    dict(type='mmspike.LoadEvents'),
    dict(type='mmspike.IntegrateEvents', timesteps=10, by='time'),
    dict(type='Resize', scale=64, interpolation='bilinear'),
    dict(type='mmspike.PackEventFrames'),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, split='test', pipeline=test_pipeline),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
