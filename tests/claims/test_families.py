"""The table of docs/claims.md says of every family what a check of it finds."""

import pytest

from mmspike.claims.check import CLAIMS
from support import claims_page

PAGE = claims_page.PAGE.read_text()
ROWS = claims_page.read_rows(PAGE)


def test_the_table_has_every_network_and_claim():
    assert list(ROWS) == list(claims_page.NAMES)
    assert f'| network | {" | ".join(CLAIMS)} | where |' in PAGE


@pytest.mark.slow
@pytest.mark.parametrize(
    'name',
    ['SDT, LIF, T=4', 'SDT v2, LIF, T=4', 'SDT v3 large, SFA, T=1',
     'MetaSpikformer + spiking Mask R-CNN'],
)  # fmt: skip
def test_rows(name):
    assert claims_page.rows_of(name) == ROWS[name], f"run: make claims ARGS='{name}'"


@pytest.mark.parametrize('name', ['MetaSpikformer, LIF, T=4', 'MetaSpikformer + FCOS of mmdet'])
def test_nothing_is_broken_where_nothing_is_wrong(name):
    assert all('**broken**' not in line for line in ROWS[name])
