"""MST over many time steps: chunks of steps beside one full forward per step.

The peer runs the same network with the same weights as the reference does: everything again at
every step, through spikingjelly's integrate-and-fire nodes. Both give the answer after each step.
With --memory: the most memory that a simulation takes, for several T.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from memory import keep_memory
from rich.console import Console
from rich.progress import track
from rich.table import Table
from spikingjelly.activation_based import neuron as sj
from spikingjelly.activation_based.functional import reset_net
from torch import Tensor, nn

from mmspike.ann2snn import convert_to_spiking, fold_batch_norms, simulate
from mmspike.ann2snn.quantise import replace_modules
from mmspike.backbones import MST
from mmspike.neurons import SpikingQCFS


class Classifier(nn.Module):
    """MST with QCFS, average pooling and a linear layer."""

    def __init__(self, readout: bool) -> None:
        super().__init__()
        self.backbone = MST('tiny', readout=readout)
        self.head = nn.Linear(768, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x)[-1].mean((2, 3)))


class ResearchNode(nn.Module):
    """The reference's neuron: spikingjelly's node on x / threshold, charged by half at first."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.node = sj.IFNode(v_reset=None)
        self.threshold = threshold
        self.started = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.started:
            self.node(torch.full_like(x, 0.5))
            self.started = True
        return self.node(x / self.threshold) * self.threshold


def network(readout: bool) -> nn.Module:
    torch.manual_seed(0)
    net = Classifier(readout)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    net.eval()
    return net


def ours(timesteps: int, chunk: int, readout: bool, folded: bool) -> Callable[[Tensor], Tensor]:
    spiking = convert_to_spiking(network(readout))
    if folded:
        spiking = fold_batch_norms(spiking, lambda model: model(torch.zeros(1, 3, 64, 64)))
    simulation = simulate(
        spiking, timesteps, chunk=chunk, scores_module='' if not readout else 'head'
    )

    def run(x: Tensor) -> Tensor:
        spiking(x)
        return simulation.scores

    return run


def step_by_step(timesteps: int) -> Callable[[Tensor], Tensor]:
    net = convert_to_spiking(network(readout=False))
    replace_modules(
        net,
        {
            module: ResearchNode(module.threshold.item())
            for module in net.modules()
            if isinstance(module, SpikingQCFS)
        },
    )

    def run(x: Tensor) -> Tensor:
        reset_net(net)
        for module in net.modules():
            if isinstance(module, ResearchNode):
                module.started = False
        steps = torch.stack([net(x) for _ in range(timesteps)])
        return steps.cumsum(0) / torch.arange(1, timesteps + 1).view(-1, 1, 1)

    return run


def seconds(run: Callable[[Tensor], Tensor], x: Tensor) -> float:
    began = time.perf_counter()
    run(x)
    return time.perf_counter() - began


def compare_speed(args: argparse.Namespace, x: Tensor) -> Table:
    steps, chunk = args.timesteps, args.chunk
    runs = {
        'one forward per step, spikingjelly': step_by_step(steps),
        'mmspike, one step at a time': ours(steps, 1, readout=False, folded=False),
        'mmspike': ours(steps, chunk, readout=False, folded=False),
        'mmspike, folded': ours(steps, chunk, readout=False, folded=True),
        'mmspike, folded, read out before the last norm': ours(
            steps, chunk, readout=True, folded=True
        ),
    }
    # A few steps are enough to see that both compute the same, and to warm up.
    first, same = step_by_step(4)(x), ours(4, chunk, readout=False, folded=False)(x)
    distance = (same - first).abs().max().item()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in track(range(args.repetitions), 'in turn', transient=True):
        for name, run in runs.items():
            times[name].append(seconds(run, x))
    table = Table(
        title=f'MST tiny, {args.size}x{args.size}, batch {len(x)}, T={steps}; answers of the '
        f'first steps differ by {distance:.1e}'
    )
    table.add_column('simulation')
    for column in ('s', 'times faster'):
        table.add_column(column, justify='right')
    slowest = next(iter(times))
    for name, values in times.items():
        ratios = [a / b for a, b in zip(times[slowest], values, strict=True)]
        table.add_row(name, f'{statistics.median(values):.2f}', f'{statistics.median(ratios):.2f}')
    return table


# Runs in a process of its own: how much it takes at most is told for the whole process.
_MEMORY = """
import resource, sys
import torch
sys.path.insert(0, {folder!r})
from simulation import ours
torch.set_grad_enabled(False)
x = torch.zeros(1, 3, {size}, {size})
run = ours({timesteps}, {chunk}, readout=False, folded=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
run(x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def compare_memory(args: argparse.Namespace) -> Table:
    table = Table(title=f'MST tiny, {args.size}x{args.size}, batch 1, chunks of {args.chunk}')
    table.add_column('T', justify='right')
    for column in ('before (MiB)', 'at most (MiB)'):
        table.add_column(column, justify='right')
    for timesteps in args.memory:
        code = _MEMORY.format(
            folder=sys.path[0], size=args.size, timesteps=timesteps, chunk=args.chunk
        )
        out = subprocess.run(
            [sys.executable, '-c', code], check=True, capture_output=True, text=True
        ).stdout
        before, most = (int(line) / 1024 for line in out.split()[-2:])
        table.add_row(str(timesteps), f'{before:.0f}', f'{most:.0f}')
    return table


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--timesteps', type=int, default=64)
    parser.add_argument('--chunk', type=int, default=8)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--repetitions', type=int, default=3)
    parser.add_argument('--memory', type=int, nargs='+', metavar='T', help='measure memory instead')
    args = parser.parse_args()
    if args.memory:
        Console().print(compare_memory(args))
        return
    keep_memory()
    x = torch.randn(args.batch, 3, args.size, args.size)
    Console().print(compare_speed(args, x))


if __name__ == '__main__':
    main()
