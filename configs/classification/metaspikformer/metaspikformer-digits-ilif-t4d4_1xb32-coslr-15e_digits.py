_base_ = './metaspikformer-digits-sfa-t1d4_1xb32-coslr-15e_digits.py'


# _delete_: the options of the stateless neuron do not apply.
model = dict(
    backbone=dict(timesteps=4, neuron_cfg=dict(_delete_=True, type='mmspike.ILIF', D=4, norm=None)),
    head=dict(timesteps=4, neuron_cfg=dict(_delete_=True, type='mmspike.ILIF', D=4, norm=1)),
)
