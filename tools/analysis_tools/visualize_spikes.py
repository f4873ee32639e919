"""Show where the neurons of a network fire on an image, and what its attention looks at.

Configs may be of mmpretrain, mmdet and mmseg with a spiking backbone. The tool prints the firing
rates and writes files named after the image: firing.png (each stage and time step), attention.png
(each attention block and time step) and spikes.gif (the time steps one after the other, or at T=1
the first, second, ... spikes of integer neurons).
"""

import argparse
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text

from mmspike import get_timesteps
from mmspike.apis.arguments import add_cfg_options, add_device
from mmspike.apis.config import load_config
from mmspike.apis.inference import (
    InputRecorder,
    build_inferencer,
    check_device,
    quiet_hosts,
    read_image,
)
from mmspike.apis.terminal import tool_console
from mmspike.files import atomic_write, forbid_code_in_checkpoints
from mmspike.neurons import NeuronMismatchError
from mmspike.recorders.attention_maps import (
    AttentionMap,
    AttentionMapRecorder,
    attention_blocks,
)
from mmspike.recorders.firing_maps import FiringMap, FiringMapRecorder, spiking_stages
from mmspike.visualization.spike_plots import Panel, map_figure, write_map_gif

console = tool_console(file_width=130)  # a file has room for many steps


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('image', type=Path, help='image file')
    parser.add_argument('config', help='config file of mmpretrain, mmdet or mmseg')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--out', type=Path, help='output folder; default work_dirs/spikes/<config name>'
    )
    add_device(parser)
    parser.add_argument('--fps', type=float, default=2.0, help='frames of the GIF per second')
    parser.add_argument(
        '--stages', nargs='+', metavar='NAME',
        help="stages in the GIF, by the names that are printed, as 'stage 3' or 3; default all",
    )  # fmt: skip
    add_cfg_options(parser)
    args = parser.parse_args()
    if not 0.1 <= args.fps <= 50:
        parser.error(f'--fps must lie between 0.1 and 50, got {args.fps:g}')
    if args.out is None:
        args.out = Path('work_dirs', 'spikes', Path(args.config).stem)
    return args


@dataclass(frozen=True)
class Recording:
    """Firing and attention of a model on one image.

    Attributes:
        image: Input of the model, ``(H, W, 3)``, uint8, RGB.
        stages: Firing maps of the stages.
        blocks: Attention maps of the blocks; none in a backbone without attention.
        timesteps: Number of steps T.
    """

    image: np.ndarray
    stages: list[FiringMap]
    blocks: list[AttentionMap]
    timesteps: int


def record(inferencer, path: Path) -> Recording:
    """Run the model on an image.

    Raises:
        ValueError: The backbone has no neurons, or the model looked at the image in pieces.
    """
    model = inferencer.model
    with ExitStack() as stack:
        firing = stack.enter_context(FiringMapRecorder(model, slots=True))
        attention = (
            stack.enter_context(AttentionMapRecorder(model)) if attention_blocks(model) else None
        )
        seen = stack.enter_context(InputRecorder(model))
        stack.enter_context(quiet_hosts())
        inferencer(str(path), return_datasamples=True)
    stages = firing.maps()
    if any(len(one.rates) > 1 for one in stages):
        raise ValueError('the model looks at the image in pieces: there is no map of the whole')
    blocks = attention.maps() if attention else []
    return Recording(seen.image, stages, blocks, get_timesteps(model.backbone))


def chosen_stages(names: Sequence[str] | None, found: Sequence[str]) -> list[str]:
    """The stages that ``--stages`` names, in the order of the backbone."""
    if names is None:
        return list(found)
    wanted = {f'stage {name}' if name.isdigit() else name for name in names}
    unknown = sorted(wanted - set(found))
    if unknown:
        raise ValueError(
            f'--stages: there is no {", ".join(map(repr, unknown))}; there are {", ".join(found)}'
        )
    return [name for name in found if name in wanted]


def frames_of(one: FiringMap, timesteps: int) -> list[FiringMap]:
    """The frames to show: time steps, or the slots of a single step."""
    return one.per_step() if timesteps > 1 else one.per_slot()


def rate_table(recording: Recording) -> Table:
    steps = recording.timesteps > 1
    parts = [frames_of(one, recording.timesteps) for one in recording.stages]
    table = Table(
        title=f'spikes per neuron and step, T={recording.timesteps}', title_justify='left'
    )
    table.add_column('stage', no_wrap=True)
    columns = [f'{"step" if steps else "slot"} {i + 1}' for i in range(max(map(len, parts)))]
    for column in ('stride', 'map', *columns, 'mean' if steps else 'sum'):
        table.add_column(column, justify='right')
    for one, shown in zip(recording.stages, parts, strict=True):
        height, width = one.rates.shape[-2:]
        rates = [f'{part.mean:.3f}' for part in shown] + [''] * (len(columns) - len(shown))
        size = f'{height}x{width}'
        table.add_row(one.stage, str(one.stride), size, *rates, f'{one.mean:.3f}')
    return table


