# mmpretrain's ResNet-18 for images of 32 pixels, a quarter as wide: a stock network to convert.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='ResNet_CIFAR', depth=18, num_stages=4, base_channels=16, stem_channels=16,
        out_indices=(3,), style='pytorch',
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead', num_classes=10, in_channels=128, topk=(1,),
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)  # fmt: skip
