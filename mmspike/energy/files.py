"""Writing an energy report to files."""

import json
import os
from pathlib import Path

from mmspike.energy.papers import paper_csv, paper_latex
from mmspike.energy.report import EnergyReport
from mmspike.energy.step_rows import step_rates_csv
from mmspike.files import atomic_write


def write_report(report: EnergyReport, folder: str | os.PathLike) -> list[Path]:
    """Write ``energy.json``, ``energy.csv``, ``energy.png``, and with neurons ``rates.png``.

    ``papers.csv`` and ``papers.tex`` have the layers in the layout of papers. If the report has
    rates by step, ``rates_by_step.csv`` and ``rates_by_step.png`` hold them.

    Each file is whole or not there. ``folder`` is made if need be.

    Returns:
        The files.
    """
    # The import of matplotlib takes most of its time.
    from mmspike.energy.plots import energy_png, rates_png
    from mmspike.energy.step_plots import step_rates_png

    files = {
        'energy.json': json.dumps(report.to_dict(), indent=1).encode(),
        'energy.csv': report.csv().encode(),
        'energy.png': energy_png(report),
        'papers.csv': paper_csv(report).encode(),
        'papers.tex': paper_latex(report).encode(),
    }
    if report.neurons:
        files['rates.png'] = rates_png(report)
    if report.step_rates:
        files['rates_by_step.csv'] = step_rates_csv(report.step_rates).encode()
        files['rates_by_step.png'] = step_rates_png(report)
    for name, content in files.items():
        with atomic_write(Path(folder, name)) as file:
            file.write(content)
    return [Path(folder, name) for name in files]
