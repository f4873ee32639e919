"""An energy report as one HTML page that needs no other file."""

import base64
from collections.abc import Iterable
from html import escape

from mmspike.energy.memories import MEMORIES
from mmspike.energy.page import SCRIPT, STYLE
from mmspike.energy.plots import energy_png, rates_png
from mmspike.energy.report import EnergyReport
from mmspike.energy.rows import MICROJOULE, Totals
from mmspike.energy.step_plots import step_rates_png
from mmspike.energy.tables import (
    QUANTISED_COLUMNS,
    break_even_words,
    quantised_cells,
    quantised_words,
)
from mmspike.wording import some_of

# Head of the columns of energy.
_ENERGIES = (MICROJOULE, f'{MICROJOULE}, published', f'ANN {MICROJOULE}')
_MEMORY = (f'memory {MICROJOULE}', f'ANN memory {MICROJOULE}')


def energy_page(reports: list[EnergyReport], sections: Iterable[str] = ()) -> str:
    """One page for one report, or for several side by side.

    Args:
        reports: One or more.
        sections: Further sections, as HTML, such as those of claims.

    Raises:
        ValueError: There is no report.
    """
    if not reports:
        raise ValueError('there is no report to show')
    names = ' and '.join(report.name for report in reports)
    costs = reports[0].costs
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>Energy of {escape(names)}</title><style>{STYLE}</style></head><body>',
        f'<h1>Energy of {escape(names)}</h1>',
        *(
            f'<p class="banner">{escape(report.name)}: {escape(report.origin.banner)}</p>'
            for report in reports
            if report.origin.banner
        ),
        f'<p class="sub">{costs.mac_pj:g} pJ per MAC, {costs.ac_pj:g} pJ per addition '
        f'({escape(costs.name)}). {escape(costs.source)}</p>',
    ]
    if reports[0].memory:
        parts.append(f'<p class="sub">Memory: {escape(reports[0].memory.source)}</p>')
    if len(reports) > 1:
        parts += ['<h2>Side by side</h2>', _comparison(reports)]
    parts += [_section(report, alone=len(reports) == 1) for report in reports]
    parts += sections
    parts.append('<h2>How to read it</h2><ul>')
    notes = dict.fromkeys(note for report in reports for note in report.notes())
    parts += [f'<li>{escape(note)}</li>' for note in notes]
    parts.append(f'</ul><script>{SCRIPT}</script></body></html>\n')
    return '\n'.join(parts)


def _section(report: EnergyReport, alone: bool) -> str:
    # Beside others, headings are one level below the network's name.
    level = 'h2' if alone else 'h3'

    def heading(text: str) -> str:
        return f'<{level}>{text}</{level}>'

    parts = [
        '<section>',
        '' if alone else f'<h2>{escape(report.name)}</h2>',
        f'<p class="sub">{report.counts.samples} images</p>',
        '<div class="cards">',
        *(
            f'<div class="card"><b>{value}</b><span>{what}</span></div>'
            for value, what in _cards(report)
        ),
        '</div>',
        *(_finding(what, names) for what, names in report.findings().items()),
        heading('Energy by layer'),
        _image(energy_png(report), f'energy of every layer of {report.name}'),
    ]
    if report.neurons:
        parts += [heading('Beside a quantised ANN'), _quantised(report)]
        parts += [heading('Firing rates'),
                  _image(rates_png(report), f'firing rates of {report.name}')]  # fmt: skip
    if report.step_rates:
        parts += [heading('Rates by time step'),
                  _image(step_rates_png(report), f'rates by step of {report.name}')]  # fmt: skip
    parts += [heading('Stages'), _stage_table(report), heading('Layers'), _layer_table(report)]
    if report.neurons:
        parts += [heading('Neurons'), _neuron_table(report)]
    parts += [heading('Made from'), _made_from(report)]
    return '\n'.join([*parts, '</section>'])


