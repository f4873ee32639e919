# ImageNet as MST, like Swin, trains and tests on it: RandAugment and random erasing are those of
# the base; test at 224 from 256, bicubic. Mixup and CutMix are in the model's train_cfg.
_base_ = './imagenet_bs256_bicubic_224.py'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=128)
val_dataloader = dict(batch_size=128, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
