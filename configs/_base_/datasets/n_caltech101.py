# N-Caltech101: frames of as many events, squeezed from 240x180 to 128x128; flips and shifts.
dataset_type = 'mmspike.NCaltech101'
data_root = 'data/n_caltech101/Caltech101'
data_preprocessor = dict(type='mmspike.EventDataPreprocessor', num_classes=101)

train_pipeline = [
    dict(type='mmspike.LoadEvents'),
    dict(type='mmspike.IntegrateEvents', timesteps=10, by='number'),
    dict(type='Resize', scale=128, interpolation='bilinear'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='mmspike.RandomShift', max_shift=5),
    dict(type='mmspike.PackEventFrames'),
]
test_pipeline = [
    dict(type='mmspike.LoadEvents'),
    dict(type='mmspike.IntegrateEvents', timesteps=10, by='number'),
    dict(type='Resize', scale=128, interpolation='bilinear'),
    dict(type='mmspike.PackEventFrames'),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, split='test', pipeline=test_pipeline),
)
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
