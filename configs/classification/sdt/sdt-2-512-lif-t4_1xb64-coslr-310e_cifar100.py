_base_ = [
    '../../_base_/models/sdt_cls.py',
    '../../_base_/datasets/cifar10_bs64.py',
    '../../_base_/schedules/cifar_adamw_310e.py',
    '../../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(arch='2-512', pooling_stat='0011'),
    head=dict(num_classes=100, in_channels=512),
    # Every batch is mixed until epoch 200.
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.5)]),
)
custom_hooks = [
    dict(type='mmspike.ProgressSeedHook'),
    dict(type='SwitchRecipeHook', schedule=[dict(action_epoch=201, batch_augments=None)]),
]

# As CIFAR-10 except for name and statistics.
data_preprocessor = dict(
    num_classes=100,
    mean=[129.3105, 124.1085, 112.404],
    std=[68.2125, 65.4075, 70.4055],
)
# RandAugment fills empty borders with the mean.
train_pipeline = [
    dict(step, hparams=dict(step['hparams'], pad_val=[129, 124, 112]))
    if step['type'] == 'RandAugment'
    else step
    for step in _base_.train_pipeline
]
dataset = dict(type='CIFAR100', data_root='data/cifar100')
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **dataset))
val_dataloader = dict(dataset=dataset)
test_dataloader = val_dataloader
