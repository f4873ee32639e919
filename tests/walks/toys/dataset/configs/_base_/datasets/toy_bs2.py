data_preprocessor = dict(num_classes=10, mean=[90.0] * 3, std=[60.0] * 3, to_rgb=False)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='mmspike.ToyDigits', pipeline=[dict(type='PackInputs')]),
)
val_dataloader = dict(train_dataloader, sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='Accuracy', topk=(1,))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
