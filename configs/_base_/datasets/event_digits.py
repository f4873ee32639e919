# The handwritten digits of scikit-learn, recorded by a simulated event camera; nothing is
# downloaded. The first run simulates them, in seconds.
dataset_type = 'mmspike.EventDigits'
data_preprocessor = dict(type='mmspike.EventDataPreprocessor', num_classes=10)

train_pipeline = [
    dict(type='mmspike.IntegrateEvents', timesteps=8, by='number'),
    dict(type='mmspike.RandomShift', max_shift=2, wrap=False),
    dict(type='mmspike.PackEventFrames'),
]
test_pipeline = [
    dict(type='mmspike.IntegrateEvents', timesteps=8, by='number'),
    dict(type='mmspike.PackEventFrames'),
]

# The events are few and in memory: workers would take more time than they save.
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type=dataset_type, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=60,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, split='test', pipeline=test_pipeline),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
