"""Claims in the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmspike.claims.check import ClaimsReport
from mmspike.claims.claim import BROKEN, HOLDS
from mmspike.wording import some_of

_STYLES = {HOLDS: 'green', BROKEN: 'bold red'}


def claims_table(report: ClaimsReport) -> RenderableType:
    """All claims with what was found, and where they break."""
    title = Text(f'claims about {report.name}', 'table.title')
    table = Table(title=title, title_justify='left')
    table.add_column('claim', no_wrap=True)
    table.add_column('verdict', no_wrap=True)
    table.add_column('found', overflow='fold')
    for claim in report.claims:
        found = claim.finding
        if claim.places:
            found += f'\nat {some_of([str(place) for place in claim.places], 3)}'
        table.add_row(claim.name, Text(claim.verdict, _STYLES.get(claim.verdict, '')), Text(found))
    what = ', '.join(f'{key} {value}' for key, value in report.origin.items())
    return Group(table, Text(what, 'dim'), *(Text(note, 'yellow') for note in report.notes))
