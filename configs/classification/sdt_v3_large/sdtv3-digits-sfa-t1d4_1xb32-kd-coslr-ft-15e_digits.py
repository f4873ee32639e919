_base_ = './sdtv3-digits-sfa-t1d4_1xb32-coslr-15e_digits.py'

# The classifier that followed the masked pre-training, and a MetaSpikformer as its teacher;
# README.md here says how.
load_from = 'work_dirs/sdtv3-digits-sfa-t1d4_smae-pre_1xb32-coslr-15e_digits/epoch_15.pth'
model = dict(
    type='mmspike.DistilledClassifier',
    teacher=dict(
        type='ImageClassifier',
        backbone=dict(
            type='mmspike.MetaSpikformer',
            arch=dict(
                embed_dims=(8, 16, 32, 64, 96),
                depths=(1, 1, 1, 2, 1),
                num_heads=4,
                stem_stride=1,
            ),
            neuron_cfg=dict(type='mmspike.SFA', D=4),
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='mmspike.SpikeLinearClsHead', num_classes=10, in_channels=96),
    ),
    teacher_checkpoint='checkpoints/metaspikformer-digits-sfa-t1d4.pth',
    distillation='hard',
    head=dict(
        type='mmspike.SpikeDistillClsHead',
        analog_fc=True,
        neuron_cfg=dict(_base_.neuron, _delete_=True, norm=1),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=4e-4))
