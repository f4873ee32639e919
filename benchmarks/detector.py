"""One training step of Mask R-CNN: MetaSpikformer with spiking neck and heads beside ResNet-50.

Both are built from configs, see the same random image with the same objects, and run interleaved;
medians over rounds. A step is losses, backward and AdamW.
"""

import argparse
import random
import statistics
import time
from pathlib import Path

import mmdet
import numpy as np
import torch
from memory import keep_memory, kept_bytes, peak_bytes
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn
from torch.profiler import ProfilerActivity, profile

from mmspike.apis.config import load_config

ROOT = Path(__file__).resolve().parent.parent
OURS = 'configs/detection/metaspikformer/mask-rcnn_metaspikformer-{}-sfa-t1d4_fpn_2xb4-1x_coco.py'
STOCK = Path(mmdet.__file__).parent / '.mim/configs/_base_/models/mask-rcnn_r50_fpn.py'
# Part of an operator's name -> what it is counted as; the first that fits.
GROUPS = {
    'mmspike': 'neurons',
    'convolution': 'convolutions',
    'batch_norm': 'batch norms',
    'RoIAlign': 'RoIAlign',
    'roi_align': 'RoIAlign',
    'mm': 'linear layers and products',
    'foreach': 'optimiser',
    'adam': 'optimiser',
    'nms': 'proposals, targets, losses',
    'copy_': 'copies, sums, activations',
    'add': 'copies, sums, activations',
    'mul': 'copies, sums, activations',
    'relu': 'copies, sums, activations',
    'clamp_min': 'copies, sums, activations',
    'threshold': 'copies, sums, activations',
    'empty': 'allocation',
    'zero_': 'allocation',
    'fill_': 'allocation',
}
OTHER = 'proposals, targets, losses'


def group(operator: str) -> str:
    return next((name for part, name in GROUPS.items() if part in operator), OTHER)


def make_batch(size: int, batch: int, objects: int) -> dict:
    """Random images with random boxes, whose masks fill them."""
    images, samples = [], []
    for _ in range(batch):
        corners = torch.rand(objects, 2) * size * 0.6
        boxes = torch.cat([corners, corners + 16 + torch.rand(objects, 2) * size * 0.3], dim=1)
        masks = np.zeros((objects, size, size), dtype=np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = 1
        truth = InstanceData(
            bboxes=boxes,
            labels=torch.randint(0, 80, (objects,)),
            masks=BitmapMasks(masks, size, size),
        )
        shape = dict(img_shape=(size, size), ori_shape=(size, size))
        samples.append(DetDataSample(gt_instances=truth, metainfo=shape))
        images.append(torch.randint(0, 256, (3, size, size), dtype=torch.uint8))
    return dict(inputs=images, data_samples=samples)


class Candidate:
    """A detector, its optimiser and one batch.

    Args:
        name: For the tables.
        cfg: Config of the model.
        batch: What it trains on.
    """

    def __init__(self, name: str, cfg: dict, batch: dict) -> None:
        cfg.backbone.pop('init_cfg', None)
        self.name = name
        self.model: nn.Module = MODELS.build(cfg).train()
        self.batch = self.model.data_preprocessor(batch, True)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, lr=1e-6)

    def losses(self) -> torch.Tensor:
        return self.model.parse_losses(self.model(**self.batch, mode='loss'))[0]

    def step(self) -> None:
        self.optimiser.zero_grad()
        self.losses().backward()
        self.optimiser.step()


def shares(candidate: Candidate) -> tuple[dict[str, float], float]:
    """Seconds of a step by kind of operator, and of the step."""
    began = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        candidate.step()
    seconds = time.perf_counter() - began
    found: dict[str, float] = {}
    for event in profiler.key_averages():
        kind = group(event.key)
        found[kind] = found.get(kind, 0.0) + event.self_cpu_time_total / 1e6
    return found, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--arch', choices=('medium', 'large'), default='medium')
    parser.add_argument('--size', type=int, default=512)
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--objects', type=int, default=10, help='per image')
    parser.add_argument('--repetitions', type=int, default=5)
    args = parser.parse_args()
    keep_memory()
    console = Console(width=110)
    torch.manual_seed(0)
    init_default_scope('mmdet')
    batch = make_batch(args.size, args.batch, args.objects)
    ours = load_config(ROOT / OURS.format(args.arch)).model
    contestants = [
        Candidate(f'MetaSpikformer {args.arch}', ours, batch),
        Candidate('ResNet-50', Config.fromfile(STOCK).model, batch),
    ]
    seconds: dict[str, list[float]] = {candidate.name: [] for candidate in contestants}
    for repetition in track(range(args.repetitions + 1), 'running'):
        for candidate in random.sample(contestants, len(contestants)):
            began = time.perf_counter()
            candidate.step()
            if repetition:  # the first round warms up
                seconds[candidate.name].append(time.perf_counter() - began)

    console.print(
        f'Mask R-CNN, {args.size}x{args.size}, batch {args.batch}, {args.objects} objects per '
        f'image, {torch.get_num_threads()} threads, float32'
    )
    table = Table('backbone', 'parameters', 's per step', 'kept MiB', 'peak MiB')
    for candidate in contestants:
        table.add_row(
            candidate.name,
            f'{sum(p.numel() for p in candidate.model.parameters()):,}',
            f'{statistics.median(seconds[candidate.name]):.2f}',
            f'{kept_bytes(candidate.losses) / 2**20:.0f}',
            f'{peak_bytes(candidate.step, "cpu") / 2**20:.0f}',
        )
    console.print(table)

    table = Table('where the time goes', *(candidate.name for candidate in contestants))
    found = [shares(candidate) for candidate in contestants]
    kinds = sorted({k for parts, _ in found for k in parts}, key=lambda k: -found[0][0].get(k, 0))
    for kind in kinds:
        table.add_row(kind, *(f'{parts.get(kind, 0) / whole:.1%}' for parts, whole in found))
    rest = (max(0.0, 1 - sum(parts.values()) / whole) for parts, whole in found)
    table.add_row('outside of operators', *(f'{share:.1%}' for share in rest))
    console.print(table)


if __name__ == '__main__':
    main()
