# A small masked autoencoder for 32x32 pixels: 16 patches of 8x8.
_base_ = './smae.py'

model = dict(
    backbone=dict(
        # _delete_: a dict in place of a name.
        arch=dict(
            _delete_=True,
            embed_dims=(16, 32, 64, 96),
            depths=(1, 1, 1, 2),
            num_heads=4,
            stem_stride=1,
            rep_expansion=1.0,
        ),
    ),
    neck=dict(
        img_size=32,
        patch_size=8,
        embed_dim=96,
        decoder_embed_dim=64,
        decoder_depth=2,
        decoder_num_heads=4,
    ),
    head=dict(patch_size=8),
)
