"""Families of files, and the converters that take them."""

import pytest
import torch

from mmspike import converters
from mmspike.converters import convert_sdt, convert_weights
from mmspike.converters.families import CONVERTERS, OTHERS, find_converter, identify


def test_each_is_declared_once_and_has_patterns():
    families = [family for one in CONVERTERS.values() for family in one.families]
    families += OTHERS
    assert len({family.name for family in families}) == len(families)
    assert all(family.patterns for family in families)


def test_an_unknown_file_is_told_by_its_keys():
    assert 'number of keys: 2; first: one, two' in identify(['one', 'two'])
    assert find_converter(['one', 'two']) is None


def test_a_converter_is_found_by_keys_and_knows_its_options():
    keys = iter(['patch_embed.proj_conv.weight', 'block.0.attn.q_conv.weight'])
    found = find_converter(keys)
    assert (found.name, found.convert, found.options) == ('sdt', convert_sdt, {})
    assert CONVERTERS['mst'].options == dict(levels=16, masking_ratio=0.0)
    assert [name for name, one in CONVERTERS.items() if one.needs_model] == ['dense']


@pytest.mark.parametrize(
    ('keys', 'options', 'error', 'message'),
    [
        (['conv1.weight'], {}, ValueError, 'a model unknown here .* there is no converter'),
        (
            ['backbone.stages.0.conv.conv.weight'],
            {},
            ValueError,
            'an mmspike checkpoint, already converted, for which there is no converter',
        ),
        (
            ['module.patch_embed.proj_conv.weight', 'module.block.0.attn.q_conv.weight'],
            dict(D=8),
            TypeError,
            'an SDT v1 checkpoint has no option D; its options are none',
        ),
        (
            ['backbone.downsample1_1.encode_conv.weight', 'backbone.a.pwconv1.0.weight'],
            {},
            ValueError,
            r'SDT v3 detection .*: give the model that it is for.*\(to the tool: --config CONFIG\)',
        ),
    ],
)
def test_weights_that_cannot_be_converted(keys, options, error, message):
    with pytest.raises(error, match=message):
        convert_weights(dict.fromkeys(keys, torch.zeros(1)), **options)


@pytest.mark.parametrize('old', ['mst', 'sdt', 'sdtv3', 'sdtv3_dense'])
def test_functions_of_single_families_are_the_common_one(old):
    with pytest.warns(DeprecationWarning, match=r'use mmspike\.converters\.convert_file'):
        assert getattr(converters, f'convert_{old}_file') is converters.convert_file
