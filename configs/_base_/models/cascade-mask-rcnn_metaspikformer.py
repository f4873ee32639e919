# Cascade Mask R-CNN on MetaSpikformer (the large backbone), with the true strides; see
# mask-rcnn_metaspikformer.py. Stages, assigners and samplers are mmdet's.
_base_ = 'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py'

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
        # _delete_: in place of a smooth L1 with its beta.
        loss_bbox=dict(_delete_=True, type='L1Loss', loss_weight=1.0),
    ),
    roi_head=dict(
        type='mmspike.SpikeCascadeRoIHead',
        timesteps=1,
        bbox_roi_extractor=dict(featmap_strides=strides),
        bbox_head=[
            dict(
                type='mmspike.SpikeShared4Conv1FCBBoxHead',
                in_channels=256,
                conv_out_channels=256,
                fc_out_channels=1024,
                roi_feat_size=7,
                num_classes=80,
                neuron_cfg=integers,
                norm_cfg=dict(type='SyncBN', requires_grad=True),
                bbox_coder=stage.bbox_coder,
                reg_class_agnostic=True,
                reg_decoded_bbox=True,
                loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
                loss_bbox=dict(type='GIoULoss', loss_weight=10.0),
            )
            for stage in _base_.model.roi_head.bbox_head
        ],
        mask_roi_extractor=dict(featmap_strides=strides),
        mask_head=dict(type='mmspike.SpikeFCNMaskHead', neuron_cfg=integers),
    ),
    train_cfg=dict(rpn=dict(allowed_border=-1), rpn_proposal=dict(max_per_img=1000)),
)
