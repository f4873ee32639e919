# SDT v3 large as an image classifier; arch and in_channels of the head are set by the configs that
# build on it. The one linear layer reads membranes, as in the reference before distillation.
neuron = dict(type='mmspike.SFA', D=4, rounding='half_up', grad_window='strict')
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmspike.SDTV3Large',
        arch='12-512',
        timesteps=1,
        drop_path_rate=0.1,
        neuron_cfg=neuron,
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='mmspike.SpikeLinearClsHead',
        num_classes=1000,
        in_channels=512,
        timesteps=1,
        neuron_cfg=None,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        topk=(1, 5),
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
