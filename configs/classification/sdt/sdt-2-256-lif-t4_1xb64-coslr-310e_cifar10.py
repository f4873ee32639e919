_base_ = './sdt-2-512-lif-t4_1xb64-coslr-310e_cifar10.py'

model = dict(backbone=dict(arch='2-256'), head=dict(in_channels=256))
