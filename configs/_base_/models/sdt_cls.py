# SDT ("Spike-driven Transformer") as an image classifier; arch, in_channels of the head and, for
# small images, pooling_stat are set by the configs that build on it.
neuron = dict(type='mmspike.LIF')
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmspike.SDT',
        arch='8-384',
        pooling_stat='1111',
        timesteps=4,
        neuron_cfg=neuron,
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='mmspike.SpikeLinearClsHead',
        num_classes=1000,
        in_channels=384,
        timesteps=4,
        neuron_cfg=neuron,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        topk=(1, 5),
        # As the reference, which keeps the initialisation of torch for the classifier.
        init_cfg=None,
    ),
)
