"""Images per second of exported files beside PyTorch, from prepared images to raw outputs.

A classifier at 224, or a detector or segmentor at 512: the published research formulation of its
neurons, mmspike in PyTorch, ONNX Runtime and OpenVINO in float32 and int8; beside the classifier
ResNet-50 and MobileNetV3 in the same runtimes. All run interleaved; medians over rounds, and the
median of the ratios within a round to the research formulation. Weights are random, which no
candidate's speed depends on. Writes deploy.csv and deploy.png.
"""

import argparse
import csv
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import numpy as np
import torch
import torchvision
from candidates import PlainSFA
from memory import keep_memory
from mmengine.registry import DefaultScope
from model import with_neurons
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

import mmspike
from mmspike.apis.model import build_model
from mmspike.apis.terminal import tool_console
from mmspike.deploy.onnx_export import export_parts, quiet_exporter
from mmspike.deploy.runtimes import RUNTIMES, open_session
from mmspike.hosts import NETWORK, Network

RESEARCH = 'research code, PyTorch'
# Task -> config, size, batch.
TASKS = {
    'cls': ('metaspikformer-small-sfa-t1d4_8xb256-amp-coslr-200e_in1k', 224, 8),
    'det': ('retinanet_metaspikformer-medium-sfa-t1d4_fpn_2xb4-1x_coco', 512, 1),
    'seg': ('semantic-fpn_metaspikformer-medium-sfa-t1d4_4xb4-160k_ade20k-512x512', 512, 1),
}
# The last layers of a detector's head work on large maps.
FORMS: dict[str, dict] = {
    'float32': dict(precision='float32'),
    'int8': dict(precision='int8'),
    'int8, read-outs too': dict(precision='int8', int8_read_out=True),
}
PEERS = {
    'ResNet-50': torchvision.models.resnet50,
    'MobileNetV3': torchvision.models.mobilenet_v3_large,
}


@dataclass
class Row:
    """What was measured of one candidate."""

    task: str
    threads: int
    candidate: str
    milliseconds: float  # per batch, wall time
    cpu_milliseconds: float
    images_per_second: float
    times_research: float


def build(name: str) -> nn.Module:
    """The model of a config, without weights."""
    cfg = mmspike.get_config(name)
    cfg.model.backbone.pop('init_cfg', None)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return build_model(cfg)


def torch_candidates(model: nn.Module, images: Tensor) -> dict[str, Callable[[], object]]:
    """The ways to run a host's model in PyTorch."""
    fast = mmspike.optimize_for_inference(model, sample=images)
    return {
        RESEARCH: call(Network(with_neurons(model, PlainSFA)), images),
        'mmspike, PyTorch': call(Network(model), images),
        'optimize_for_inference, PyTorch': call(Network(fast), images),
    }


def call(net: nn.Module, images: Tensor) -> Callable[[], object]:
    net.eval()

    def run() -> object:
        with torch.inference_mode():
            return net(images)

    return run


def exported(model: nn.Module, images: Tensor, folder: Path) -> Iterator[tuple[str, Path]]:
    """The network of a host's model as files."""
    import onnx_ir

    for i, (name, options) in enumerate(FORMS.items()):
        parts = export_parts(model, images, free_size=False, **options)
        network = next(part for part in parts if part.name == NETWORK)
        path = folder / f'{i}.onnx'
        onnx_ir.save(network.model, path)
        yield name, path


def exported_peer(net: nn.Module, images: Tensor, folder: Path) -> Iterator[tuple[str, Path]]:
    """A network of torchvision as files: int8 by ONNX Runtime's own quantisation."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter([{'images': images.numpy()}])

        def get_next(self) -> dict | None:
            return next(self._left, None)

    plain, prepared, rounded = (folder / f'{name}.onnx' for name in ('float32', 'pre', 'int8'))
    with quiet_exporter():
        torch.onnx.export(
            net.eval(), (images,), plain, dynamo=True, opset_version=18, verbose=False,
            input_names=['images'], external_data=False,
        )  # fmt: skip
    yield 'float32', plain
    quant_pre_process(plain, prepared)
    quantize_static(prepared, rounded, Images(), quant_format=QuantFormat.QDQ, per_channel=True)
    yield 'int8', rounded


def session_candidates(
    name: str, files: list[tuple[str, Path]], images: Tensor, threads: int
) -> dict[str, Callable[[], object]]:
    """Files in both runtimes."""
    found: dict[str, Callable[[], object]] = {}
    pixels = images.numpy()
    for precision, path in files:
        for runtime in RUNTIMES:
            session = open_session(path, runtime, threads)
            found[f'{name}{runtime}, {precision}'] = lambda run=session: run(pixels)
    return found


def measure(
    contestants: dict[str, Callable[[], object]], repetitions: int, title: str
) -> dict[str, list[tuple[float, float]]]:
    """Wall and processor seconds of every round."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for repetition in track(range(repetitions + 1), title):
        for name in random.sample(list(contestants), len(contestants)):
            began, used = time.perf_counter(), time.process_time()
            contestants[name]()
            if repetition:  # the first round warms up
                took = time.perf_counter() - began, time.process_time() - used
                seconds[name].append(took)
    return seconds


