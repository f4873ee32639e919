# Semantic FPN on SDT v3 large: maps of strides 2, 4, 8 and 16. The reference has no segmentor on
# it; neck and head are those of SDT v3.
_base_ = './semantic-fpn_metaspikformer.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmspike.SDTV3Large',
        arch='12-512-wide-rep',  # the form of the released weights
        out_indices=(0, 1, 2, 3),
        timesteps=1,
        drop_path_rate=0.1,
        neuron_cfg=dict(type='mmspike.SFA', D=4, rounding='half_up', grad_window='strict'),
        norm_cfg=_base_.norm_cfg,
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
