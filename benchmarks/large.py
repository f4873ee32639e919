"""A training step of SDT v3 large: masked pre-training and fine-tuning, recomputed or not.

The models come from the ImageNet configs, in full precision on the CPU, in mixed precision on a
GPU. A step is the loss, its backward and the optimiser's step; the median of some steps is shown.
Kept is what a forward pass keeps for backward, weights included; peak is the most that a step
allocates beyond weights and the optimiser's moments, gradients included.
"""

import argparse
import statistics
import time

import torch
from memory import keep_memory, kept_bytes, peak_bytes
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample
from rich.console import Console
from rich.table import Table

from mmspike.apis.config import leave_amp_out, load_config
from mmspike.zoo import list_models

CONFIGS = {
    'pre-training': 'smae-{}-sfa-t1d4_*_in1k',
    'fine-tuning': 'sdtv3-{}-sfa-t1d4_smae-pre_*_in1k',
}


def config_of(step: str, arch: str, device: str, with_cp: bool) -> Config:
    """The config of a step, without weights to begin with."""
    (name,) = list_models(CONFIGS[step].format(arch))
    cfg = load_config(f'mmspike::{name}')
    cfg.model.backbone.update(with_cp=with_cp)
    cfg.model.backbone.pop('init_cfg', None)
    if device == 'cpu':
        leave_amp_out(cfg)
    return cfg


class Candidate:
    """A model, its optimiser and one batch of noise."""

    def __init__(self, cfg: Config, batch: int, size: int, device: str) -> None:
        init_default_scope(cfg.default_scope)
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
        self.model: BaseModel = MODELS.build(cfg.model).to(device).train()
        self.optimiser = build_optim_wrapper(self.model, cfg.optim_wrapper)
        self.batch = dict(
            inputs=torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8),
            data_samples=[DataSample().set_gt_label(i) for i in range(batch)],
        )

    def loss(self) -> torch.Tensor:
        """The loss, of which the optimiser's wrapper knows."""
        with self.optimiser.optim_context(self.model):
            data = self.model.data_preprocessor(self.batch, True)
            return self.model.parse_losses(self.model(**data, mode='loss'))[0]

    def step(self) -> None:
        """Loss, backward, update."""
        self.optimiser.update_params(self.loss())


def seconds_of(candidate: Candidate, device: str) -> float:
    """Duration of a step."""
    began = time.perf_counter()
    candidate.step()
    if device != 'cpu':
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--arch', default='12-512', choices=('12-512', '12-768'))
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--repetitions', type=int, default=3)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args()
    keep_memory()
    table = Table('step', 'recomputed', 'parameters', 's per step', 'kept MiB', 'peak MiB')
    for step in CONFIGS:
        for with_cp in (False, True):
            torch.manual_seed(0)
            cfg = config_of(step, args.arch, args.device, with_cp)
            candidate = Candidate(cfg, args.batch, args.size, args.device)
            candidate.step()  # makes the optimiser's moments
            seconds = [seconds_of(candidate, args.device) for _ in range(args.repetitions)]
            table.add_row(
                step,
                'yes' if with_cp else 'no',
                f'{sum(p.numel() for p in candidate.model.parameters()):,}',
                f'{statistics.median(seconds):.2f}',
                f'{kept_bytes(candidate.loss) / 2**20:.0f}',
                f'{peak_bytes(candidate.step, args.device) / 2**20:.0f}',
            )
    console = Console(width=110)
    console.print(
        f'SDT v3 large {args.arch}, {args.size}x{args.size}, batch {args.batch}, {args.device}, '
        f'{torch.get_num_threads()} threads, torch {torch.__version__}'
    )
    console.print(table)


if __name__ == '__main__':
    main()
