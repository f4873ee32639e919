_base_ = [
    '../../_base_/models/sdt_dvs_64.py',
    '../../_base_/datasets/cifar10_dvs.py',
    '../../_base_/schedules/cifar10-dvs_adamw_210e.py',
    '../../_base_/classification_runtime.py',
]

model = dict(
    head=dict(
        loss=dict(
            loss_ce=dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1, mode='original')
        )
    )
)
