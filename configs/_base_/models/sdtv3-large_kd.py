# SDT v3 large with a second linear layer, on spikes, which learns from a teacher (hard
# distillation). The reference's teacher is timm's caformer_b36_in21ft1k; mmpretrain has this one.
# `--cfg-options model.teacher=... model.teacher_checkpoint=...` names another.
_base_ = './sdtv3-large_cls.py'

model = dict(
    type='mmspike.DistilledClassifier',
    teacher='convnext-large_in21k-pre_3rdparty_in1k',
    teacher_checkpoint='checkpoints/convnext-large_in21k-pre_3rdparty_in1k.pth',
    distillation='hard',
    alpha=0.5,
    tau=1.0,
    head=dict(
        type='mmspike.SpikeDistillClsHead',
        analog_fc=True,
        # Not divided by D: the layer reads integers.
        neuron_cfg=dict(_base_.neuron, _delete_=True, norm=1),
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.5), dict(type='CutMix', alpha=1.0)]),
)
