_base_ = [
    '../../_base_/models/sdtv3-large_kd.py',
    '../../_base_/datasets/imagenet_bs128_swin_224.py',
    '../../_base_/schedules/imagenet_lamb_kd-100e.py',
    '../../_base_/classification_runtime.py',
]

# The form of the released weights, with the wider branch, rep_expansion=1.5.
model = dict(
    backbone=dict(arch='12-512-wide-rep', neuron_cfg=dict(D=8)),
    head=dict(in_channels=512, neuron_cfg=dict(D=8)),
)
train_dataloader = dict(batch_size=196)
