"""SDT v3's masked autoencoder on its reference cases; see :mod:`support.parity`."""

from torch import Tensor

from mmspike.backbones.sdt_v3_large import ARCHS
from mmspike.converters import convert_sdtv3_smae
from mmspike.selfsup import SMAEDecoder, SMAEEncoder, SMAEHead
from support.reference_cases import Case
from support.reference_model import ReferenceModel, with_heads

LOSS = dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2')


class SmaeReference(ReferenceModel):
    """The parts of SMAE, with the reference's order of tokens."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        conversion = convert_sdtv3_smae(case.weights())
        options = case.meta['constructor']
        patch_size, channels = options['patch_size'], options['in_channels']
        # An argument of the reference's forward: 1 where a patch is visible.
        visible = float(case.expected('active')[0].mean())
        self.backbone = SMAEEncoder(
            with_heads(conversion.arch, ARCHS, options['num_heads']),
            in_channels=channels,
            mask_ratio=1 - visible,
            legacy_token_order=True,
        )
        self.neck = SMAEDecoder(
            (options['img_size_h'], options['img_size_w']),
            patch_size,
            embed_dim=options['embed_dim'][-1],
            decoder_embed_dim=options['decoder_embed_dim'],
            decoder_depth=options['decoder_depth'],
            decoder_num_heads=options['decoder_num_heads'],
            in_chans=channels,
        )
        self.head = SMAEHead(LOSS, norm_pix=True, patch_size=patch_size, in_channels=channels)
        self.load(conversion, case)

    def forward(self, x: Tensor, noise: Tensor) -> dict[str, Tensor]:
        latent = []
        handle = self.neck.encoder_norm.register_forward_hook(
            lambda module, args, out: latent.append(out.unflatten(0, (len(x), -1)))
        )
        tokens, mask, ids_restore = self.backbone(x, noise=noise)
        pred = self.neck(tokens, ids_restore)
        handle.remove()
        patches = self.head.patchify(x)
        return dict(
            loss=self.head.loss(pred, x, mask),
            latent=latent[0],
            reconstruction=pred,
            active=1 - mask,
            ids_restore=ids_restore,
            patch_mean=patches.mean(-1),
            patch_std=(patches.var(-1) + 1e-6).sqrt(),
        )
