_base_ = 'mask-rcnn_metaspikformer-medium-sfa-t1d4_fpn_2xb4-1x_coco.py'

# Mixed precision, and batch statistics over all GPUs.
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
model = dict(backbone=dict(norm_cfg=dict(type='SyncBN', requires_grad=True)))
