# SDT v3 for event frames with two polarities, as for HAR-DVS: learned factors on the branches of
# the transformer blocks, and integers 0..4 in all layers (not divided by D). The reference's neuron
# adds its input to a membrane that is reset before each call; that is SFA.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmspike.MetaSpikformer',
        arch='large',
        in_channels=2,
        timesteps=8,
        neuron_cfg=dict(type='mmspike.SFA', D=4, norm=1),
        layer_scale_init_value=1e-6,
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='mmspike.SpikeLinearClsHead',
        num_classes=300,
        in_channels=360,
        timesteps=8,
        neuron_cfg=dict(type='mmspike.SFA', D=4, norm=1),
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        topk=(1, 5),
    ),
)
