"""Writing an energy report to files."""

import json
import os
from pathlib import Path

from mmspike.energy.report import EnergyReport
from mmspike.files import atomic_write


def write_report(report: EnergyReport, folder: str | os.PathLike) -> list[Path]:
    """Write ``energy.json``, ``energy.csv``, ``energy.png``, and with neurons ``rates.png``.

    Each file is whole or not there. ``folder`` is made if need be.

    Returns:
        The files.
    """
    # The import of matplotlib takes most of its time.
    from mmspike.energy.plots import energy_png, rates_png

    files = {
        'energy.json': json.dumps(report.to_dict(), indent=1).encode(),
        'energy.csv': report.csv().encode(),
        'energy.png': energy_png(report),
    }
    if report.neurons:
        files['rates.png'] = rates_png(report)
    for name, content in files.items():
        with atomic_write(Path(folder, name)) as file:
            file.write(content)
    return [Path(folder, name) for name in files]
