"""The last output of the demo: results with footnotes, files, and next commands."""

import sys
from collections.abc import Sequence
from pathlib import Path

from common import Result, Task
from console import console
from rich.table import Table

# So many columns of results fit 80 characters.
COLUMNS = 3

SAME_ANSWERS = (
    '(1) A difference in a few images is no error. Both executions add the same numbers in '
    'different orders, so the last bit is rounded differently. This decides the number of spikes '
    'if a membrane lies halfway between two integers (docs/execution.md).'
)
REGIONS = (
    "(2) The detector's head runs once for each proposed region. The number of regions differs "
    'between trainings, and so does the energy of both networks.'
)

FILES = (
    '(3) The file holds the network with weights of 8 bits, rounded to nearest; spikes are exact '
    '(docs/deploy.md).'
)


def result_line(result: Result) -> str:
    """Quality and energy of one task."""
    quality = ', '.join(f'{name} {value:.1f} %' for name, value in result.metrics.items())
    return f'{result.title}: {quality}; {result.energy.totals.energy_mj:.3f} mJ per image'


def result_table(results: Sequence[Result]) -> Table:
    """A column per task; quality in %."""
    table = Table()
    table.add_column('')
    for result in results:
        table.add_column(result.title, justify='right')
    for name in dict.fromkeys(name for result in results for name in result.metrics):
        cells = (f'{r.metrics[name]:.1f} %' if name in r.metrics else '-' for r in results)
        table.add_row(name, *cells)
    table.add_section()
    energies = [result.energy for result in results]
    note = ' (2)' if any(result.regions for result in results) else ''
    table.add_row('spikes per neuron and step', *(f'{e.counts.mean_rate:.3f}' for e in energies))
    table.add_row('SOPs per image', *(f'{e.totals.sops / 1e6:.1f} M' for e in energies))
    table.add_row(f'energy per image{note}', *(f'{e.totals.energy_mj:.3f} mJ' for e in energies))
    table.add_row(f'the same as an ANN{note}', *(f'{e.totals.ann_mj:.3f} mJ' for e in energies))
    table.add_row('ANN / this', *(f'{e.totals.ratio:.1f}' for e in energies))
    table.add_row('same on binary spikes (1)', *('{} of {}'.format(*r.same) for r in results))
    if any(result.file for result in results):
        table.add_section()
        files = [result.file for result in results]
        rates = [f'{file.torch_rate:.0f} / {file.file_rate:.0f}' if file else '-' for file in files]
        table.add_row('images per second, PyTorch / int8 file', *rates)
        equal = ['{} of {}'.format(*file.same) if file else '-' for file in files]
        table.add_row('same in the int8 file (3)', *equal)
    table.add_section()
    table.add_row('parameters', *(f'{r.parameters:,}' for r in results))
    table.add_row('training', *(r.training_time for r in results))
    return table


def print_summary(tasks: Sequence[Task], results: Sequence[Result], seconds: float) -> None:
    """Print results with footnotes, files, and next commands."""
    console.print(f'\n[bold]results[/bold], after {seconds / 60:.1f} minutes')
    for start in range(0, len(results), COLUMNS):
        console.print(result_table(results[start : start + COLUMNS]))
    console.print(SAME_ANSWERS)
    if any(result.regions for result in results):
        console.print(REGIONS)
    if any(result.file for result in results):
        console.print(FILES)
    console.print('\n[bold]files[/bold]')
    for task, result in zip(tasks, results, strict=True):
        weights = [one.left_weights or one.checkpoint for one in task.trainings]
        exported = [result.file.path] if result.file else []
        for path in (*weights, *exported, *result.pictures):
            console.print(f'  {path}', soft_wrap=True)
    console.print('\n[bold]what to do next[/bold]')
    for task in tasks:
        for purpose, command in task.next_commands(task.left_weights or task.checkpoint):
            console.print(f'  {purpose}:', soft_wrap=True)
            console.print(f'    {_python()} {command}', soft_wrap=True)
    console.print('  more: README.md and docs/')


def _python() -> str:
    """This interpreter, as short as it can be named from here."""
    python = Path(sys.executable)
    return str(python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python)