def firing_figure(recording: Recording) -> Figure:
    """A row per stage, a column per time step; at T=1 as many rows as columns, with the image."""
    size, panels = recording.image.shape[:2], []
    for one in recording.stages:
        for t, step in enumerate(one.per_step(), start=1):
            of_step = f', step {t}' if recording.timesteps > 1 else f', stride {one.stride}'
            title = f'{one.stage}{of_step}\nmean {step.mean:.3f}'
            panels.append(Panel(title, step.on_image(*size).numpy()))
    return map_figure(
        recording.image, panels, columns_of(panels, recording), 'spikes per neuron',
        with_image=recording.timesteps == 1,
    )[0]  # fmt: skip


def columns_of(panels: Sequence[Panel], recording: Recording) -> int:
    """A column per time step; for a single step, about as many columns as rows."""
    steps = recording.timesteps
    return steps if steps > 1 else int(np.ceil(np.sqrt(len(panels) + 1)))


def block_label(name: str) -> str:
    """``stages.3.blocks.0.attn`` as words; other names as they are."""
    match = re.fullmatch(r'stages\.(\d+)\.blocks\.(\d+)\.\w+', name)
    return f'stage {match[1]}, block {match[2]}' if match else name


def attention_figure(recording: Recording) -> Figure:
    """A row per block, a column per time step; at T=1 as many rows as columns, with the image."""
    size, panels = recording.image.shape[:2], []
    for one in recording.blocks:
        for t, overlay in enumerate(one.on_image(*size), start=1):
            second = f'step {t}' if recording.timesteps > 1 else f'stride {one.stride}'
            panels.append(Panel(f'{block_label(one.block)}\n{second}', overlay.numpy()))
    return map_figure(
        recording.image, panels, columns_of(panels, recording),
        'attention, relative to uniform attention', cmap='viridis',
        with_image=recording.timesteps == 1,
    )[0]  # fmt: skip


def write_gif(path: Path, recording: Recording, names: Sequence[str], fps: float) -> int:
    """Show the chosen stages over time, or slot after slot; return the number of frames."""
    chosen = [one for one in recording.stages if one.stage in names]
    parts = [frames_of(one, recording.timesteps) for one in chosen]
    steps, size = recording.timesteps > 1, recording.image.shape[:2]
    count = max(map(len, parts))
    frames = []
    for i in range(count):
        panels = []
        for shown in parts:
            part = shown[i] if i < len(shown) else FiringMap(
                shown[0].stage, torch.zeros_like(shown[0].rates), shown[0].input_size
            )  # fmt: skip
            panels.append(
                Panel(f'{part.stage}\nmean {part.mean:.3f}', part.on_image(*size).numpy())
            )
        spikes = 'spike' if i == 0 else 'spikes'
        more = f'slot {i + 1} of {count}: neurons that fire at least {i + 1} {spikes}'
        frames.append((f'time step {i + 1} of {count}' if steps else more, panels))
    label = 'spikes per neuron' if steps else 'share of the neurons'
    # Few neurons fire the last spikes. The root keeps their share visible.
    gamma = 1.0 if steps else 0.5
    write_map_gif(path, recording.image, frames, label, gamma=gamma, fps=fps)
    return count


def main() -> None:
    forbid_code_in_checkpoints()
    args = parse_args()
    try:
        if not args.image.is_file():
            raise FileNotFoundError(f'there is no image {args.image}')
        read_image(args.image)
        check_device(args.device)
        cfg = load_config(args.config, args.cfg_options)
        inferencer = build_inferencer(cfg, args.config, args.checkpoint, args.device)
        if not spiking_stages(inferencer.model):
            raise ValueError(f'the backbone of {args.config} has no spiking neurons')
        recording = record(inferencer, args.image)
        names = chosen_stages(args.stages, [one.stage for one in recording.stages])
    except (OSError, ValueError, NeuronMismatchError) as error:
        sys.exit(f'visualize_spikes.py: {error}')
    console.print(rate_table(recording))
    if not recording.blocks:
        console.print('the backbone has no spiking attention: no attention maps', style='yellow')
    figures = {'firing': firing_figure(recording)}
    if recording.blocks:
        figures['attention'] = attention_figure(recording)
    for name, figure in figures.items():
        path = args.out / f'{args.image.stem}_{name}.png'
        with atomic_write(path) as file:
            figure.savefig(file, format='png', dpi=120)
        console.print(Text(f'wrote {path}'), soft_wrap=True)
    path = args.out / f'{args.image.stem}_spikes.gif'
    count = write_gif(path, recording, names, args.fps)
    console.print(Text(f'wrote {path}, {count} frames'), soft_wrap=True)


if __name__ == '__main__':
    main()
