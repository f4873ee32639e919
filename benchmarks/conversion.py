"""Conversion of one trained CNN, without training it further: ours beside spikingjelly's.

Both fold the batch norms, choose thresholds on the same training images and run the same test
images step by step; the table says what is right after t steps, and how long all steps took.
"""

import argparse
import copy
import time
from collections.abc import Callable
from itertools import islice

import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import track
from rich.table import Table
from spikingjelly.activation_based.ann2snn import Converter
from spikingjelly.activation_based.ann2snn.recipes import RateCodingRecipe
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn

from mmspike.ann2snn import (
    calibrate_thresholds,
    convert_to_spiking,
    fold_batch_norms,
    insert_qcfs,
    simulate,
)
from mmspike.apis.config import load_config
from mmspike.apis.model import build_model


class Plain(nn.Module):
    """A classifier of mmpretrain as images in, logits out, for tools that know no hosts."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.backbone, self.neck = classifier.backbone, classifier.neck
        self.fc = classifier.head.fc

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.neck(self.backbone(x))[-1])


def ours(net: nn.Module, train: list[Tensor], timesteps: int, levels: int, chunk: int) -> Callable:
    net = copy.deepcopy(net)
    insert_qcfs(net, levels=levels, thresholds=calibrate_thresholds(net, train, levels=levels))
    spiking = convert_to_spiking(fold_batch_norms(net, lambda model: model(train[0][:1])))
    simulation = simulate(spiking, timesteps, chunk=chunk, scores_module='')

    def run(x: Tensor) -> Tensor:
        spiking(x)
        return simulation.scores

    return run


def spikingjelly(net: nn.Module, train: list[Tensor], timesteps: int, **options) -> Callable:
    recipe = RateCodingRecipe(dataloader=[(x, 0) for x in train], **options)
    spiking = Converter(recipe).convert(copy.deepcopy(net)).eval()

    def run(x: Tensor) -> Tensor:
        reset_net(spiking)
        steps = torch.stack([spiking(x) for _ in range(timesteps)])
        numbers = torch.arange(1, timesteps + 1).view(-1, 1, 1)
        return steps.cumsum(0) / numbers

    return run


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a classifier with ReLUs')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--timesteps', type=int, default=64)
    parser.add_argument('--chunk', type=int, default=8)
    parser.add_argument('--levels', type=int, default=32)
    parser.add_argument('--batches', type=int, help='test batches; default all')
    args = parser.parse_args()

    cfg = load_config(args.config)
    init_default_scope(cfg.default_scope)
    model = build_model(cfg, args.checkpoint)
    net = Plain(model).eval()

    def images(loader, number: int | None) -> list[tuple[Tensor, Tensor]]:
        return [
            (
                model.data_preprocessor(batch, False)['inputs'],
                torch.cat([sample.gt_label for sample in batch['data_samples']]),
            )
            for batch in islice(Runner.build_dataloader(loader, seed=0), number)
        ]

    train = [x for x, _ in images(cfg.train_dataloader, 8)]
    test = images(cfg.test_dataloader, args.batches)
    steps = args.timesteps
    networks = {
        'mmspike, in chunks': ours(net, train, steps, args.levels, args.chunk),
        'mmspike, step by step': ours(net, train, steps, args.levels, 1),
        'spikingjelly, largest': spikingjelly(net, train, steps, half_threshold=True),
        'spikingjelly, 99.9 %': spikingjelly(net, train, steps, mode='99.9%', half_threshold=True),
        'spikingjelly, largest, empty': spikingjelly(net, train, steps),
    }
    right = sum((net(x).argmax(1) == y).sum().item() for x, y in test)
    number = sum(len(y) for _, y in test)
    shown = sorted({2**i for i in range(steps.bit_length()) if 2**i <= steps} | {steps})
    table = Table(title=f'top-1 in % of {number} images; {100 * right / number:.2f} without spikes')
    table.add_column('conversion')
    for t in shown:
        table.add_column(f't={t}', justify='right')
    table.add_column('s', justify='right')
    for name, run in networks.items():
        hits, seconds = torch.zeros(steps), 0.0
        for x, y in track(test, name, transient=True):
            began = time.perf_counter()
            scores = run(x)
            seconds += time.perf_counter() - began
            hits += (scores.argmax(-1) == y).sum(1)
        cells = (f'{100 * hits[t - 1] / number:.1f}' for t in shown)
        table.add_row(name, *cells, f'{seconds:.1f}')
    Console().print(table)


if __name__ == '__main__':
    main()
