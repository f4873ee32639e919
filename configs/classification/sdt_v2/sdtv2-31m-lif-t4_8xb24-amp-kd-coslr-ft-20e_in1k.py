_base_ = [
    '../../_base_/models/sdtv2_kd.py',
    '../../_base_/datasets/imagenet_bs128_swin_224.py',
    '../../_base_/schedules/imagenet_lamb_ft-20e.py',
    '../../_base_/classification_runtime.py',
]

# Fine-tuned with four steps, from weights that were trained with one.
load_from = 'checkpoints/sdtv2-31m-lif-t1_in1k.pth'
model = dict(backbone=dict(arch='31M'), head=dict(in_channels=480))
train_dataloader = dict(batch_size=24)
