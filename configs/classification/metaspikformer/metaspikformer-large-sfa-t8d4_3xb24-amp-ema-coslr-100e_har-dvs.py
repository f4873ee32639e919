# The recipe of SDT v3's code. The code asks for RandAugment and random erasing, but applies
# neither; its frames are pictures that come with HAR-DVS, in black and white per polarity.
_base_ = [
    '../../_base_/models/metaspikformer_dvs.py',
    '../../_base_/datasets/har_dvs.py',
    '../../_base_/schedules/har-dvs_adamw_100e.py',
    '../../_base_/classification_runtime.py',
]

# The average of the weights and of the norms' statistics is evaluated.
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='EMAHook', momentum=1e-3, update_buffers=True),
]
