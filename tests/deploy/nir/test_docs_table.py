"""The tables of docs/nir.md list what is written and read, no more and no less."""

import re

from mmspike.deploy.nir.loading import KINDS
from mmspike.deploy.nir.tracing import NEURONS, layers
from support.paths import ROOT

PAGE = (ROOT / 'docs/nir.md').read_text()
TABLE = PAGE.split('## Layers and neurons')[1].split('\n\n')[1]
ROWS = [row.strip('|').split('|')[:2] for row in TABLE.splitlines()[2:]]


def names(column):
    return {name for row in ROWS for name in re.findall(r'`([A-Z]\w*)', row[column])}


def test_modules_of_the_table():
    assert names(0) == {kind.__name__ for kind in (*layers.WRITERS, *NEURONS)}


def test_nodes_of_the_table():
    assert names(1) - {'NIRGraph'} == set(KINDS) - {'Input', 'Output'}
