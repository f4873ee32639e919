"""Claims as a section of a page, in the style of energy reports."""

from html import escape

from mmspike.claims.check import ClaimsReport
from mmspike.claims.claim import Claim
from mmspike.energy.page import STYLE

_STYLE = """
table.claims td, table.claims th { text-align: left; white-space: normal; vertical-align: top; }
table.claims td:nth-child(2) { white-space: nowrap; font-weight: 600; }
.holds { color: #2e7d32; } .broken { color: #c0392b; } .not-shown { color: var(--quiet); }
@media (prefers-color-scheme: dark) { .holds { color: #7bc67e; } .broken { color: #ff8a7a; } }
"""


def claims_page(reports: list[ClaimsReport]) -> str:
    """One page for all parts of a model; it needs no other file."""
    title = escape(reports[0].name)
    sections = '\n'.join(map(claims_section, reports))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>Claims about {title}</title><style>{STYLE}</style></head><body>'
        f'<h1>Claims about {title}</h1>{sections}</body></html>\n'
    )


def claims_section(report: ClaimsReport) -> str:
    """A heading, a table of all claims, and what limits them."""
    rows = '\n'.join(map(_row, report.claims))
    notes = ''.join(f'<div class="warning">{escape(note)}</div>' for note in report.notes)
    origin = ''.join(
        f'<dt>{escape(key)}</dt><dd>{escape(value)}</dd>' for key, value in report.origin.items()
    )
    return (
        f'<style>{_STYLE}</style><section><h2>Claims about {escape(report.name)}</h2>{notes}'
        '<div class="scroll"><table class="claims"><thead><tr><th>claim</th><th>verdict</th>'
        f'<th>found</th></tr></thead><tbody>{rows}</tbody></table></div><dl>{origin}</dl></section>'
    )


def _row(claim: Claim) -> str:
    found = escape(claim.finding)
    if claim.places:
        places = escape('; '.join(map(str, claim.places)))
        found += f'<details><summary>where ({len(claim.places)})</summary>{places}</details>'
    verdict = claim.verdict.replace(' ', '-')
    return (
        f'<tr><td>{escape(claim.name)}</td><td class="{verdict}">{claim.verdict}</td>'
        f'<td>{found}</td></tr>'
    )
