_base_ = [
    '../../_base_/models/sdtv3-large_cls.py',
    '../../_base_/datasets/imagenet_bs128_swin_224.py',
    '../../_base_/schedules/imagenet_lamb_layer-decay-150e.py',
    '../../_base_/classification_runtime.py',
]

# The encoder of the masked pre-training; README.md here says how.
pretrained = 'work_dirs/smae-12-768-sfa-t1d4_8xb256-amp-coslr-200e_in1k/epoch_200.pth'
model = dict(
    backbone=dict(
        arch='12-768-smae',
        init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'),
    ),
    head=dict(in_channels=768),
)
