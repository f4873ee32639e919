# SDT 2-256 on event frames of 64x64 with two polarities, as for CIFAR10-DVS: k and v are pooled, a
# loss at every time step.
neuron = dict(type='mmspike.LIF')
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmspike.SDT',
        arch='2-256',
        pooling_stat='0011',
        dvs_pool=True,
        in_channels=2,
        timesteps=10,
        neuron_cfg=neuron,
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='mmspike.SpikeLinearClsHead',
        num_classes=10,
        in_channels=256,
        timesteps=10,
        neuron_cfg=neuron,
        loss=dict(type='mmspike.TETLoss'),
        topk=(1,),
        init_cfg=None,
    ),
)
