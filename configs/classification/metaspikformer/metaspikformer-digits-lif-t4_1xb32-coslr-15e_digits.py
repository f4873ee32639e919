_base_ = './metaspikformer-digits-sfa-t1d4_1xb32-coslr-15e_digits.py'

neuron = dict(type='mmspike.LIF', tau=2.0)

# _delete_: the options of the integer neuron do not apply.
model = dict(
    backbone=dict(timesteps=4, neuron_cfg=dict(_delete_=True, **neuron)),
    head=dict(timesteps=4, neuron_cfg=dict(_delete_=True, **neuron)),
)
