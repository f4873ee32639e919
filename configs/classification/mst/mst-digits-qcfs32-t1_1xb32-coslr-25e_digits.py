_base_ = [
    '../../_base_/models/mst_cls.py',
    '../../_base_/datasets/digits_bs32.py',
    '../../_base_/schedules/digits_adamw_15e.py',
    '../../_base_/classification_runtime.py',
]

model = dict(
    # 8x8 tokens, then 4x4: windows of 4 shift in the first stage.
    backbone=dict(
        arch=dict(embed_dims=48, depths=(2, 2), num_heads=(3, 6), window_size=4),
        out_indices=(1,),
        drop_path_rate=0.0,
        # As fine and as low as 64 steps of spikes can represent.
        neuron_cfg=dict(levels=32, init_threshold=1.5),
        # The 0.02 of Swin is for layers ten times as wide; hardly any neuron would fire here.
        init_cfg=dict(type='TruncNormal', layer='Conv2d', std=0.1),
    ),
    head=dict(num_classes=10, in_channels=96, topk=(1,)),
)
# Thresholds and position biases do not decay, because they are no weights of a layer.
optim_wrapper = dict(
    optimizer=dict(lr=3e-3),
    paramwise_cfg=dict(
        custom_keys={
            'threshold': dict(decay_mult=0.0),
            'relative_position_bias_table': dict(decay_mult=0.0),
        }
    ),
)
# The schedule of the base, of 25 epochs.
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-2,
        by_epoch=True,
        begin=0,
        end=2,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=23,
        eta_min=1e-5,
        by_epoch=True,
        begin=2,
        end=25,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=25)
default_hooks = dict(logger=dict(interval=15))
