# Mask R-CNN on MetaSpikformer, as SDT v3 builds it (the large backbone), with the true strides: the
# last two stages of the backbone are both at 16. The reference declares 4, 8, 16, 32 for its maps
# and 4 to 64 for its anchors; weights that were trained so need
# `anchor_generator.strides=[4, 8, 16, 32, 64]` and `featmap_strides=[4, 8, 16, 32]`.
# Losses, assigners and samplers are mmdet's.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

integers = dict(type='mmspike.SFA', D=4, norm=1)
strides = [4, 8, 16, 16]
model = dict(
    backbone=dict(
        _delete_=True,  # the options of a ResNet
        type='mmspike.MetaSpikformer',
        arch='large',
        out_indices=(1, 2, 3, 4),
        timesteps=1,
        neuron_cfg=dict(type='mmspike.SFA', D=4),
    ),
    neck=dict(
        type='mmspike.SpikeFPN',
        in_channels=[64, 128, 256, 360],
        timesteps=1,
        neuron_cfg=integers,
    ),
    rpn_head=dict(
        type='mmspike.SpikeRPNHead',
        timesteps=1,
        neuron_cfg=integers,
        anchor_generator=dict(strides=[*strides, 32]),
    ),
    roi_head=dict(
        type='mmspike.SpikeStandardRoIHead',
        timesteps=1,
        bbox_roi_extractor=dict(featmap_strides=strides),
        bbox_head=dict(type='mmspike.SpikeShared2FCBBoxHead', neuron_cfg=integers),
        mask_roi_extractor=dict(featmap_strides=strides),
        mask_head=dict(type='mmspike.SpikeFCNMaskHead', neuron_cfg=integers),
    ),
)
