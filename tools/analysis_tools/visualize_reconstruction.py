"""Show what a masked autoencoder fills in: images, what it sees of them, and what it predicts.

An image is scaled until it covers the size that the decoder was built for, and its middle is taken.
The picture is written to work_dirs/reconstructions/<config name>.png.
"""

import argparse
import math
import sys
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

import cv2
import numpy as np
import torch
from mmengine.registry import init_default_scope
from torch import Tensor

from mmspike.apis.arguments import add_cfg_options, add_device
from mmspike.apis.config import load_config
from mmspike.apis.inference import check_device, read_image
from mmspike.apis.model import build_model
from mmspike.files import atomic_write, forbid_code_in_checkpoints
from mmspike.neurons import NeuronMismatchError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file of a pre-training')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('images', type=Path, nargs='+', help='image files')
    parser.add_argument(
        '--out', type=Path, help='file; default work_dirs/reconstructions/<config name>.png'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the masks')
    add_device(parser)
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.out is None:
        args.out = Path('work_dirs', 'reconstructions', Path(args.config).stem + '.png')
    return args


def fitted(path: Path, size: tuple[int, int]) -> Tensor:
    """The middle of an image at a size (height, width): ``(3, height, width)``, uint8, BGR."""
    pixels = read_image(path)
    scale = max(wanted / found for wanted, found in zip(size, pixels.shape[:2], strict=True))
    height, width = (math.ceil(side * scale) for side in pixels.shape[:2])
    pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    middle = pixels[top : top + size[0], left : left + size[1]]
    return torch.from_numpy(np.ascontiguousarray(middle.transpose(2, 0, 1)))


def main() -> None:
    forbid_code_in_checkpoints()
    args = parse_args()
    try:
        for path in args.images:
            if not path.is_file():
                raise FileNotFoundError(f'there is no image {path}')
        check_device(args.device)
        cfg = load_config(args.config, args.cfg_options)
        init_default_scope(cfg.get('default_scope', 'mmpretrain'))
        model = build_model(cfg, args.checkpoint, args.device)
        if not hasattr(model, 'reconstruct'):
            raise ValueError(
                f'the model of {args.config} is a {type(model).__name__}; only a masked '
                'autoencoder (mmspike.SMAE) reconstructs images'
            )
        grid, side = model.neck.grid, model.backbone.patch_size
        size = grid[0] * side, grid[1] * side
        inputs = torch.stack([fitted(path, size) for path in args.images])
    except (OSError, ValueError, NeuronMismatchError) as error:
        sys.exit(f'visualize_reconstruction.py: {error}')
    from mmspike.selfsup.pictures import picture

    images = model.data_preprocessor(dict(inputs=inputs, data_samples=[]))['inputs']
    generator = torch.Generator().manual_seed(args.seed)
    noise = torch.rand(len(images), grid[0] * grid[1], generator=generator)
    figure = picture(model, images, noise.to(images.device))
    with atomic_write(args.out) as file:
        figure.savefig(file, format='png', dpi=120)
    print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
