# CIFAR10-DVS as SDT trains and tests on it: frames of as many events, halved to 64x64, no
# augmentation; the first 90 % of each class are for training.
dataset_type = 'mmspike.CIFAR10DVS'
data_root = 'data/cifar10_dvs'
data_preprocessor = dict(type='mmspike.EventDataPreprocessor', num_classes=10)

train_pipeline = [
    dict(type='mmspike.LoadEvents'),
    dict(type='mmspike.IntegrateEvents', timesteps=10, by='number'),
    dict(type='Resize', scale=64, interpolation='bilinear'),
    dict(type='mmspike.PackEventFrames'),
]
test_pipeline = train_pipeline

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
val_evaluator = dict(type='Accuracy', topk=(1,))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
