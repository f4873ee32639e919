"""Images per second of MetaSpikformer with each way to run its neurons, and where the time goes.

All candidates hold the same network and run interleaved; medians over rounds are reported, and
the median of the ratios within a round to the research formulation. Kept memory is what autograd
holds between forward and backward, counted by saved-tensor hooks.
"""

import argparse
import copy
import random
import statistics
import time
from dataclasses import dataclass

import torch
from candidates import MultiStep, PlainSFA, spikingjelly_node
from memory import keep_memory, kept_bytes
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from mmspike import optimize_for_inference
from mmspike.ann2snn import fold_batch_norms
from mmspike.backbones import MetaSpikformer
from mmspike.neurons import BaseNeuron
from mmspike.neurons.kernels.backend import neuron_backend


def with_neurons(net: nn.Module, make) -> nn.Module:
    """A copy of a network in which ``make()`` stands for every neuron, with torch's gradients."""
    net = copy.deepcopy(net)
    for module in list(net.modules()):
        vars(module).pop('_conv_forward', None)  # of depthwise convolutions
        for name, child in module.named_children():
            if isinstance(child, BaseNeuron):
                setattr(module, name, make())
    return net


class Scaled(nn.Module):
    """A module whose output is divided by a number."""

    def __init__(self, module: nn.Module, divisor: float) -> None:
        super().__init__()
        self.module, self.divisor = module, divisor

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x) / self.divisor


@dataclass
class Candidate:
    """A network and a way to run it."""

    name: str
    net: nn.Module
    backend: str = 'auto'
    trains: bool = True

    def inference(self, images: Tensor) -> None:
        self.net.eval()
        with torch.no_grad(), neuron_backend(self.backend):
            self.net(images)

    def training(self, images: Tensor) -> None:
        self.net.train()
        self.net.zero_grad()
        with neuron_backend(self.backend):
            self.net(images)[0].mean().backward()

    def kept_mebibytes(self, images: Tensor) -> float:
        self.net.train()
        with neuron_backend(self.backend):
            return kept_bytes(lambda: self.net(images)) / 2**20


def candidates(net: nn.Module, neuron: str, timesteps: int) -> tuple[list[Candidate], str]:
    """The candidates, and the name of the one that the others are compared with."""

    def peer() -> nn.Module:
        if neuron == 'LIF':
            return MultiStep(spikingjelly_node('LIF'), timesteps)
        # At T=1 its I-LIF node computes what the integer neuron does, without the division.
        return Scaled(MultiStep(spikingjelly_node('ILIF'), 1), 4)

    def channels_last(model: nn.Module) -> nn.Module:
        return copy.deepcopy(model).to(memory_format=torch.channels_last)

    found = [
        Candidate('mmspike', net),
        Candidate('mmspike, channels_last', channels_last(net)),
        Candidate('mmspike, folded', fold_batch_norms(net), trains=False),
        Candidate(
            'mmspike, folded, channels_last', channels_last(fold_batch_norms(net)), trains=False
        ),
        Candidate('mmspike, optimised', optimize_for_inference(net), trains=False),
        Candidate('plain torch', copy.deepcopy(net), 'reference'),
        Candidate('spikingjelly', with_neurons(net, peer)),
    ]
    if neuron == 'SFA' and timesteps == 1:
        found.append(Candidate('research code', with_neurons(net, PlainSFA)))
        return found, 'research code'
    return found, 'spikingjelly'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--arch', default='small')
    parser.add_argument('--neuron', choices=('SFA', 'LIF'), default='SFA')
    parser.add_argument('--timesteps', type=int, default=1)
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--repetitions', type=int, default=9)
    args = parser.parse_args()
    if args.neuron == 'SFA' and args.timesteps != 1:
        parser.error('SFA runs one time step: its integers stand for several')
    keep_memory()
    console = Console(width=110)

    torch.manual_seed(0)
    net = MetaSpikformer(
        args.arch, timesteps=args.timesteps, neuron_cfg=dict(type=f'mmspike.{args.neuron}')
    )
    images = torch.randn(args.batch, 3, args.size, args.size)
    contestants, base = candidates(net, args.neuron, args.timesteps)
    seconds: dict[tuple[str, str], list[float]] = {}
    for repetition in track(range(args.repetitions + 1), 'running'):
        # In another order every time: who follows whom decides what the caches hold.
        for candidate in random.sample(contestants, len(contestants)):
            for run in (candidate.inference, candidate.training):
                if run == candidate.training and not candidate.trains:
                    continue
                began = time.perf_counter()
                run(images)
                if repetition:  # the first round warms up
                    times = seconds.setdefault((candidate.name, run.__name__), [])
                    times.append(time.perf_counter() - began)
    table = Table('candidate', 'images/s inference', f'over {base}', 'images/s training',
                  f'over {base}', 'kept MiB')  # fmt: skip
    for candidate in contestants:
        cells = [candidate.name]
        for kind in ('inference', 'training'):
            times = seconds.get((candidate.name, kind))
            if times is None:
                cells += ['-', '-']
                continue
            ratios = [theirs / t for t, theirs in zip(times, seconds[base, kind], strict=True)]
            rate = args.batch / statistics.median(times)
            cells += [f'{rate:.1f}', f'{statistics.median(ratios):.2f}']
        kept = f'{candidate.kept_mebibytes(images):.0f}' if candidate.trains else '-'
        table.add_row(*cells, kept)
    console.print(
        f'MetaSpikformer {args.arch}, {args.size}x{args.size}, batch {args.batch}, {args.neuron} '
        f'T={args.timesteps}, {torch.get_num_threads()} threads, float32'
    )
    console.print(table)

    for name, kind in (
        ('mmspike', 'inference'),
        ('mmspike, optimised', 'inference'),
        ('mmspike', 'training'),
    ):
        (candidate,) = (c for c in contestants if c.name == name)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            getattr(candidate, kind)(images)
        events = profiler.key_averages()
        total = sum(event.self_cpu_time_total for event in events)
        table = Table(f'{name}, {kind}: operator', 'share', 'calls')
        for event in sorted(events, key=lambda e: -e.self_cpu_time_total)[:8]:
            table.add_row(event.key, f'{event.self_cpu_time_total / total:.1%}', str(event.count))
        console.print(table)


if __name__ == '__main__':
    main()
