# SDT 2-256 on event frames of 128x128 with two polarities, as for DVS128 Gesture: one pool more
# before the tokens; k and v are not pooled in the reference, whose switch leaves this set out.
neuron = dict(type='mmspike.LIF')
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmspike.SDT',
        arch='2-256',
        pooling_stat='0111',
        in_channels=2,
        timesteps=16,
        neuron_cfg=neuron,
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='mmspike.SpikeLinearClsHead',
        num_classes=11,
        in_channels=256,
        timesteps=16,
        neuron_cfg=neuron,
        loss=dict(type='CrossEntropyLoss'),
        topk=(1,),
        init_cfg=None,
    ),
)
