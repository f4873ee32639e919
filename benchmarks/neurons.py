"""Time the neurons against spikingjelly 2.0, the published formulation and a plain copy.

All candidates run interleaved in one process; the medians are compared with the time that
``x.clone()`` takes, which moves the bytes of one read and one write. Writes neurons.csv and
neurons.png.
"""

import argparse
import csv
import platform
import statistics
import time
from collections.abc import Callable
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
from torch import Tensor

from mmspike import __version__
from mmspike.neurons import IF, ILIF, LIF, SFA


def published_sfa(x: Tensor) -> Tensor:
    """The integer neuron in plain operations, whose autograd keeps the whole input."""
    rounded = x.clamp(0, 4).round()
    inside = ((x >= 0) & (x <= 4)).to(x)
    return ((rounded - x * inside).detach() + x * inside) / 4


def candidates(timesteps: int) -> dict[str, tuple[str, Callable[[Tensor], Tensor]]]:
    """Name -> (neuron, function of ``(T*B, N)``)."""

    def multi_step(node: torch.nn.Module) -> Callable[[Tensor], Tensor]:
        node.step_mode = 'm'

        def run(x: Tensor) -> Tensor:
            node.reset()
            return node(x.unflatten(0, (timesteps, -1))).flatten(0, 1)

        return run

    return {
        'mmspike LIF': ('LIF', LIF(timesteps=timesteps)),
        'spikingjelly LIF': ('LIF', multi_step(sj.LIFNode(detach_reset=True))),
        'mmspike IF': ('IF', IF(timesteps=timesteps)),
        'spikingjelly IF': ('IF', multi_step(sj.IFNode(detach_reset=True))),
        'mmspike ILIF': ('ILIF', ILIF(timesteps=timesteps)),
        'spikingjelly ILIF': (
            'ILIF',
            multi_step(
                sj.ILIFNode(
                    tau=4 / 3,
                    surrogate_function=sj_surrogate.MultiLevelSpikeCount(4),
                    detach_reset=True,
                )
            ),
        ),
        'mmspike SFA': ('SFA', SFA(timesteps=timesteps)),
        'plain SFA': ('SFA', published_sfa),
    }


def forward(function: Callable[[Tensor], Tensor], x: Tensor) -> None:
    with torch.no_grad():
        function(x)


def forward_backward(function: Callable[[Tensor], Tensor], x: Tensor) -> None:
    x = x.detach().requires_grad_()
    out = function(x)
    out.backward(torch.ones_like(out))


def measure(timesteps: int, neurons: int, repetitions: int, device: str) -> list[dict]:
    """Median seconds of every candidate and pass, and the ratio to a copy in the same round."""
    x = torch.randn(timesteps * 8, neurons // 8, device=device)
    jobs: dict[tuple[str, str], Callable[[], None]] = {('copy', 'forward'): lambda: x.clone()}
    for name, (_, function) in candidates(timesteps).items():
        jobs[name, 'forward'] = lambda function=function: forward(function, x)
        jobs[name, 'forward + backward'] = lambda function=function: forward_backward(function, x)
    seconds: dict[tuple[str, str], list[float]] = {job: [] for job in jobs}
    for repetition in track(range(repetitions + 1), f'T={timesteps}, {neurons:,} neurons'):
        for job, run in jobs.items():
            began = time.perf_counter()
            run()
            if device != 'cpu':
                torch.cuda.synchronize()
            if repetition:  # the first round warms up
                seconds[job].append(time.perf_counter() - began)
    copies = seconds['copy', 'forward']
    return [
        dict(
            timesteps=timesteps,
            neurons=neurons,
            threads=torch.get_num_threads(),
            candidate=name,
            direction=direction,
            median_ms=1e3 * statistics.median(times),
            times_copy=statistics.median(t / c for t, c in zip(times, copies, strict=True)),
        )
        for (name, direction), times in seconds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--timesteps', type=int, nargs='+', default=[1, 4])
    parser.add_argument('--neurons', type=int, default=1 << 20, help='neurons per step')
    parser.add_argument('--repetitions', type=int, default=7)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--out', default='work_dirs/bench', help='folder for the CSV and the plot')
    args = parser.parse_args()

    console = Console()
    device = torch.cuda.get_device_name() if args.device != 'cpu' else platform.processor()
    console.print(
        f'{device or platform.machine()}, {torch.get_num_threads()} threads; '
        f'mmspike {__version__}, torch {torch.__version__}, spikingjelly {version("spikingjelly")}'
    )
    rows = [
        row for timesteps in args.timesteps
        for row in measure(timesteps, args.neurons, args.repetitions, args.device)
    ]  # fmt: skip
    table = Table('T', 'candidate', 'direction', 'median ms', 'times a copy')
    for row in rows:
        table.add_row(
            str(row['timesteps']), row['candidate'], row['direction'],
            f'{row["median_ms"]:.1f}', f'{row["times_copy"]:.1f}',
        )  # fmt: skip
    console.print(table)

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / 'neurons.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    figure, axes = plt.subplots(
        1, len(args.timesteps), figsize=(6 * len(args.timesteps), 5), layout='constrained',
        squeeze=False,
    )  # fmt: skip
    for ax, timesteps in zip(axes[0], args.timesteps, strict=True):
        chosen = [r for r in rows if r['timesteps'] == timesteps and r['candidate'] != 'copy']
        labels = [f'{r["candidate"]}, {r["direction"]}' for r in chosen]
        colours = ['#2f6fb2' if 'mmspike' in label else '#b0b4ba' for label in labels]
        ax.barh(labels, [r['times_copy'] for r in chosen], color=colours)
        ax.invert_yaxis()
        ax.set(title=f'T={timesteps}', xlabel='time over x.clone()')
    figure.savefig(out / 'neurons.png', dpi=120)
    console.print(f'written: {out / "neurons.csv"}, {out / "neurons.png"}')


if __name__ == '__main__':
    main()
