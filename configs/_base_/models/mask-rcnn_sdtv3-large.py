# Mask R-CNN on SDT v3 large: the backbone's maps of strides 4, 8 and 16, and two more levels by
# pooling. The reference has no detector on it; neck and heads are those of SDT v3.
_base_ = './mask-rcnn_metaspikformer.py'

strides = [4, 8, 16, 32]
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmspike.SDTV3Large',
        arch='12-512-wide-rep',  # the form of the released weights
        out_indices=(1, 2, 3),
        timesteps=1,
        drop_path_rate=0.1,
        neuron_cfg=dict(type='mmspike.SFA', D=4, rounding='half_up', grad_window='strict'),
    ),
    neck=dict(in_channels=[128, 256, 512]),
    rpn_head=dict(anchor_generator=dict(strides=[*strides, 64])),
    roi_head=dict(
        bbox_roi_extractor=dict(featmap_strides=strides),
        mask_roi_extractor=dict(featmap_strides=strides),
    ),
)
