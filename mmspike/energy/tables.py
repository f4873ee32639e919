"""An energy report as tables for the terminal (rich)."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmspike.energy.report import MICROJOULE, NOTES, EnergyReport, LayerEnergy, Totals
from mmspike.visualization.terminal import bar

_COLUMNS = ('MMACs', 'MSOPs', 'MSOPs*', MICROJOULE, f'{MICROJOULE}*', f'ANN {MICROJOULE}')
_MEMORY_COLUMNS = (f'memory {MICROJOULE}', f'ANN memory {MICROJOULE}')


def energy_table(report: EnergyReport, top: int | None = None) -> RenderableType:
    """Layers, totals and warnings.

    Args:
        report: The report.
        top: Show only so many layers, those that take most energy, and the sums of the stages;
            None shows all layers.
    """
    parts: list[RenderableType] = []
    rows = report.layers
    title = f'{report.name}: energy per image, {report.costs.name} costs, '
    title += f'{report.counts.samples} images'
    if top is not None and top < len(rows):
        table = _table(title, report, 'stage')
        for name, totals in report.stages().items():
            table.add_row(name, *_sums(totals))
        _finish(table, report.totals)
        parts.append(table)
        rows = sorted(rows, key=lambda row: -row.energy_pj)[:top]
        title = f'the {top} layers that take most'
    table = _table(title, report, 'layer', 'input', 'rate')
    if not report.memory:  # there is no room for both
        table.add_column('of the largest')
    largest = max((row.energy_pj for row in rows), default=0) or 1
    for row in rows:
        bars = [] if report.memory else [Text(bar(row.energy_pj / largest, 12), style='cyan')]
        table.add_row(*_cells(row), *bars)
    if not parts:
        _finish(table, report.totals, blank=2)
    parts.append(table)
    parts.append(Text('MMACs: of one time step; *: firing rate x T x MACs', style='dim'))
    totals = report.totals
    text = f'{totals.energy_mj:.4g} mJ per image'
    if report.neurons and totals.ratio is not None:
        text += (
            f' (published approximation {totals.energy_published_mj:.4g} mJ), ANN of this shape '
            f'{totals.ann_mj:.4g} mJ: {totals.ratio:.2f} times as much'
        )
    parts.append(Text(text))
    if report.memory:
        text = f'{totals.both_mj:.4g} mJ with memory ({report.memory.name})'
        if report.neurons:
            text += f', ANN {totals.ann_both_mj:.4g} mJ'
        parts.append(Text(text))
    parts += [Text(note, style='dim') for note in report.notes()[len(NOTES) :]]
    parts += [Text(warning, style='yellow') for warning in report.warnings()]
    return Group(*parts)


def _table(title: str, report: EnergyReport, *first: str) -> Table:
    table = Table(title=title, title_justify='left', show_footer=False)
    for i, name in enumerate(first):
        table.add_column(name, min_width=0 if i else 28, overflow='fold')
    for name in (*_COLUMNS, *(_MEMORY_COLUMNS if report.memory else ())):
        table.add_column(name, justify='right', no_wrap=True)
    return table


def _finish(table: Table, totals: Totals, blank: int = 0) -> None:
    table.add_section()
    table.add_row('total', *[''] * blank, *_sums(totals), style='bold')


def _sums(totals: Totals) -> tuple[str, ...]:
    return (
        f'{totals.flops / 1e6:.2f}',
        f'{totals.sops / 1e6:.2f}',
        f'{totals.sops_published / 1e6:.2f}',
        f'{totals.energy_mj * 1e3:.3f}',
        f'{totals.energy_published_mj * 1e3:.3f}',
        f'{totals.ann_mj * 1e3:.3f}',
        *_present(totals.memory_mj, totals.ann_memory_mj, scale=1e3),
    )


def _cells(row: LayerEnergy) -> tuple[str, ...]:
    spikes = row.rate is not None
    return (
        row.name.removeprefix('backbone.'),
        row.input,
        f'{row.rate:.3f}' if spikes else '-',
        f'{row.flops / 1e6:.2f}',
        f'{row.sops / 1e6:.2f}' if spikes else '-',
        f'{row.sops_published / 1e6:.2f}' if spikes else '-',
        f'{row.energy_pj / 1e6:.3f}',
        f'{row.energy_published_pj / 1e6:.3f}',
        f'{row.ann_pj / 1e6:.3f}',
        *_present(row.memory_pj, row.ann_memory_pj, scale=1e-6),
    )


def _present(*energies: float | None, scale: float) -> tuple[str, ...]:
    """Cells of the energies that were asked for."""
    return tuple(f'{energy * scale:.3f}' for energy in energies if energy is not None)
