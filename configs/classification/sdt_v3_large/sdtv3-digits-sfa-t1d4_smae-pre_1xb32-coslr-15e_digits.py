_base_ = './sdtv3-digits-sfa-t1d4_1xb32-coslr-15e_digits.py'

# The encoder of the masked pre-training; README.md here says how.
pretrained = 'work_dirs/smae-digits-sfa-t1d4_1xb32-coslr-30e_digits/epoch_30.pth'
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'))
)
# Earlier layers learn more slowly.
optim_wrapper = dict(
    constructor='mmspike.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.75),
)
