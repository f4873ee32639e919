_base_ = [
    '../../_base_/models/mst_cls.py',
    '../../_base_/datasets/cifar10_bs128_224.py',
    '../../_base_/schedules/imagenet_adamw_300e.py',
    '../../_base_/classification_runtime.py',
]

# Begins with the ImageNet weights. There are no norms in the MLPs on CIFAR: those are left out.
pretrained = 'checkpoints/mst-tiny-qcfs16-t1_in1k.pth'
model = dict(
    backbone=dict(
        arch='tiny',
        mlp_norm=False,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.'),
    ),
    head=dict(num_classes=10),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
# The schedule of ImageNet, of 100 epochs.
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=20,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR', T_max=80, eta_min=1e-5, by_epoch=True, begin=20, end=100,
        convert_to_iter_based=True,
    ),
]  # fmt: skip
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(enable=False, base_batch_size=128)
