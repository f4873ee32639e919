_base_ = './metaspikformer-digits-sfa-t1d4_1xb32-coslr-15e_digits.py'

# Learns from the labels and from what resnet18-w16 answered to the training images; README.md has
# the commands that store it.
model = dict(
    type='mmspike.DistilledClassifier',
    teacher_logits='work_dirs/resnet18-w16_1xb32-coslr-15e_digits/logits',
    distillation='soft',
    alpha=0.5,
    tau=2.0,
    head=dict(type='mmspike.SpikeDistillClsHead'),
)
