_base_ = [
    '../../_base_/models/metaspikformer_cls.py',
    '../../_base_/datasets/imagenet_bs256_bicubic_224.py',
    '../../_base_/schedules/imagenet_lamb_200e.py',
    '../../_base_/classification_runtime.py',
]

model = dict(backbone=dict(arch='medium'), head=dict(in_channels=240))
