# DVS128 Gesture as SDT trains and tests on it: frames of as many events, no augmentation.
dataset_type = 'mmspike.DVS128Gesture'
data_root = 'data/dvs128_gesture'
data_preprocessor = dict(type='mmspike.EventDataPreprocessor', num_classes=11)

train_pipeline = [
    dict(type='mmspike.LoadEvents'),
    dict(type='mmspike.IntegrateEvents', timesteps=16, by='number'),
    dict(type='mmspike.PackEventFrames'),
]
test_pipeline = train_pipeline

train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, split='test', pipeline=test_pipeline),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
