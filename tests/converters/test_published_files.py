"""Every file of the metafiles with a converter becomes weights of its config."""

import json

import pytest

from mmspike.apis.published import model_of, published_as
from mmspike.converters import convert_weights
from mmspike.converters.families import CONVERTERS
from mmspike.masking import get_masking
from support.published_files import published_files, weights_like
from support.reference_cases import DATA

FILES = {file.content: file for file in published_files()}


@pytest.mark.parametrize('content', FILES)
def test_a_file_of_these_names_and_shapes_fits_its_config(content):
    file = FILES[content]
    converter, weights = CONVERTERS[file.converter], weights_like(file)
    assert len(weights) == file.tensors
    if converter.needs_model:
        # test_dense.py converts these names, in the reference's small network.
        return
    conversion = convert_weights(weights, **file.options)
    assert conversion.missing == conversion.unexpected == []
    if file.config is None:
        return
    model = model_of(f'mmspike::{file.config}')
    # Names, shapes and neurons.
    model.load_state_dict(conversion.state_dict, assign=True)
    if 'masking_ratio' in file.options:
        assert set(get_masking(model).values()) == {file.options['masking_ratio']}


@pytest.mark.parametrize(
    ('content', 'counts', 'variant'),
    [(f'SDT {size}, ImageNet', 'sdt_v1_counts', size) for size in ('8-384', '6-512', '8-768')]
    + [
        ('MST, ImageNet', 'mst_counts', 'MST.yaml imagenet, quantised'),
        ('MST, CIFAR-10', 'mst_counts', 'same, dataset cifar10'),
        ('SDT v2, 15M, T=1', 'meta_spikeformer_v2_counts', 'widths 64,128,256,360'),
        ('SDT v2, 31M, T=1', 'meta_spikeformer_v2_counts', 'metaspikformer_8_384'),
        ('SDT v2, 55M, distilled, T=1', 'meta_spikeformer_v2_counts', 'metaspikformer_8_512 kd'),
        ('SDT v3, HAR-DVS', 'sdtv3_hardvs_counts', '19M'),
        ('SDT v3 large, 171M, 1x8', 'sdtv3_large_counts', 'spikformer12_768'),
    ],
)
def test_the_shapes_are_those_that_the_reference_counts(content, counts, variant):
    variants = json.loads((DATA / f'{counts}.json').read_text())['variants']
    reference = next(one for name, one in variants.items() if name.startswith(variant))
    weights = weights_like(FILES[content])
    buffers = ('running_mean', 'running_var', 'num_batches_tracked', 'attn_mask')
    parameters = {
        name: weight
        for name, weight in weights.items()
        if not name.endswith((*buffers, 'relative_position_index'))
    }
    assert len(weights) == reference['state_dict_entries']
    assert sum(weight.numel() for weight in parameters.values()) == reference['parameters_total']


def test_the_published_form_of_a_network_that_the_code_builds_otherwise():
    file = FILES['SDT v3 large, 83M, 1x8']
    conversion = convert_weights(weights_like(file), **file.options)
    assert conversion.arch == '12-512-wide-rep'
    assert conversion.meta['neuron']['D'] == 8


def test_a_file_under_another_name_is_recognised_by_its_shapes():
    medium = FILES['SDT v3, 10M']
    conversion = convert_weights(weights_like(medium))
    assert published_as(conversion, 'sdtv3', 'download.pth') == [medium]
    assert published_as(convert_weights(weights_like(medium), D=8), 'sdtv3', 'a.pth') == []


def test_files_of_the_same_shapes_begin_with_the_one_of_that_name():
    masked = FILES['MST, ImageNet, 75 % masked']
    conversion = convert_weights(weights_like(masked), **masked.options)
    plain = FILES['MST, ImageNet']
    assert published_as(conversion, 'mst', masked.file) == [masked, plain]
    assert published_as(conversion, 'mst', f'folder/{plain.file}') == [plain, masked]
