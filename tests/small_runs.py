"""Makes real configs small enough for a test."""

from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

from mmspike.utils.config import load_config
from mmspike.utils.launch import adapt_to_devices

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = sorted(path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)
DIGITS = ROOT / (
    'configs/classification/metaspikformer/metaspikformer-digits-sfa-t1d4_1xb32-coslr-15e_digits.py'
)

# Image sizes in the pipelines of the configs -> sizes for a test.
_SIZES = {224: 64, 232: 72}


def make_imagenet(folder: Path) -> None:
    """Four noise images in ImageNet's layout, with annotation files."""
    random = np.random.default_rng(0)
    for split in ('train', 'val'):
        lines = []
        for i in range(4):
            name = f'image_{i}.JPEG'
            (folder / split).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(
                str(folder / split / name), random.integers(0, 256, (80, 100, 3), dtype=np.uint8)
            )
            lines.append(f'{name} {i * 250}\n')
        (folder / f'{split}.txt').write_text(''.join(lines))


def shrink(cfg: Config, folder: Path) -> None:
    """Reduce a config, in place, to one small step and one evaluation."""
    make_imagenet(folder / 'imagenet')
    for part in ('train', 'val', 'test'):
        loader = cfg[f'{part}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        dataset = loader.dataset
        if dataset.type == 'ImageNet':
            split = 'train' if part == 'train' else 'val'
            dataset.update(data_root=str(folder / 'imagenet'), ann_file=f'{split}.txt')
        else:
            dataset.indices = 4
        for transform in dataset.pipeline:
            for key, value in transform.items():
                if isinstance(value, int) and value in _SIZES:
                    transform[key] = _SIZES[value]
    cfg.train_cfg.update(max_epochs=1, val_interval=1)


def small_config(path: Path, folder: Path, **options) -> Config:
    """A config of the repository, shrunk and adapted to this machine."""
    cfg = load_config(path, options, str(folder / 'work'))
    shrink(cfg, folder)
    adapt_to_devices(cfg, 'none')
    return cfg