def _quantised(report: EnergyReport) -> str:
    random = bool(report.origin.random)
    rows = [list(quantised_cells(one, random)) for one in report.comparisons]
    sources = {one.name: one.source for one in MEMORIES.values()}
    costs = report.quantised.costs
    sentence = '' if random else f'{escape(break_even_words(report))}.'
    return (
        f'<p class="sub">{escape(quantised_words(report))}, mJ per image. {sentence}</p>'
        + _table(list(QUANTISED_COLUMNS), rows)
        + '<details><summary>sources</summary><ul>'
        + f'<li>arithmetic: {escape(costs.source)}</li>'
        + ''.join(f'<li>{escape(name)}: {escape(text)}</li>' for name, text in sources.items())
        + '</ul></details>'
    )


def _finding(what: str, names: list[str]) -> str:
    """The first layers that a warning is about; a click shows all."""
    text = escape(f'{what}: {some_of(names)}')
    if some_of(names) != ', '.join(names):
        text = (
            f'<details><summary>{text}</summary>'
            f'{len(names)} layers: {escape(", ".join(names))}</details>'
        )
    return f'<div class="warning">{text}</div>'


def _made_from(report: EnergyReport) -> str:
    lines = (
        f'<dt>{escape(what)}</dt><dd>{escape(value)}</dd>'
        for what, value in report.made_from().items()
    )
    return f'<dl>{"".join(lines)}</dl>'


def _cards(report: EnergyReport) -> list[tuple[str, str]]:
    """Numbers with their names. A network without spikes has no separate ANN."""
    totals = report.totals
    cards = [(f'{totals.energy_mj:.4g} mJ', 'per image' + ', exact SOPs' * bool(report.neurons))]
    if report.neurons:
        cards += [
            (f'{totals.energy_published_mj:.4g} mJ', 'published approximation'),
            (f'{totals.ann_mj:.4g} mJ', 'ANN of the same shape'),
        ]
    if report.ratio is not None:
        cards.append((f'{report.ratio:.2f} times', 'ANN over this network'))
    if report.memory:
        cards.append((f'{totals.total_mj:.4g} mJ', 'with memory'))
        if report.neurons:
            cards.append((f'{totals.ann_total_mj:.4g} mJ', 'ANN with memory'))
    if report.neurons:
        cards.append((_count(totals.sops), 'SOPs per image'))
    cards.append((_count(totals.macs), 'MACs per image on real numbers'))
    if report.neurons:
        cards.append((f'{report.counts.mean_rate:.3f}', 'spikes per neuron and step'))
    return cards


def _comparison(reports: list[EnergyReport]) -> str:
    def number(value: float | None, form: str) -> str:
        return '-' if value is None else format(value, form)

    memory = []
    if all(r.memory for r in reports):
        memory = [
            ('energy with memory, mJ', [f'{r.totals.total_mj:.4g}' for r in reports]),
            ('ANN with memory, mJ', [f'{r.totals.ann_total_mj:.4g}' for r in reports]),
        ]
    lines = [
        ('energy, mJ per image', [f'{r.totals.energy_mj:.4g}' for r in reports]),
        ('by the published approximation, mJ',
         [f'{r.totals.energy_published_mj:.4g}' for r in reports]),
        ('ANN of the same shape, mJ', [f'{r.totals.ann_mj:.4g}' for r in reports]),
        *memory,
        ('ANN over this network', [number(r.ratio, '.2f') for r in reports]),
        ('SOPs per image', [_count(r.totals.sops) for r in reports]),
        ('MACs per image on real numbers', [_count(r.totals.macs) for r in reports]),
        ('MACs of one step', [_count(r.totals.flops) for r in reports]),
        ('spikes per neuron and step',
         [f'{r.counts.mean_rate:.3f}' if r.neurons else '-' for r in reports]),
        ('images', [str(r.counts.samples) for r in reports]),
    ]  # fmt: skip
    first = reports[0].totals.energy_mj
    if first and not any(r.origin.random for r in reports):
        lines.insert(1, ('times the first', [f'{r.totals.energy_mj / first:.2f}' for r in reports]))
    rows = [[name, *cells] for name, cells in lines]
    return _table(['', *(r.name for r in reports)], rows, kinds='')


