_base_ = [
    '../../_base_/models/sdtv2_cls.py',
    '../../_base_/datasets/digits_bs32.py',
    '../../_base_/schedules/digits_adamw_15e.py',
    '../../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(
        # A small network for 32x32 pixels. _delete_: a dict in place of a name.
        arch=dict(
            _delete_=True,
            embed_dims=(8, 16, 32, 64, 96),
            depths=(1, 1, 1, 1, 1),
            num_heads=4,
            stem_stride=1,
        ),
        timesteps=4,
        # 16 tokens make small products: at the reference's threshold, 0.5, the attention is silent
        # and the network hardly learns (35 %).
        out_neuron_cfg=dict(type='mmspike.LIF', threshold=0.1),
    ),
    head=dict(num_classes=10, in_channels=96, timesteps=4, topk=(1,)),
)
default_hooks = dict(logger=dict(interval=15))
