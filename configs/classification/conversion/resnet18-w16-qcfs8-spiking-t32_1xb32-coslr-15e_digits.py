_base_ = './resnet18-w16_1xb32-coslr-15e_digits.py'

# Test it with the checkpoint of the quantised network; the test reports the accuracy of each step.
model = dict(
    type='mmspike.SpikingModel',
    host='ImageClassifier',
    qcfs=dict(levels=8),
    simulation=dict(timesteps=32, chunk=8, scores_module='head.fc'),
)
test_evaluator = [
    dict(type='Accuracy', topk=(1,)),
    dict(type='mmspike.AccuracyOverTime'),
]
val_evaluator = test_evaluator
