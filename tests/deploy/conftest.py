"""One small exported network for all tests that need any."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmspike.deploy import export_onnx
from mmspike.hosts import Network
from support.exported_networks import firing_model
from support.small_runs import CONFIGS


@dataclass
class Export:
    """A classifier of digits and its file.

    Attributes:
        cfg, model: What was exported.
        checkpoint: Its weights.
        file: The file, in float32.
    """

    cfg: Config
    model: Any
    checkpoint: Path
    file: Path

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """What the checkpoint answers to prepared images."""
        with torch.no_grad():
            return Network(self.model)(images)[0]


def small_export(folder: Path, precision: str) -> Export:
    """Export a small SDT."""
    torch.manual_seed(0)
    path = next(path for path in CONFIGS if path.name.startswith('sdt-digits'))
    options = {'model.backbone.arch.embed_dims': 16, 'model.head.in_channels': 16}
    cfg, model = firing_model(path, folder, torch.randn(4, 3, 32, 32), **options)
    checkpoint = folder / 'weights.pth'
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    cfg.dump(folder / 'config.py')
    (file,) = export_onnx(cfg, model, folder / 'model.onnx', precision=precision)
    return Export(cfg, model, checkpoint, file)


@pytest.fixture(scope='session')
def exported(tmp_path_factory):
    return small_export(tmp_path_factory.mktemp('exported'), 'float32')


@pytest.fixture(scope='session')
def exported_int8(tmp_path_factory):
    return small_export(tmp_path_factory.mktemp('exported_int8'), 'int8')
