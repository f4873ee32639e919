_base_ = './mst-digits-qcfs32-t1_1xb32-coslr-25e_digits.py'

# Test it with the checkpoint of the quantised network; the test reports the accuracy of each step.
# The last norm, and the classifier, take the mean of all steps so far.
model = dict(
    type='mmspike.SpikingModel',
    host='ImageClassifier',
    backbone=dict(readout=True),
    simulation=dict(timesteps=64, chunk=8, scores_module='head'),
)
test_evaluator = [
    dict(type='Accuracy', topk=(1,)),
    dict(type='mmspike.AccuracyOverTime'),
]
val_evaluator = test_evaluator
