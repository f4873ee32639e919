# SDT v2 at four steps with a second linear layer, which learns from a teacher (hard distillation).
# The reference's teacher is timm's caformer_b36_in21ft1k; mmpretrain has this one.
# `--cfg-options model.teacher=... model.teacher_checkpoint=...` names another.
_base_ = './sdtv2_cls.py'

model = dict(
    type='mmspike.DistilledClassifier',
    teacher='convnext-large_in21k-pre_3rdparty_in1k',
    teacher_checkpoint='checkpoints/convnext-large_in21k-pre_3rdparty_in1k.pth',
    distillation='hard',
    alpha=0.5,
    tau=1.0,
    backbone=dict(timesteps=4),
    head=dict(type='mmspike.SpikeDistillClsHead', timesteps=4),
)
