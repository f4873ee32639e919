_base_ = './sdt-2-512-lif-t4_1xb64-coslr-310e_cifar10.py'

# A loss at every time step. _delete_: the loss that the base had is the one of a step.
model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='mmspike.TETLoss',
            loss_ce=dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        )
    )
)
