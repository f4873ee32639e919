# Masked pre-training of SDT v3 large; arch and embed_dim are set by the configs that build on it.
# The reference's numbers: half of the patches are masked, and the target of a patch is normalised
# by its own mean and deviation. Its order of tokens is backbone.legacy_token_order=True.
model = dict(
    type='mmspike.SMAE',
    backbone=dict(
        type='mmspike.SMAEEncoder',
        arch='12-512',
        mask_ratio=0.5,
        timesteps=1,
        neuron_cfg=dict(type='mmspike.SFA', D=4, rounding='half_up', grad_window='strict'),
    ),
    neck=dict(
        type='mmspike.SMAEDecoder',
        img_size=224,
        patch_size=16,
        embed_dim=512,
        decoder_embed_dim=256,
        decoder_depth=4,
        decoder_num_heads=4,
    ),
    head=dict(
        type='mmspike.SMAEHead',
        norm_pix=True,
        patch_size=16,
        loss=dict(type='PixelReconstructionLoss', criterion='L2'),
    ),
    init_cfg=[
        dict(type='Xavier', layer='Linear', distribution='uniform'),
        dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
    ],
)
