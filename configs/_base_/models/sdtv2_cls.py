# SDT v2 ("Meta-SpikeFormer") as an image classifier; arch and in_channels of the head are set by
# the configs that build on it. One step: the reference trains so and fine-tunes with four.
neuron = dict(type='mmspike.LIF')
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmspike.SDTV2', arch='15M', timesteps=1, neuron_cfg=neuron),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='mmspike.SpikeLinearClsHead',
        num_classes=1000,
        in_channels=360,
        timesteps=1,
        neuron_cfg=neuron,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        topk=(1, 5),
    ),
)
