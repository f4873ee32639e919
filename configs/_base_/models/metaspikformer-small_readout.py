# The backbone of all detectors and segmentors with heads without spikes: a config adds
# `out_indices`.
# The published classification weights, converted; the READMEs of the stock_heads say how.
pretrained = 'checkpoints/metaspikformer-small-sfa-t1d4_in1k.pth'
backbone = dict(
    type='mmspike.MetaSpikformer',
    arch='small',
    readout=True,
    timesteps=1,
    neuron_cfg=dict(type='mmspike.SFA', D=4),
    init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'),
)
