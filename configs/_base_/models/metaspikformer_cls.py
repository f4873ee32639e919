# SDT v3 base ("E-SpikeFormer") as an image classifier; arch and in_channels of the head are set by
# the configs that build on it.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmspike.MetaSpikformer',
        arch='small',
        timesteps=1,
        neuron_cfg=dict(type='mmspike.SFA', D=4),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='mmspike.SpikeLinearClsHead',
        num_classes=1000,
        in_channels=192,
        timesteps=1,
        # Not divided by D: the classifier reads integers 0..4.
        neuron_cfg=dict(type='mmspike.SFA', D=4, norm=1),
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        topk=(1, 5),
    ),
)
