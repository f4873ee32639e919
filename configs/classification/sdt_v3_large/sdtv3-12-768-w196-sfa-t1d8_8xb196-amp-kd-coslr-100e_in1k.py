_base_ = [
    '../../_base_/models/sdtv3-large_kd.py',
    '../../_base_/datasets/imagenet_bs128_swin_224.py',
    '../../_base_/schedules/imagenet_lamb_kd-100e.py',
    '../../_base_/classification_runtime.py',
]

# The form of the released weights, with 98 and 196 channels in the first stages.
model = dict(
    backbone=dict(arch='12-768', neuron_cfg=dict(D=8)),
    head=dict(in_channels=768, neuron_cfg=dict(D=8)),
)
train_dataloader = dict(batch_size=196)
