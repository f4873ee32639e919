_base_ = './resnet18-w16_1xb32-coslr-15e_digits.py'

# The same network with 8-level activations, trained with them from the start.
model = dict(
    type='mmspike.QuantisedModel',
    host='ImageClassifier',
    qcfs=dict(levels=8, thresholds=2.0),
)
