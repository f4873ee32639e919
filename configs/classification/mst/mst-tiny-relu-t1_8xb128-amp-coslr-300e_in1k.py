_base_ = './mst-tiny-qcfs16-t1_8xb128-amp-coslr-300e_in1k.py'

# _delete_: ReLU has none of the options of QCFS.
model = dict(backbone=dict(neuron_cfg=dict(_delete_=True, type='ReLU')))
