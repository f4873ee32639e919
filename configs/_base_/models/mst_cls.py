# MST as an image classifier, in the form that is trained: QCFS neurons, one time step. arch,
# drop_path_rate and in_channels of the head are set by the configs that build on it.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmspike.MST',
        drop_path_rate=0.2,
        neuron_cfg=dict(type='mmspike.QCFS', levels=16, init_threshold=2.0),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=768,
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        topk=(1, 5),
    ),
)
