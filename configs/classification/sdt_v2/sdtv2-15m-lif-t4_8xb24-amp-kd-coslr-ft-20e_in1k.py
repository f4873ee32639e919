_base_ = [
    '../../_base_/models/sdtv2_cls.py',
    '../../_base_/datasets/imagenet_bs128_swin_224.py',
    '../../_base_/schedules/imagenet_lamb_ft-20e.py',
    '../../_base_/classification_runtime.py',
]

# Fine-tuned with four steps, from weights that were trained with one.
load_from = 'checkpoints/sdtv2-15m-lif-t1_in1k.pth'

# Hard distillation. The reference's teacher is timm's caformer_b36_in21ft1k; mmpretrain has this
# one. `--cfg-options model.teacher=... model.teacher_checkpoint=...` names another.
model = dict(
    type='mmspike.DistilledClassifier',
    teacher='convnext-large_in21k-pre_3rdparty_in1k',
    teacher_checkpoint='checkpoints/convnext-large_in21k-pre_3rdparty_in1k.pth',
    distillation='hard',
    alpha=0.5,
    tau=1.0,
    backbone=dict(arch='15M', timesteps=4),
    head=dict(type='mmspike.SpikeDistillClsHead', in_channels=360, timesteps=4),
)
train_dataloader = dict(batch_size=24)
