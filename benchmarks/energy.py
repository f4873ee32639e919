"""What counting operations adds to the time of an evaluation.

The same evaluation runs plain, with firing rates only, with every batch counted, and with one batch
of ten; interleaved, so that the medians of the ratios within a round are of the same minute.
"""

import argparse
import random
import statistics
import time

import torch
from memory import keep_memory
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from mmspike.backbones import MetaSpikformer
from mmspike.energy import EnergyCounter
from mmspike.recorders.firing_rates import FiringRateRecorder


def plain(net: nn.Module, images: Tensor, batches: int) -> None:
    for _ in range(batches):
        net(images)


def rates(net: nn.Module, images: Tensor, batches: int) -> None:
    with FiringRateRecorder(net) as recorder:
        plain(net, images, batches)
    recorder.rates()


def counted(net: nn.Module, images: Tensor, batches: int, interval: int = 1) -> None:
    counter = EnergyCounter(net)
    for i in range(batches):
        if i % interval:
            net(images)
            continue
        with counter:
            net(images)
    counter.counts()


def sampled(net: nn.Module, images: Tensor, batches: int) -> None:
    counted(net, images, batches, interval=10)


def lively(net: nn.Module) -> nn.Module:
    """Norms that let all layers fire."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 1, 3)
            nn.init.constant_(module.bias, 0.2)
    return net.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--arch', default='small')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--repetitions', type=int, default=5)
    parser.add_argument('--batches', type=int, default=10, help='of an evaluation')
    args = parser.parse_args()
    keep_memory()
    torch.manual_seed(0)
    net = lively(MetaSpikformer(args.arch))
    images = torch.randn(args.batch, 3, args.size, args.size)
    runs = (plain, rates, counted, sampled)
    seconds: dict[str, list[float]] = {run.__name__: [] for run in runs}
    for repetition in track(range(args.repetitions + 1), 'running'):
        for run in random.sample(runs, len(runs)):
            with torch.no_grad():
                began = time.perf_counter()
                run(net, images, args.batches)
            if repetition:  # the first round warms up
                seconds[run.__name__].append((time.perf_counter() - began) / args.batches)
    console = Console(width=110)
    console.print(
        f'MetaSpikformer {args.arch}, {args.size}x{args.size}, batch {args.batch}, '
        f'{torch.get_num_threads()} threads, float32, {args.repetitions} rounds'
    )
    table = Table('evaluation', 's per batch', 'over plain')
    for name, times in seconds.items():
        ratios = [mine / base for mine, base in zip(times, seconds['plain'], strict=True)]
        table.add_row(name, f'{statistics.median(times):.3f}', f'{statistics.median(ratios):.3f}')
    console.print(table)


if __name__ == '__main__':
    main()
