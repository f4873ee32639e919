# The 1797 real handwritten digits that come with scikit-learn; nothing is downloaded.
dataset_type = 'mmspike.HandwrittenDigits'
data_preprocessor = dict(
    num_classes=10, mean=[78.0, 78.0, 78.0], std=[96.0, 96.0, 96.0], to_rgb=False
)

train_pipeline = [
    dict(type='Resize', scale=32, interpolation='bicubic'),
    dict(type='RandomCrop', crop_size=32, padding=3),
    dict(type='PackInputs'),
]
test_pipeline = [
    # For tools that test on a file: the samples of the data set hold their images.
    dict(type='mmspike.LoadImage'),
    dict(type='Resize', scale=32, interpolation='bicubic'),
    dict(type='PackInputs'),
]

# The images are small and in memory: workers would take more time than they save.
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
