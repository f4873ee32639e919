_base_ = './mst-tiny-qcfs16-t1_1xb128-amp-coslr-100e_cifar10.py'

model = dict(head=dict(num_classes=100))
# As CIFAR-10 except for the name; MST normalises both in the same way.
data_preprocessor = dict(num_classes=100)
dataset = dict(type='CIFAR100', data_root='data/cifar100')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = val_dataloader
