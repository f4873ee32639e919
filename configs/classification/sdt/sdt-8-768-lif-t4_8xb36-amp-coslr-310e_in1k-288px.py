_base_ = './sdt-8-768-lif-t4_8xb36-amp-coslr-310e_in1k.py'

# Trained at 224, tested at 288: the published 77.07 %.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=320, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=288),
    dict(type='PackInputs'),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
