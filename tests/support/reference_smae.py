"""SDT v3's masked autoencoder on its reference cases; see :mod:`support.reference_cases`."""

import numpy as np
import torch
from torch import Tensor

from mmspike.converters import convert_sdtv3_smae
from mmspike.selfsup import SMAE, SMAEDecoder, SMAEEncoder, SMAEHead
from support.reference_cases import (
    Case,
    Difference,
    compare_gradients,
    compare_outputs,
    seeded,
)

SMAE_CASES = ('sdtv3_spikmae', 'sdtv3_spikmae_train')
LOSS = dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2')


def noise_of(case: Case) -> Tensor:
    """The random numbers that decide which patches are masked."""
    spec = case.meta['inputs']['noise']
    noise = seeded(spec['seed_text'].removesuffix(' (uniform)')).random(spec['shape'])
    np.testing.assert_array_equal(noise.astype(np.float32), case.numbers['input/noise'])
    return torch.from_numpy(noise.astype(np.float32))


def smae_of(case: Case) -> SMAE:
    """SMAE with the reference's order of tokens, loaded through the converter."""
    conversion = convert_sdtv3_smae(case.weights())
    assert not conversion.missing
    assert not conversion.unexpected
    options = case.meta['constructor']
    model = SMAE(
        SMAEEncoder(conversion.arch, legacy_token_order=True),
        SMAEDecoder(
            embed_dim=options['embed_dim'][-1],
            decoder_embed_dim=options['decoder_embed_dim'],
            decoder_depth=options['decoder_depth'],
            decoder_num_heads=options['decoder_num_heads'],
        ),
        SMAEHead(LOSS, norm_pix=True),
    )
    model.load_state_dict(conversion.state_dict)
    model.conversion = conversion
    return model.train(case.meta['mode'] == 'train')


def outputs_of(model: SMAE, x: Tensor, noise: Tensor) -> dict[str, Tensor]:
    """What the reference's cases hold."""
    latent = []
    handle = model.neck.encoder_norm.register_forward_hook(
        lambda module, args, out: latent.append(out.unflatten(0, (len(x), -1)))
    )
    tokens, mask, ids_restore = model.backbone(x, noise=noise)
    pred = model.neck(tokens, ids_restore)
    handle.remove()
    patches = model.head.patchify(x)
    return dict(
        loss=model.head.loss(pred, x, mask),
        latent=latent[0],
        reconstruction=pred,
        active=1 - mask,
        ids_restore=ids_restore,
        patch_mean=patches.mean(-1),
        patch_std=(patches.var(-1) + 1e-6).sqrt(),
    )


def compare_smae(name: str) -> list[Difference]:
    """Loss, latent, reconstruction, masks, running statistics and gradients of a case."""
    case = Case.load(name)
    model = smae_of(case)
    x = case.input().requires_grad_()
    outputs = outputs_of(model, x, noise_of(case))
    return compare_outputs(case, outputs) + compare_gradients(case, model, outputs, x)
