# Mask R-CNN on SDT v2, as the released code builds it: LIF neurons in the backbone, integer ones in
# neck and heads (the LIF neck of the paper was not released). Strides as on MetaSpikformer.
_base_ = './mask-rcnn_metaspikformer.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmspike.SDTV2',
        arch='15M',
        out_indices=(1, 2, 3, 4),
        timesteps=1,
        neuron_cfg=dict(type='mmspike.LIF'),
    ),
)
