_base_ = './sdtv3-digits-sfa-t1d4_1xb32-coslr-15e_digits.py'

# The encoder of the masked pre-training, which saw all training images, and a tenth of their
# labels. `model.backbone.init_cfg=None` begins with random weights instead.
pretrained = 'work_dirs/smae-digits-sfa-t1d4_1xb32-coslr-30e_digits/epoch_30.pth'
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'))
)
train_dataloader = dict(batch_size=16, dataset=dict(share=0.1, seed=0))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-2,
        by_epoch=True,
        begin=0,
        end=2,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=28,
        eta_min=1e-5,
        by_epoch=True,
        begin=2,
        end=30,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=30, val_interval=10)
auto_scale_lr = dict(base_batch_size=16)
default_hooks = dict(logger=dict(interval=9))
