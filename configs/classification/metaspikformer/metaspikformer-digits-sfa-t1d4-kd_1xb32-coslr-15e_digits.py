_base_ = './metaspikformer-digits-sfa-t1d4_1xb32-coslr-15e_digits.py'

# The network learns from labels and from stored answers of resnet18-w16; README.md contains
# the commands that store it.
model = dict(
    type='mmspike.DistilledClassifier',
    teacher_logits='work_dirs/resnet18-w16_1xb32-coslr-15e_digits/logits',
    distillation='soft',
    alpha=0.5,
    tau=2.0,
    head=dict(type='mmspike.SpikeDistillClsHead'),
)
