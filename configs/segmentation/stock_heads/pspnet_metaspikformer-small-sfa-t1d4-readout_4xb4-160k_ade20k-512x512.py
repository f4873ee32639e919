_base_ = [
    '../../_base_/models/stock-segmentor_metaspikformer.py',
    '../../_base_/datasets/ade20k_512.py',
    '../../_base_/schedules/ade20k_adamw_160k.py',
    '../../_base_/segmentation_runtime.py',
]

# Stages 3 and 4 both have stride 16; mmseg's ResNets are dilated to 8. Channels are those of the
# smallest PSPNet of mmseg, on a ResNet-18.
model = dict(
    backbone=dict(out_indices=(3, 4)),
    decode_head=dict(
        type='PSPHead', in_channels=192, in_index=1, channels=128, pool_scales=(1, 2, 3, 6)
    ),
    auxiliary_head=dict(in_index=0),
)
# The schedule's AdamW (1e-3, heads twice as fast), where mmseg's PSPNet has SGD, 0.01.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(auxiliary_head=dict(lr_mult=2.0))))
