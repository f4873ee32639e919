"""Families of files, as the converters declare them."""

import re

import pytest

from mmspike.converters.families import CONVERTED, OTHERS, identify, origin_of
from support.paths import ROOT

TOOLS = ROOT / 'tools/model_converters'


def test_each_is_declared_once_and_has_patterns():
    families = (*CONVERTED, *OTHERS)
    assert len({family.name for family in families}) == len(families)
    assert all(family.patterns for family in families)


def test_an_unknown_file_is_told_by_its_keys():
    assert 'its 2 keys begin with one, two' in identify(['one', 'two'])


@pytest.mark.parametrize(
    'family', [one for one in CONVERTED if one.targets], ids=lambda one: one.name
)
def test_an_origin_names_a_tool_that_exists(family):
    tool = re.search(r'tools/model_converters/(\w+\.py) PUBLISHED \{path\}', family.origin)[1]
    assert (TOOLS / tool).is_file()


@pytest.mark.parametrize(
    ('name', 'repository'),
    [
        ('metaspikformer-small-sfa-t1d4_in1k.pth', 'BICLab/Spike-Driven-Transformer-V3'),
        ('mst-tiny-qcfs16-t1_in1k.pth', 'bic-L/Masked-Spiking-Transformer'),
    ],
)
def test_where_a_file_is_from(name, repository):
    assert repository in origin_of(name)
    assert origin_of(f'x{name[3:]}'.replace('in1k', 'coco')) is None
