_base_ = [
    '../../_base_/models/mst_cls.py',
    '../../_base_/datasets/imagenet_bs128_swin_224.py',
    '../../_base_/schedules/imagenet_adamw_300e.py',
    '../../_base_/classification_runtime.py',
]

model = dict(
    # _delete_: ReLU has no options of QCFS.
    backbone=dict(arch='tiny', neuron_cfg=dict(_delete_=True, type='ReLU')),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
