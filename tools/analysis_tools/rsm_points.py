"""Accuracy and energy of spike masking: the points of a sweep, and their files."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from rich.table import Table

from mmspike.files import atomic_write

# The group of the point without masks, which all groups share.
NONE = '-'


@dataclass(frozen=True)
class SweepPoint:
    """One evaluation.

    Attributes:
        group: Group or pattern of the neurons that drop spikes.
        ratio: Share of their spikes that they drop.
        score: Value of the metric.
        energy_mj: Energy per image in millijoule.
        sops: Synaptic operations per image.
        rate: Spikes per neuron and time step, the mean over all neurons.
    """

    group: str
    ratio: float
    score: float
    energy_mj: float
    sops: float
    rate: float


def point_key(group: str, ratio: float) -> tuple[str, float]:
    """The key of a point. Without masks, all groups have the same key."""
    return (group if ratio else NONE, ratio)


@dataclass
class Sweep:
    """Points of one checkpoint, kept in files, so that an interrupted sweep can resume.

    Args:
        folder: Where ``rsm_sweep.json`` and ``rsm_sweep.csv`` are.
        settings: Plain values that the points depend on; ``metric`` is the score's name.
    """

    folder: Path
    settings: dict
    points: dict[tuple[str, float], SweepPoint] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file that holds everything."""
        return self.folder / 'rsm_sweep.json'

    def restore(self) -> bool:
        """Take the points of an earlier run with the same settings; return whether there were any.

        Raises:
            ValueError: The file there is damaged.
        """
        if not self.path.is_file():
            return False
        try:
            content = json.loads(self.path.read_text())
            points = [SweepPoint(**point) for point in content['points']]
            if content['settings'] != self.settings:
                return False
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f'{self.path} is no file of a sweep ({error}); remove it') from None
        self.points = {point_key(point.group, point.ratio): point for point in points}
        return bool(points)

    def add(self, point: SweepPoint) -> None:
        """Add a point and write the files."""
        self.points[point_key(point.group, point.ratio)] = point
        content = dict(settings=self.settings, points=[asdict(p) for p in self.points.values()])
        with atomic_write(self.path) as file:
            file.write(json.dumps(content, indent=2).encode())
        rows = io.StringIO(newline='')
        writer = csv.DictWriter(rows, [one.name for one in fields(SweepPoint)])
        writer.writeheader()
        writer.writerows(map(asdict, self.points.values()))
        with atomic_write(self.path.with_suffix('.csv')) as file:
            file.write(rows.getvalue().encode())

    def curve(self, group: str, ratios: Iterable[float]) -> list[SweepPoint]:
        """The points of one group that are there, in the order of the ratios."""
        keys = (point_key(group, ratio) for ratio in sorted(ratios))
        return [self.points[key] for key in keys if key in self.points]


def sweep_table(sweep: Sweep, groups: list[str], ratios: list[float], title: str) -> Table:
    """A row per point, with the changes relative to no masks."""
    metric = sweep.settings['metric']
    table = Table(title=f'{title}, {metric}', title_justify='left')
    table.add_column('masked neurons', no_wrap=True)
    short = metric.rpartition('/')[2]  # the whole name leaves the numbers too little of 80 columns
    columns = ('ratio', short, 'change', 'spikes\nper\nneuron', 'SOPs\n(M)', 'mJ')
    for column in (*columns, 'change'):
        table.add_column(column, justify='right', no_wrap=True, overflow='fold')
    base = sweep.points.get(point_key(NONE, 0.0))
    shown = set()
    for group in groups:
        for point in sweep.curve(group, ratios):
            key = point_key(point.group, point.ratio)
            if key in shown:
                continue
            shown.add(key)
            changes = ['', '']
            if base is not None and point is not base:
                changes = [f'{point.score - base.score:+.4g}', '-']
                if base.energy_mj:
                    changes[1] = f'{point.energy_mj / base.energy_mj - 1:+.1%}'
            table.add_row(
                point.group, f'{point.ratio:g}', f'{point.score:.4g}', changes[0],
                f'{point.rate:.3f}', f'{point.sops / 1e6:.2f}', f'{point.energy_mj:.4g}',
                changes[1],
            )  # fmt: skip
        table.add_section()
    return table