def rows_of(
    task: str, threads: int, batch: int, seconds: dict[str, list[tuple[float, float]]]
) -> list[Row]:
    base = [wall for wall, _ in seconds[RESEARCH]]
    rows = []
    for name, times in seconds.items():
        wall = statistics.median(wall for wall, _ in times)
        cpu = statistics.median(cpu for _, cpu in times)
        ratio = statistics.median(b / wall for b, (wall, _) in zip(base, times, strict=True))
        rows.append(Row(task, threads, name, wall * 1e3, cpu * 1e3, batch / wall, ratio))
    return rows


def run_task(task: str, args: argparse.Namespace, console: Console) -> list[Row]:
    name, size, batch = TASKS[task]
    size, batch = args.size or size, args.batch or batch
    torch.manual_seed(0)
    images = torch.randn(batch, 3, size, size)
    model = build(name)
    found: list[Row] = []
    with TemporaryDirectory() as folder:
        sources = {'': list(exported(model, images[:1].expand(2, -1, -1, -1), _in(folder, 'ours')))}
        in_torch = torch_candidates(model, images)
        if task == 'cls':
            for peer, make in PEERS.items():
                net = make()
                sources[f'{peer}, '] = list(exported_peer(net, images, _in(folder, peer)))
                in_torch[f'{peer}, PyTorch'] = call(net, images)
        for threads in args.threads:
            torch.set_num_threads(threads)
            contestants = dict(in_torch)
            for prefix, files in sources.items():
                contestants |= session_candidates(prefix, files, images, threads)
            seconds = measure(contestants, args.repetitions, f'{task}, {threads} threads')
            rows = rows_of(task, threads, batch, seconds)
            show(rows, f'{name}, {size}x{size}, batch {batch}, threads: {threads}', console)
            found += rows
    return found


def _in(folder: str, name: str) -> Path:
    path = Path(folder, name)
    path.mkdir()
    return path


def show(rows: list[Row], title: str, console: Console) -> None:
    table = Table(title=title, title_justify='left')
    for column in ('candidate', 'ms', 'CPU ms', 'images/s', 'times research code'):
        table.add_column(column, justify='left' if column == 'candidate' else 'right')
    for row in rows:
        table.add_row(
            row.candidate, f'{row.milliseconds:.1f}', f'{row.cpu_milliseconds:.1f}',
            f'{row.images_per_second:.1f}', f'{row.times_research:.2f}',
        )  # fmt: skip
    console.print(table)


def plot(rows: list[Row], path: Path) -> None:
    """Bars of the first number of threads, a plot for each task."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    threads = rows[0].threads
    figure, axes = plt.subplots(
        1, len(tasks), figsize=(6.5 * len(tasks), 5), layout='constrained', squeeze=False
    )
    for ax, task in zip(axes[0], tasks, strict=True):
        shown = [row for row in rows if (row.task, row.threads) == (task, threads)]
        ours = ['C0' if 'MobileNet' not in r.candidate and 'ResNet' not in r.candidate else 'C7'
                for r in shown]  # fmt: skip
        places = np.arange(len(shown))[::-1]
        ax.barh(places, [row.times_research for row in shown], color=ours)
        ax.set_yticks(places, [row.candidate for row in shown])
        ax.set_xlabel('times the speed of the research code')
        ax.set_title(f'{task}, threads: {threads}')
        for place, row in zip(places, shown, strict=True):
            ax.text(row.times_research, place, f' {row.times_research:.1f}', va='center')
        ax.margins(x=0.12)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--task', nargs='+', choices=TASKS, default=['cls'])
    parser.add_argument('--threads', nargs='+', type=int, default=[1, 2])
    parser.add_argument('--size', type=int, help='default: 224 or 512, by task')
    parser.add_argument('--batch', type=int, help='default: 8 or 1, by task')
    parser.add_argument('--repetitions', type=int, default=7)
    parser.add_argument(
        '--memory', choices=('kept', 'default'), default='default',
        help='of PyTorch on the CPU: freed memory is kept, or given back as by default',
    )  # fmt: skip
    parser.add_argument('--out', default='work_dirs/bench', help='folder for the CSV and the plot')
    args = parser.parse_args()
    if args.memory == 'kept':
        keep_memory()
    console = tool_console(file_width=110)
    rows = [row for task in args.task for row in run_task(task, args, console)]
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / 'deploy.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, asdict(rows[0]))
        writer.writeheader()
        writer.writerows(map(asdict, rows))
    plot(rows, out / 'deploy.png')
    console.print(f'written: deploy.csv and deploy.png in {out}')


if __name__ == '__main__':
    main()
