"""An energy report as tables for the terminal (rich)."""

from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from mmspike.energy.quantised import Comparison
from mmspike.energy.report import NOTES, EnergyReport
from mmspike.energy.rows import MICROJOULE, LayerEnergy, Totals
from mmspike.visualization.terminal import bar

_BAR = 'of the largest'
_COLUMNS = ('MMACs', 'MSOPs', 'MSOPs*', MICROJOULE, f'{MICROJOULE}*', f'ANN {MICROJOULE}')
_MEMORY_COLUMNS = (f'memory\n{MICROJOULE}', f'ANN\nmemory {MICROJOULE}')
# Columns that a narrow terminal omits, in this order.
_SPARED = (_BAR, 'encoder\nonce', 'MSOPs*', f'{MICROJOULE}*', 'input', 'MMACs', 'MSOPs', 'rate')
# Longer names are folded rather than columns left out.
_NAME_WIDTH = 34


def energy_table(report: EnergyReport, top: int | None = None) -> RenderableType:
    """Layers, totals and warnings, with as many columns as fit the terminal.

    Args:
        report: The report.
        top: Show only so many layers, those that take most energy, and the sums of the stages;
            None shows all layers.
    """
    parts: list[RenderableType] = []
    rows = report.layers
    total = ('total', '', '', *_sums(report.totals), '')
    energies = (*_COLUMNS, *(_MEMORY_COLUMNS if report.memory else ()))
    title = f'{report.name}: energy per image, {report.costs.name} costs, '
    title += f'{report.counts.samples} images'
    if report.origin.banner:
        parts.append(Text(report.origin.banner, style='bold red'))
    if top is not None and top < len(rows):
        stages = [(name, *_sums(totals)) for name, totals in report.stages().items()]
        parts.append(_Sheet(title, ('stage', *energies), stages, ('total', *_sums(report.totals))))
        rows = sorted(rows, key=lambda row: -row.energy_pj)[:top]
        title, total = f'the {top} layers that take most', ()
    largest = max((row.energy_pj for row in rows), default=0) or 1
    layers = [(*_cells(row), bar(row.energy_pj / largest, 12)) for row in rows]
    parts.append(_Sheet(title, ('layer', 'input', 'rate', *energies, _BAR), layers, total))
    parts.append(Text('MMACs: of one time step; *: firing rate x T x MACs', style='dim'))
    totals = report.totals
    text = f'{totals.energy_mj:.4g} mJ per image'
    if report.ratio is not None:
        text += (
            f' (published approximation {totals.energy_published_mj:.4g} mJ), ANN of this shape '
            f'{totals.ann_mj:.4g} mJ: {report.ratio:.2f} times as much'
        )
    parts.append(Text(text))
    if report.memory:
        text = f'{totals.total_mj:.4g} mJ with memory ({report.memory.name})'
        if report.neurons:
            text += f', ANN {totals.ann_total_mj:.4g} mJ'
        parts.append(Text(text))
    if report.neurons:
        parts.append(quantised_table(report))
    parts += [Text(note, style='dim') for note in report.notes()[len(NOTES) :]]
    parts += [Text(warning, style='yellow') for warning in report.warnings()]
    return Group(*parts)


def quantised_table(report: EnergyReport) -> RenderableType:
    """The network beside a quantised ANN, by memory model."""
    sheet = _Sheet(
        f'beside a quantised ANN of the same width: {quantised_words(report)}, mJ per image',
        QUANTISED_COLUMNS,
        [quantised_cells(one, random=bool(report.origin.random)) for one in report.comparisons],
    )
    return sheet if report.origin.random else Group(sheet, Text(break_even_words(report)))


def quantised_words(report: EnergyReport) -> str:
    """Bit widths of the quantised ANN, in words."""
    bits = [row.bits for row in report.layers if row.input != 'analog']
    inside = max(bits, default=report.quantised.input_bits)
    return f'{report.quantised.weight_bits}-bit weights, {inside}-bit activations'


def break_even_words(report: EnergyReport) -> str:
    """At which rate the network needs as much as its quantised ANN, in a sentence."""
    alone = report.comparisons[0]
    if alone.never:
        return f'{report.name} needs more than its quantised ANN even if it fires nothing'
    if alone.break_even is None:
        return f'{report.name} fired nothing, which does not show what its spikes cost'
    return (
        f'by arithmetic alone {report.name} needs less than its quantised ANN below '
        f'{alone.break_even:.4f} spikes per connection and time step; it fires {alone.rate:.4f}'
    )


QUANTISED_COLUMNS = (
    'memory', 'network', 'encoder\nonce', 'ANN', 'ANN over\nnetwork', 'rate', 'break-even\nrate'
)  # fmt: skip


def quantised_cells(one: Comparison, random: bool) -> tuple[str, ...]:
    """One line of the comparison; of random weights or images without their ratio."""
    return (
        one.memory,
        f'{one.network_mj:.4g}',
        f'{one.once_mj:.4g}',
        f'{one.ann_mj:.4g}',
        '-' if random or one.ratio is None else f'{one.ratio:.2f}',
        f'{one.rate:.4f}',
        'never' if one.never else '-' if one.break_even is None else f'{one.break_even:.4f}',
    )


@dataclass
class _Sheet:
    """A table that leaves out columns until it fits the terminal."""

    title: str
    names: tuple[str, ...]
    rows: list[tuple[str, ...]]
    total: tuple[str, ...] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = list(range(len(self.names)))
        spared = [self.names.index(name) for name in _SPARED if name in self.names]
        left_out = []
        while spared and self._width(shown) > options.max_width:
            shown.remove(spared[0])
            left_out.append(self.names[spared.pop(0)])
        table = Table(title=Text(self.title, 'table.title'), title_justify='left')
        for place in shown:
            number = self.names[place] in (*_COLUMNS, *_MEMORY_COLUMNS, *QUANTISED_COLUMNS[1:])
            table.add_column(
                self.names[place],
                justify='right' if number else 'left',
                no_wrap=place > 0,
                overflow='fold',
            )
        for row in self.rows:
            table.add_row(*(self._cell(row, place) for place in shown))
        if self.total:
            table.add_section()
            table.add_row(*(self.total[place] for place in shown), style='bold')
        yield table
        if left_out:
            names = ', '.join(left_out).replace('\n', ' ')
            yield Text(f'not shown, the terminal is too narrow: {names}', style='dim')

    def _cell(self, row: tuple[str, ...], place: int) -> Text:
        return Text(row[place], style='cyan' if self.names[place] == _BAR else '')

    def _width(self, shown: list[int]) -> int:
        """The width of the columns, with folded names and separators."""
        lines = [self.names, *self.rows, *([self.total] if self.total else [])]
        widths = [
            max(cell_len(part) for line in lines for part in line[place].splitlines() or [''])
            for place in shown
        ]
        return min(widths[0], _NAME_WIDTH) + sum(widths[1:]) + 3 * len(shown) + 1


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
    """Cells of the requested energies."""
    return tuple(f'{energy * scale:.3f}' for energy in energies if energy is not None)
