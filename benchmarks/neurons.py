"""Time the neurons against spikingjelly 2.0, plain torch and the memory limit.

All candidates run interleaved in one process. A time is given as a multiple of what ``x.clone()``
takes for the bytes that the fused kernel must move (the memory limit), measured in the same round;
the median over rounds is reported. Kept bytes are what autograd holds between forward and backward,
counted by saved-tensor hooks. Writes neurons.csv and neurons.png.
"""

import argparse
import csv
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from spikingjelly.activation_based import neuron as sj
from spikingjelly.activation_based import surrogate as sj_surrogate
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from mmspike import __version__, set_timesteps
from mmspike.neurons import IF, ILIF, LIF, SFA
from mmspike.neurons.kernels.backend import neuron_backend

# Passes over the data that cannot be avoided; a clone makes two. Backward of the binary neurons
# reads the input once more, that of the integer neurons a bit per element.
DIRECTIONS = ('forward', 'forward + backward')
PASSES = dict(zip(DIRECTIONS, (2, 5), strict=True))
PASSES_INTEGER = dict(zip(DIRECTIONS, (2, 4 + 2 / 32), strict=True))


class PlainSFA(nn.Module):
    """The integer neuron as research code writes it: a boolean-mask backward, the input kept."""

    class _Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return torch.round(torch.clamp(x, min=0, max=4))

        @staticmethod
        def backward(ctx, grad: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            grad = grad.clone()
            grad[x < 0] = 0
            grad[x > 4] = 0
            return grad

    def forward(self, x: Tensor) -> Tensor:
        return self._Function.apply(x) / 4


class MultiStep(nn.Module):
    """A spikingjelly node on folded time, reset before every call."""

    def __init__(self, node: nn.Module, timesteps: int) -> None:
        super().__init__()
        node.step_mode = 'm'
        self.node, self.timesteps = node, timesteps

    def forward(self, x: Tensor) -> Tensor:
        self.node.reset()
        return self.node(x.unflatten(0, (self.timesteps, -1))).flatten(0, 1)


@dataclass
class Result:
    """One line of the table."""

    threads: int
    timesteps: int
    neurons: int
    neuron: str
    candidate: str
    direction: str
    median_ms: float
    times_limit: float
    kept_bytes_per_element: float


def candidates(timesteps: int, compiled: bool) -> dict[tuple[str, str], tuple[str, nn.Module]]:
    """(neuron, candidate) -> (backend, module)."""
    counts = sj_surrogate.MultiLevelSpikeCount(4)
    nodes = {
        'LIF': sj.LIFNode(detach_reset=True),
        'IF': sj.IFNode(detach_reset=True),
        'ILIF': sj.ILIFNode(tau=4 / 3, surrogate_function=counts, detach_reset=True),
    }
    found: dict[tuple[str, str], tuple[str, nn.Module]] = {}
    for cls in (LIF, IF, ILIF, SFA):
        name = cls.__name__
        neuron = cls()
        set_timesteps(neuron, timesteps)
        found[name, 'mmspike'] = ('auto', neuron)
        found[name, 'plain torch'] = ('reference', neuron)
        if compiled:
            found[name, 'torch.compile'] = ('reference', torch.compile(neuron))
        if name in nodes:
            found[name, 'spikingjelly'] = ('auto', MultiStep(nodes[name], timesteps))
        else:
            found[name, 'research code'] = ('auto', PlainSFA())
    return found


def run(backend: str, module: nn.Module, x: Tensor, grad: Tensor | None) -> None:
    with neuron_backend(backend):
        if grad is None:
            with torch.no_grad():
                module(x)
        else:
            x = x.detach().requires_grad_()
            torch.autograd.grad(module(x), x, grad)


def kept_bytes(backend: str, module: nn.Module, x: Tensor) -> int:
    """Bytes of all distinct tensors that a forward pass keeps for backward."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with neuron_backend(backend), saved_tensors_hooks(pack, lambda tensor: tensor):
        out = module(x.detach().requires_grad_())
    del out
    return sum(kept.values())


def measure(timesteps: int, neurons: int, args: argparse.Namespace) -> list[Result]:
    """Every candidate and direction at one size."""
    x = torch.randn(timesteps * 8, neurons // 8, device=args.device)
    grad = torch.randn_like(x)
    modules = candidates(timesteps, args.compile)
    jobs: dict[tuple, Callable[[], object]] = {('copy', '', 'forward'): x.clone}
    for (name, candidate), (backend, module) in modules.items():
        jobs[name, candidate, 'forward'] = partial(run, backend, module, x, None)
        jobs[name, candidate, 'forward + backward'] = partial(run, backend, module, x, grad)
    seconds: dict[tuple, list[float]] = {job: [] for job in jobs}
    title = f'{torch.get_num_threads()} threads, T={timesteps}, {neurons:,} neurons'
    for repetition in track(range(args.repetitions + 1), title):
        for job, function in jobs.items():
            began = time.perf_counter()
            function()
            if args.device != 'cpu':
                torch.cuda.synchronize()
            if repetition:  # the first round warms up
                seconds[job].append(time.perf_counter() - began)
    copies = seconds.pop(('copy', '', 'forward'))
    results = []
    for (name, candidate, direction), times in seconds.items():
        passes = (PASSES_INTEGER if name in ('SFA', 'ILIF') else PASSES)[direction] / 2
        ratios = [t / (c * passes) for t, c in zip(times, copies, strict=True)]
        kept = kept_bytes(*modules[name, candidate], x) / x.numel()
        results.append(
            Result(
                torch.get_num_threads(), timesteps, neurons, name, candidate, direction,
                1e3 * statistics.median(times), statistics.median(ratios),
                kept if direction != 'forward' else 0.0,
            )
        )  # fmt: skip
    return results


def show(results: list[Result], console: Console) -> None:
    table = Table('threads', 'T', 'neurons', 'neuron', 'candidate', 'direction', 'median ms',
                  'times limit', 'kept B/element')  # fmt: skip
    for r in results:
        table.add_row(
            str(r.threads), str(r.timesteps), f'{r.neurons:,}', r.neuron, r.candidate, r.direction,
            f'{r.median_ms:.1f}', f'{r.times_limit:.2f}', f'{r.kept_bytes_per_element:.2f}',
        )  # fmt: skip
    console.print(table)


def plot(results: list[Result], path: Path) -> None:
    """Times over the memory limit, one panel per neuron and direction, at the last size."""
    last = results[-1]
    chosen = [r for r in results if (r.threads, r.neurons, r.timesteps)
              == (last.threads, last.neurons, last.timesteps)]  # fmt: skip
    neurons = list(dict.fromkeys(r.neuron for r in chosen))
    figure, axes = plt.subplots(
        len(neurons), 2, figsize=(10, 1.7 * len(neurons)), layout='constrained', squeeze=False
    )
    for row, neuron in zip(axes, neurons, strict=True):
        for ax, direction in zip(row, DIRECTIONS, strict=True):
            here = [r for r in chosen if (r.neuron, r.direction) == (neuron, direction)]
            colours = ['#2f6fb2' if r.candidate == 'mmspike' else '#b0b4ba' for r in here]
            bars = ax.barh([r.candidate for r in here], [r.times_limit for r in here],
                           color=colours)  # fmt: skip
            ax.bar_label(bars, fmt='%.1f', padding=3, fontsize=8)
            ax.axvline(1, color='#c0392b', linewidth=1)
            ax.margins(x=0.15)
            ax.invert_yaxis()
            ax.set_title(f'{neuron}, {direction}', fontsize=9)
    figure.suptitle(
        f'Time over the memory limit (red), T={last.timesteps}, {last.neurons:,} neurons, '
        f'{last.threads} threads', fontsize=10,
    )  # fmt: skip
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--timesteps', type=int, nargs='+', default=[1, 4])
    parser.add_argument('--neurons', type=int, nargs='+', default=[1 << 16, 1 << 20])
    parser.add_argument('--threads', type=int, nargs='+', default=[torch.get_num_threads()])
    parser.add_argument('--repetitions', type=int, default=5)
    parser.add_argument('--compile', action='store_true', help='also torch.compile plain torch')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--out', default='work_dirs/bench', help='folder for the CSV and the plot')
    args = parser.parse_args()

    console = Console(width=120)
    device = torch.cuda.get_device_name() if args.device != 'cpu' else platform.machine()
    console.print(
        f'{device}; mmspike {__version__}, torch {torch.__version__}, '
        f'spikingjelly {version("spikingjelly")}'
    )
    results = []
    for threads in args.threads:
        torch.set_num_threads(threads)
        for neurons in args.neurons:
            for timesteps in args.timesteps:
                results += measure(timesteps, neurons, args)
    show(results, console)

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / 'neurons.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, asdict(results[0]))
        writer.writeheader()
        writer.writerows(asdict(r) for r in results)
    plot(results, out / 'neurons.png')
    console.print(f'written: {out / "neurons.csv"}, {out / "neurons.png"}')


if __name__ == '__main__':
    main()
