"""Runs a training as a user would, and reads its log meanwhile."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from console import console

ROOT = Path(__file__).resolve().parents[2]


def read_scalars(work_dir: Path) -> list[dict]:
    """Scalars that the runs in ``work_dir`` have logged so far, oldest first."""
    records = []
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break  # a line that is being written
    return records


def run_tool(tool: str, arguments: list[str], log: Path, watch: Callable[[], None]) -> None:
    """Run a tool with its output in ``log``; ``watch`` is called repeatedly during the run."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, 'a') as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / 'tools' / tool), *arguments], stdout=output, stderr=output
        )
        try:
            while process.poll() is None:
                watch()
                time.sleep(0.3)
        except KeyboardInterrupt:
            process.wait()
            raise
    watch()
    if process.returncode:
        console.print(''.join(log.read_text().splitlines(keepends=True)[-25:]), markup=False)
        sys.exit(f'demo: {tool} failed, its output is in {log}')
