_base_ = [
    '../../_base_/models/sdtv2_cls.py',
    '../../_base_/datasets/imagenet_bs128_swin_224.py',
    '../../_base_/schedules/imagenet_lamb_warmup10-200e.py',
    '../../_base_/classification_runtime.py',
]
