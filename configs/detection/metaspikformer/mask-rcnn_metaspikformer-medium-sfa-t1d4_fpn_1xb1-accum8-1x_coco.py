_base_ = 'mask-rcnn_metaspikformer-medium-sfa-t1d4_fpn_2xb4-1x_coco.py'

# For one small GPU: eight images one after the other make a step; norms keep the statistics that
# the backbone was trained with, and blocks are computed twice instead of kept.
train_dataloader = dict(batch_size=1)
optim_wrapper = dict(accumulative_counts=8)
model = dict(backbone=dict(norm_eval=True, with_cp=True))
