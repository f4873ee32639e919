_base_ = './sdt-8-384-lif-t4_8xb48-amp-coslr-310e_in1k.py'

model = dict(backbone=dict(arch='8-512'), head=dict(in_channels=512))
