"""Checkpoints as training writes them, of small configs."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from mmengine.runner import Runner

from mmspike.files import newest_checkpoint
from support.paths import ROOT
from support.small_runs import DIGITS, small_config

CLASSIFICATION = DIGITS
CLASSIFICATION_T4 = next(DIGITS.parent.glob('*digits-lif-t4*.py'))
DETECTION = next((ROOT / 'configs/detection/digit-scenes').glob('mask-rcnn*.py'))
SEGMENTATION = next((ROOT / 'configs/segmentation/digit-scenes').glob('semantic-fpn*.py'))
_FOLDER = TemporaryDirectory()


@cache
def trained(path: Path) -> tuple[Path, Path]:
    """Train a config of the repository for one step; return the small config and the checkpoint.

    Call it in a test, not in a fixture of larger scope: a Runner changes the default scope.
    """
    folder = Path(_FOLDER.name, path.stem)
    cfg = small_config(path, folder)
    # With the statistics of the one step: those that norms begin with would silence the neurons.
    cfg.model.backbone.norm_cfg = dict(type='BN', momentum=1.0)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    Runner.from_cfg(cfg).train()
    config = folder / 'small.py'
    cfg.dump(config)
    return config, newest_checkpoint(cfg.work_dir)


def scene(path: Path) -> Path:
    """A validation image of a small config of scenes."""
    trained(path)
    return Path(_FOLDER.name, path.stem, 'scenes/images/validation/digits_000000.png')
