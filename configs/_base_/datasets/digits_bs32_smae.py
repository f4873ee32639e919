# The handwritten digits for masked pre-training; nothing is evaluated.
_base_ = './digits_bs32.py'

data_preprocessor = dict(
    _delete_=True,
    type='SelfSupDataPreprocessor',
    mean=[78.0, 78.0, 78.0],
    std=[96.0, 96.0, 96.0],
)
train_dataloader = dict(collate_fn=dict(type='default_collate'))
val_dataloader = val_evaluator = None
test_dataloader = test_evaluator = None
