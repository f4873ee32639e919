# SDT v3's code has this form for DVS128 Gesture: one transformer block, and integers divided by 8.
# It has no recipe for it; this is that of HAR-DVS.
_base_ = [
    '../../_base_/models/metaspikformer_dvs.py',
    '../../_base_/datasets/dvs128_gesture.py',
    '../../_base_/schedules/har-dvs_adamw_100e.py',
    '../../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(
        # _delete_: the arch of the base is a name.
        arch=dict(
            _delete_=True,
            embed_dims=(32, 64, 128, 256, 360),
            depths=(1, 1, 2, 1, 0),
            num_heads=8,
            stem_stride=2,
        ),
        neuron_cfg=dict(norm=8),
    ),
    head=dict(num_classes=11, topk=(1,)),
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='EMAHook', momentum=1e-3, update_buffers=True),
]

pipeline = [
    dict(type='mmspike.LoadEvents'),
    dict(type='mmspike.IntegrateEvents', timesteps=8, by='number'),
    dict(type='mmspike.PackEventFrames'),
]
train_dataloader = dict(batch_size=24, drop_last=True, dataset=dict(pipeline=pipeline))
val_dataloader = dict(batch_size=24, dataset=dict(pipeline=pipeline))
test_dataloader = val_dataloader
