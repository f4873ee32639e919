_base_ = [
    '../../_base_/datasets/digits_bs32.py',
    '../../_base_/schedules/digits_adamw_15e.py',
    '../../_base_/classification_runtime.py',
]

# mmpretrain's Swin transformer, small. Its GELUs become QCFS; its attention stays analog.
model = dict(
    type='mmspike.QuantisedModel',
    host='ImageClassifier',
    qcfs=dict(levels=16, thresholds=2.0),
    backbone=dict(
        type='SwinTransformer',
        arch=dict(embed_dims=32, depths=[2, 2, 2], num_heads=[2, 4, 8]),
        img_size=32, patch_size=2, window_size=4, drop_path_rate=0.0, out_indices=(2,),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead', num_classes=10, in_channels=128, topk=(1,),
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)  # fmt: skip
default_hooks = dict(logger=dict(interval=15))
# The learning rate of CNNs is too high for it.
optim_wrapper = dict(optimizer=dict(lr=1e-3))
