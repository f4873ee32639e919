_base_ = [
    '../../_base_/models/sdtv3-large_kd.py',
    '../../_base_/datasets/imagenet_bs128_swin_224.py',
    '../../_base_/schedules/imagenet_lamb_kd-100e.py',
    '../../_base_/classification_runtime.py',
]

# The classifier that followed the masked pre-training; README.md here says how.
load_from = 'work_dirs/sdtv3-12-768-sfa-t1d4_smae-pre_8xb128-amp-coslr-150e_in1k/epoch_150.pth'
model = dict(backbone=dict(arch='12-768-smae'), head=dict(in_channels=768))
train_dataloader = dict(batch_size=196)
