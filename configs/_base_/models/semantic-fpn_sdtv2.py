# Semantic FPN on SDT v2 with LIF neurons throughout. The backbone hands on the mean over its time
# steps, so that neck and head run one step whatever T is.
_base_ = './semantic-fpn_metaspikformer.py'

lif = dict(type='mmspike.LIF')
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmspike.SDTV2',
        arch='15M',
        out_indices=(0, 1, 2, 4),
        readout=True,
        timesteps=1,
        neuron_cfg=lif,
        norm_cfg=_base_.norm_cfg,
    ),
    # As the reference, without norms: they are in the head alone.
    neck=dict(timesteps=None, neuron_cfg=dict(lif, _delete_=True), norm_cfg=None),
    decode_head=dict(timesteps=None, neuron_cfg=dict(lif, _delete_=True)),
)
