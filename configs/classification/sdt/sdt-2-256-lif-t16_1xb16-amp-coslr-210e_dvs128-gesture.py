_base_ = [
    '../../_base_/models/sdt_dvs_128.py',
    '../../_base_/datasets/dvs128_gesture.py',
    '../../_base_/schedules/dvs128-gesture_lamb_210e.py',
    '../../_base_/classification_runtime.py',
]

# _delete_: the loss of the base has other arguments.
model = dict(
    head=dict(
        loss=dict(_delete_=True, type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')
    )
)
