# SDT v2 from one step to four as the commands of the released code have it: 50 epochs, 5 of them
# warm-up. The paper says 20 and 2: imagenet_lamb_ft-20e.py.
_base_ = './imagenet_lamb_ft-20e.py'

param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-6,
        by_epoch=True,
        begin=0,
        end=5,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=45,
        eta_min=1e-6,
        by_epoch=True,
        begin=5,
        end=50,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=50)
