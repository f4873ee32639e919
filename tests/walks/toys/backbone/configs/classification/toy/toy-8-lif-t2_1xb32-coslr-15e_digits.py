_base_ = [
    '../../_base_/models/toy_cls.py',
    '../../_base_/datasets/digits_bs32.py',
    '../../_base_/schedules/digits_adamw_15e.py',
    '../../_base_/classification_runtime.py',
]
