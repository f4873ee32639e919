"""Time the neurons against spikingjelly 2.0, plain torch and the memory limit.

All candidates run interleaved in one process. A time is given as a multiple of what ``x.clone()``
takes for the bytes that a fused kernel must move (the memory limit), and of what the peer takes
(spikingjelly's node, or research code), both measured in the same round; medians over rounds are
reported. Writes neurons.csv, neurons.png (one size) and timesteps.png (all T at the largest size).
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
from candidates import NEURONS, ONE_BIT, Candidate, candidates
from memory import keep_memory, kept_bytes, peak_bytes
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mmspike import __version__

DIRECTIONS = ('forward', 'forward + backward')
PEERS = ('spikingjelly', 'research code')
COLOURS = {
    'mmspike': '#2f6fb2',
    'spikingjelly': '#d98c21',
    'research code': '#117733',
    'torch.compile': '#882255',
    'plain torch': '#8a8f98',
}
MARKERS = dict(zip(COLOURS, 'os^Dv', strict=True))


def passes(neuron: str, direction: str) -> float:
    """Passes over the data that cannot be avoided; a clone makes two.

    Forward reads the input and writes the output. Backward reads a gradient, writes one, and reads
    the input once more, or a bit per element.
    """
    if direction == 'forward':
        return 2
    return 4 + 2 / 32 if neuron in ONE_BIT else 5


@dataclass
class Result:
    """One line of the table; memory is in bytes per element of the input."""

    threads: int
    timesteps: int
    neurons: int
    neuron: str
    candidate: str
    direction: str
    median_ms: float
    times_limit: float
    faster_than_peer: float
    kept: float
    peak: float


def _ratio(times: list[float], others: list[float]) -> float:
    return statistics.median(t / o for t, o in zip(times, others, strict=True))


def measure(timesteps: int, neurons: int, args: argparse.Namespace) -> list[Result]:
    """Every candidate and direction at one size."""
    x = torch.randn(timesteps * 8, neurons // 8, device=args.device)
    grad = torch.randn_like(x)
    contestants = candidates(args.neuron, timesteps, args.device, args.compile)
    jobs: dict[tuple[str, ...], Callable[[], object]] = {('copy',): x.clone}
    for c in contestants:
        jobs[c.neuron, c.name, 'forward'] = partial(c.forward, x)
        jobs[c.neuron, c.name, 'forward + backward'] = partial(c.forward_backward, x, grad)
    # Small sizes are repeated within a measurement, which the clock could not resolve.
    repeat = max(1, (1 << 18) // x.numel())
    seconds: dict[tuple[str, ...], list[float]] = {job: [] for job in jobs}
    title = f'{torch.get_num_threads()} threads, T={timesteps}, {neurons:,} neurons'
    for repetition in track(range(args.repetitions + 1), title):
        for job, function in jobs.items():
            began = time.perf_counter()
            for _ in range(repeat):
                function()
            if args.device != 'cpu':
                torch.cuda.synchronize()
            if repetition:  # the first round warms up
                seconds[job].append((time.perf_counter() - began) / repeat)

    def result(c: Candidate, direction: str) -> Result:
        times = seconds[c.neuron, c.name, direction]
        limit = [t * passes(c.neuron, direction) / 2 for t in seconds['copy',]]
        peers = [seconds.get((c.neuron, peer, direction)) for peer in PEERS]
        peer = next((times for times in peers if times), None)
        kept = peak = 0.0
        if direction != 'forward':
            kept = kept_bytes(lambda: c(x.detach().requires_grad_())) / x.numel()
            peak = peak_bytes(lambda: c.forward_backward(x, grad), args.device) / x.numel()
        return Result(
            torch.get_num_threads(), timesteps, neurons, c.neuron, c.name, direction,
            1e3 * statistics.median(times), _ratio(times, limit),
            _ratio(peer, times) if peer else float('nan'), kept, peak,
        )  # fmt: skip

    return [result(c, direction) for c in contestants for direction in DIRECTIONS]


def show(results: list[Result], console: Console) -> None:
    table = Table('threads', 'T', 'neurons', 'neuron', 'candidate', 'direction', 'median ms',
                  'times limit', 'faster than peer', 'kept B', 'peak B')  # fmt: skip
    for r in results:
        table.add_row(
            str(r.threads), str(r.timesteps), f'{r.neurons:,}', r.neuron, r.candidate, r.direction,
            f'{r.median_ms:.2f}', f'{r.times_limit:.2f}', f'{r.faster_than_peer:.2f}',
            f'{r.kept:.3g}', f'{r.peak:.3g}',
        )  # fmt: skip
    console.print(table)


def _largest(results: list[Result]) -> list[Result]:
    """Those of the most threads and neurons."""
    size = max((r.threads, r.neurons) for r in results)
    return [r for r in results if (r.threads, r.neurons) == size]


def plot_one_size(results: list[Result], path: Path) -> None:
    """Times over the memory limit, one panel per neuron and direction."""
    chosen = _largest(results)
    timesteps = 4 if any(r.timesteps == 4 for r in chosen) else chosen[-1].timesteps
    chosen = [r for r in chosen if r.timesteps == timesteps]
    neurons = list(dict.fromkeys(r.neuron for r in chosen))
    figure, axes = plt.subplots(
        len(neurons), 2, figsize=(10, 1.6 * len(neurons)), layout='constrained', squeeze=False
    )
    for row, neuron in zip(axes, neurons, strict=True):
        for ax, direction in zip(row, DIRECTIONS, strict=True):
            here = [r for r in chosen if (r.neuron, r.direction) == (neuron, direction)]
            bars = ax.barh(
                [r.candidate for r in here],
                [r.times_limit for r in here],
                color=[COLOURS[r.candidate] for r in here],
            )
            ax.bar_label(bars, fmt='%.2f', padding=3, fontsize=8)
            ax.axvline(1, color='#c0392b', linewidth=1)
            ax.margins(x=0.15)
            ax.invert_yaxis()
            ax.set_title(f'{neuron}, {direction}', fontsize=9)
    figure.suptitle(
        f'Time over the memory limit (red), T={timesteps}, {chosen[0].neurons:,} neurons, '
        f'{chosen[0].threads} threads', fontsize=10,
    )  # fmt: skip
    figure.savefig(path, dpi=120)


def plot_timesteps(results: list[Result], path: Path) -> None:
    """Times over the memory limit by T, one panel per neuron and direction."""
    chosen = _largest(results)
    neurons = list(dict.fromkeys(r.neuron for r in chosen))
    figure, axes = plt.subplots(
        len(neurons), 2, figsize=(9, 1.9 * len(neurons) + 0.6), layout='constrained',
        squeeze=False, sharex=True, sharey=True,
    )  # fmt: skip
    handles = {}
    for row, neuron in zip(axes, neurons, strict=True):
        for ax, direction in zip(row, DIRECTIONS, strict=True):
            here = [r for r in chosen if (r.neuron, r.direction) == (neuron, direction)]
            for candidate in dict.fromkeys(r.candidate for r in here):
                line = [r for r in here if r.candidate == candidate]
                (handles[candidate],) = ax.plot(
                    [r.timesteps for r in line],
                    [r.times_limit for r in line],
                    marker=MARKERS[candidate], markersize=5, label=candidate,
                    color=COLOURS[candidate],
                )  # fmt: skip
            ax.axhline(1, color='#c0392b', linewidth=1)
            ax.set(xscale='log', yscale='log')
            ax.set_title(f'{neuron}, {direction}', fontsize=10)
            ticks = sorted({r.timesteps for r in here})
            ax.set_xticks(ticks, ticks)
            ax.minorticks_off()
            ax.set_yticks([1, 2, 5, 10, 20], [1, 2, 5, 10, 20])
            if neuron == neurons[-1]:
                ax.set_xlabel('T')
    # Below all panels, where no curve is.
    figure.legend(
        handles=list(handles.values()), loc='outside lower center', ncols=len(handles),
        frameon=False,
    )  # fmt: skip
    figure.suptitle(
        f'Time over the memory limit (red), {chosen[0].neurons:,} neurons, '
        f'{chosen[0].threads} threads', fontsize=10,
    )  # fmt: skip
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--neuron', nargs='+', choices=NEURONS, default=list(NEURONS))
    parser.add_argument('--timesteps', type=int, nargs='+', default=[1, 4])
    parser.add_argument('--neurons', type=int, nargs='+', default=[1 << 14, 1 << 20])
    parser.add_argument('--threads', type=int, nargs='+', default=[torch.get_num_threads()])
    parser.add_argument('--repetitions', type=int, default=5)
    parser.add_argument('--compile', action='store_true', help='also torch.compile plain torch')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--out', default='work_dirs/bench', help='folder for the CSV and the plot')
    args = parser.parse_args()

    keep_memory()
    console = Console(width=140)
    device = torch.cuda.get_device_name() if args.device != 'cpu' else _processor()
    console.print(
        f'{device}; mmspike {__version__}, torch {torch.__version__}, '
        f'spikingjelly {version("spikingjelly")}, python {platform.python_version()}'
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
    plot_one_size(results, out / 'neurons.png')
    plot_timesteps(results, out / 'timesteps.png')
    console.print(f'written: neurons.csv, neurons.png and timesteps.png in {out}')


def _processor() -> str:
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return line.partition(': ')[2]
    return platform.machine()


if __name__ == '__main__':
    main()