def _stage_table(report: EnergyReport) -> str:
    rows = [[name, *_sums(stage)] for name, stage in report.stages().items()]
    names = ['stage', 'MMACs of one step', 'MSOPs', 'MSOPs, published', *_ENERGIES]
    if report.memory:
        names += _MEMORY
    return _table(names, rows, total=['total', *_sums(report.totals)])


def _sums(totals: Totals) -> list[str]:
    return [
        f'{totals.flops / 1e6:,.2f}', f'{totals.sops / 1e6:,.2f}',
        f'{totals.sops_published / 1e6:,.2f}', f'{totals.energy_mj * 1e3:,.3f}',
        f'{totals.energy_published_mj * 1e3:,.3f}', f'{totals.ann_mj * 1e3:,.3f}',
        *_present(totals.memory_mj, totals.ann_memory_mj, scale=1e3, form=',.3f'),
    ]  # fmt: skip


def _present(*energies: float | None, scale: float, form: str) -> list[str]:
    """Cells of the requested energies."""
    return [format(energy * scale, form) for energy in energies if energy is not None]


def _count(operations: float) -> str:
    """A number of operations, in a unit that suits it."""
    unit, name = (1e9, 'G') if operations >= 1e9 else (1e6, 'M')
    return f'{operations / unit:.4g} {name}' if operations else '0'


def _layer_table(report: EnergyReport) -> str:
    names = ['layer', 'kind', 'input', 'rate', 'MMACs of one step', 'MMACs spent', 'MSOPs',
             'MSOPs, published', *_ENERGIES]  # fmt: skip
    if report.memory:
        names += _MEMORY

    def millions(number: float, absent: bool) -> str:
        return '-' if absent else f'{number / 1e6:,.3f}'

    rows = [
        [
            row.name.removeprefix('backbone.'), row.kind, row.input,
            '-' if row.rate is None else f'{row.rate:.4f}', millions(row.flops, False),
            millions(row.macs, row.input == 'spikes'), millions(row.sops, row.rate is None),
            millions(row.sops_published, row.rate is None), f'{row.energy_pj / 1e6:,.4f}',
            f'{row.energy_published_pj / 1e6:,.4f}', f'{row.ann_pj / 1e6:,.4f}',
            *_present(row.memory_pj, row.ann_memory_pj, scale=1e-6, form=',.4f'),
        ]
        for row in report.layers
    ]  # fmt: skip
    return _table(names, rows, kinds='sortable searchable')


def _neuron_table(report: EnergyReport) -> str:
    names = ['neurons', 'rate', 'active', 'at most', 'T', 'updates per image']
    if report.memory:
        names.append(_MEMORY[0])
    names.append('')
    rows = [
        [
            row.name.removeprefix('backbone.'), f'{row.rate:.4f}', f'{row.active:.1%}',
            str(row.max_spikes), f'{row.timesteps:g}', f'{row.updates:,.0f}',
            *_present(row.memory_pj, scale=1e-6, form=',.4f'),
            'dead' if row.dead else ('saturated' if row.saturated else ''),
        ]
        for row in report.neurons
    ]  # fmt: skip
    return _table(names, rows, kinds='sortable searchable')


def _table(
    names: list[str],
    rows: list[list[str]],
    total: list[str] | None = None,
    kinds: str = 'sortable',
) -> str:
    def line(cells: list[str], tag: str = 'td', more: str = '') -> str:
        return f'<tr{more}>' + ''.join(f'<{tag}>{escape(c)}</{tag}>' for c in cells) + '</tr>'

    body = [line(row) for row in rows]
    if total:
        body.append(line(total, more=' class="total"'))
    return (
        f'<div class="scroll"><table class="{kinds}"><thead>{line(names, "th")}</thead><tbody>'
        + '\n'.join(body)
        + '</tbody></table></div>'
    )


def _image(content: bytes, alt: str) -> str:
    data = base64.b64encode(content).decode()
    return (
        '<div class="picture">'
        f'<img alt="{escape(alt, quote=True)}" src="data:image/png;base64,{data}"></div>'
    )
