"""Images per second of MetaSpikformer with each way to run its neurons, and where the time goes.

The candidates run interleaved; the median over rounds is reported. Kept memory is what autograd
holds between forward and backward, counted by saved-tensor hooks.
"""

import argparse
import statistics
import time
from contextlib import contextmanager

import torch
from candidates import PlainSFA
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

from mmspike.backbones import MetaSpikformer
from mmspike.neurons import SFA, functional
from mmspike.neurons.kernels.backend import neuron_backend


@contextmanager
def research_code():
    """The integer neuron as research code writes it, in the same network."""
    ours, plain = functional.integer_fire, PlainSFA()
    functional.integer_fire = lambda x, **options: plain(x)
    try:
        yield
    finally:
        functional.integer_fire = ours


CANDIDATES = {
    'mmspike': lambda: neuron_backend('auto'),
    'plain torch': lambda: neuron_backend('reference'),
    'research code': research_code,
}


def inference(net: nn.Module, images: Tensor) -> None:
    net.eval()
    with torch.no_grad():
        net(images)


def training(net: nn.Module, images: Tensor) -> None:
    net.train()
    net.zero_grad()
    net(images)[0].mean().backward()


def kept_mebibytes(net: nn.Module, images: Tensor) -> float:
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    net.train()
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        out = net(images)
    del out
    return sum(kept.values()) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--arch', default='small')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--repetitions', type=int, default=5)
    args = parser.parse_args()
    console = Console(width=110)

    net = MetaSpikformer(args.arch, neuron_cfg=dict(type='mmspike.SFA', D=4))
    images = torch.randn(args.batch, 3, args.size, args.size)
    seconds: dict[tuple[str, str], list[float]] = {}
    for repetition in track(range(args.repetitions + 1), 'running'):
        for name, context in CANDIDATES.items():
            for run in (inference, training):
                with context():
                    began = time.perf_counter()
                    run(net, images)
                    if repetition:  # the first round warms up
                        seconds.setdefault((name, run.__name__), []).append(
                            time.perf_counter() - began
                        )
    table = Table('candidate', 'images/s inference', 'over research code', 'images/s training',
                  'over research code', 'kept MiB')  # fmt: skip
    for name, context in CANDIDATES.items():
        cells = [name]
        for kind in ('inference', 'training'):
            rate = args.batch / statistics.median(seconds[name, kind])
            ratios = [
                theirs / ours
                for ours, theirs in zip(
                    seconds[name, kind], seconds['research code', kind], strict=True
                )
            ]
            cells += [f'{rate:.1f}', f'{statistics.median(ratios):.2f}']
        with context():
            cells.append(f'{kept_mebibytes(net, images):.0f}')
        table.add_row(*cells)
    console.print(
        f'MetaSpikformer {args.arch}, {args.size}x{args.size}, batch {args.batch}, '
        f'{torch.get_num_threads()} threads, float32, neurons {SFA(D=4)}'
    )
    console.print(table)

    for run in (inference, training):
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            run(net, images)
        total = sum(event.self_cpu_time_total for event in profiler.key_averages())
        top = sorted(profiler.key_averages(), key=lambda e: -e.self_cpu_time_total)[:8]
        table = Table(f'{run.__name__}: operator', 'share', 'calls')
        for event in top:
            table.add_row(event.key, f'{event.self_cpu_time_total / total:.1%}', str(event.count))
        console.print(table)


if __name__ == '__main__':
    main()
