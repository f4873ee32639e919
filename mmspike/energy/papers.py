"""An energy report in the layout of papers: one row per layer, as CSV and as a LaTeX table."""

import csv
import io
from dataclasses import asdict, dataclass, fields

from mmspike.energy.report import EnergyReport

# Heads of the columns in a LaTeX table.
_HEADS = dict(
    layer='Layer', kernel='Kernel', output='Output', flops='MFLOPs', rate='Rate', timesteps='$T$',
    D='$D$', sops='MSOPs', energy='Energy (\\textmu J)',
)  # fmt: skip
# What stands for characters that LaTeX takes for commands, or prints as others.
_ESCAPES = str.maketrans(
    {character: f'\\{character}' for character in '_#&%${}'}
    | {
        '\\': r'\textbackslash{}', '^': r'\textasciicircum{}', '~': r'\textasciitilde{}',
        '<': r'\textless{}', '>': r'\textgreater{}', '|': r'\textbar{}',
    }
)  # fmt: skip


@dataclass(frozen=True)
class PaperRow:
    """One layer; all numbers are per image.

    Attributes:
        layer: Its name.
        kernel: Size of its kernel; empty of linear layers and products.
        output: Shape of its output at one time step.
        flops: MACs of one time step, in millions, as papers count FLOPs.
        rate: Spikes per input and time step, which has D in it and not T; None of layers on real
            numbers.
        timesteps: T.
        D: The most spikes of an input in one step; None of layers on real numbers.
        sops: Synaptic operations over all steps, exact, in millions.
        energy: Energy in microjoule: SOPs at the cost of additions, or all MACs.
    """

    layer: str
    kernel: str
    output: str
    flops: float
    rate: float | None
    timesteps: float
    D: int | None
    sops: float
    energy: float


def paper_rows(report: EnergyReport) -> list[PaperRow]:
    """All layers, in the order in which they ran."""
    rows = []
    for row in report.layers:
        count = report.counts.layers[row.name]
        rows.append(
            PaperRow(
                layer=row.name,
                kernel=count.kernel,
                output=count.output_shape,
                flops=row.flops / 1e6,
                rate=row.rate,
                timesteps=round(count.timesteps, 6),
                D=count.max_spikes or None,
                sops=row.sops / 1e6,
                energy=row.energy_pj / 1e6,
            )
        )
    return rows


def paper_csv(report: EnergyReport) -> str:
    """The rows as comma-separated values."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [one.name for one in fields(PaperRow)], lineterminator='\n')
    writer.writeheader()
    writer.writerows(asdict(row) for row in paper_rows(report))
    return text.getvalue()


def paper_latex(report: EnergyReport) -> str:
    """The rows and their sum as a table for LaTeX, which needs the packages booktabs, longtable."""
    lines = [
        '% \\usepackage{booktabs,longtable,textcomp}',
        '\\begin{longtable}{lllrrrrrr}',
        '\\toprule',
        ' & '.join(_HEADS.values()) + r' \\',
        '\\midrule',
        *(_line(row) for row in paper_rows(report)),
        '\\midrule',
        _total(report),
        '\\bottomrule',
        f'\\caption{{Energy of {_escaped(report.name)} per image: '
        f'{report.costs.ac_pj:g}~pJ per addition, {report.costs.mac_pj:g}~pJ per MAC '
        f'({_escaped(report.costs.name)}).}}',
        '\\end{longtable}',
    ]
    return '\n'.join(lines) + '\n'


def _line(row: PaperRow) -> str:
    cells = [
        r'\texttt{' + _escaped(row.layer) + '}',
        row.kernel.replace('x', r'$\times$'),
        row.output.replace('x', r'$\times$'),
        f'{row.flops:.2f}',
        '--' if row.rate is None else f'{row.rate:.4f}',
        f'{row.timesteps:g}',
        '--' if row.D is None else str(row.D),
        '--' if row.rate is None else f'{row.sops:.3f}',
        f'{row.energy:.3f}',
    ]
    return ' & '.join(cells) + r' \\'


def _total(report: EnergyReport) -> str:
    totals = report.totals
    sums = (
        f'{totals.flops / 1e6:.2f} & & & & {totals.sops / 1e6:.3f} & {totals.energy_mj * 1e3:.3f}'
    )
    return rf'total & & & {sums} \\'


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)
