model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmspike.Toy', width=8, timesteps=2),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='mmspike.SpikeLinearClsHead',
        num_classes=10,
        in_channels=32,
        timesteps=2,
        neuron_cfg=dict(type='mmspike.LIF'),
        topk=(1,),
    ),
)
