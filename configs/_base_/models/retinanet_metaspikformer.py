# RetinaNet on MetaSpikformer (the large backbone). The three finest levels are made from the last
# three stages, whose true strides are 8, 16 and 16. Losses and assigner are mmdet's.
_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'

integers = dict(type='mmspike.SFA', D=4, norm=1)
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
    bbox_head=dict(
        type='mmspike.SpikeRetinaHead',
        timesteps=1,
        neuron_cfg=integers,
        anchor_generator=dict(strides=[8, 16, 16, 32, 64]),
    ),
)
