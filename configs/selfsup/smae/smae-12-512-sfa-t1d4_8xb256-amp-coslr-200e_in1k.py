_base_ = [
    '../../_base_/models/smae.py',
    '../../_base_/datasets/imagenet_bs256_smae_224.py',
    '../../_base_/schedules/imagenet_adamw_smae-200e.py',
    '../../_base_/selfsup_runtime.py',
]

model = dict(backbone=dict(arch='12-512'), neck=dict(embed_dim=512))
