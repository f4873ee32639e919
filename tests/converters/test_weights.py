"""What is read from published files, and what is written."""

import pytest
import torch

from mmspike.converters import convert_weights
from mmspike.converters.weights import Conversion, sizes_of, weights_in, write_checkpoint
from support.reference_cases import Case

WEIGHT = torch.zeros(2)


@pytest.mark.parametrize(
    'content',
    [
        {'a.weight': WEIGHT, 'epoch': 3},
        {'model': {'a.weight': WEIGHT, 'epoch': 3, 0: WEIGHT}, 'epoch': 3},
        {'state_dict': {'a.weight': WEIGHT}, 'meta': {}},
    ],
)
def test_weights_stand_in_known_places(content):
    assert weights_in(content, 'a.pth') == {'a.weight': WEIGHT}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({}, r'a\.pth holds no weights in model or state_dict, or by themselves; it holds nothing'),
        ({'net': {'a.weight': WEIGHT}}, 'holds no weights .*; it holds net'),
        ({'model': {'state_dict': {'a.weight': WEIGHT}}}, 'holds no weights .*; it holds model'),
        ({'model': {0: WEIGHT}}, 'holds no weights'),
        ({'model': 3}, 'holds a int where weights are expected'),
    ],
)
def test_files_without_weights(content, message):
    with pytest.raises(ValueError, match=message):
        weights_in(content, 'a.pth')


def test_averaged_weights_are_asked_for():
    content = {'model': {'a.weight': WEIGHT}, 'model_ema': {'b.weight': WEIGHT}}
    assert list(weights_in(content, 'a.pth', ema=True)) == ['b.weight']
    del content['model_ema']
    with pytest.raises(ValueError, match=r'no averaged weights .*; it holds model$'):
        weights_in(content, 'a.pth', ema=True)


def test_sizes_by_hand():
    assert sizes_of({'a': torch.zeros(2, 3)}, 'a', 2) == (2, 3)
    with pytest.raises(ValueError, match='incomplete: no tensor becomes b'):
        sizes_of({'a': WEIGHT}, 'b', 1)
    for tensor in (torch.zeros(()), torch.zeros(2), torch.zeros(2, 0)):
        with pytest.raises(ValueError, match=r'becomes a has shape \(.*\), 2 sizes from 1 on'):
            sizes_of({'a': tensor}, 'a', 2)


@pytest.mark.parametrize(
    ('case', 'key'),
    [
        ('meta_spikeformer_v2', 'downsample1_1.encode_conv.weight'),
        ('meta_spikeformer_v2', 'downsample3.encode_conv.weight'),
        ('sdtv3_spikformer_base_patched', 'block3.0.rep_conv.conv1.0.weight'),
        ('sdtv3_spikmae', 'decoder_embed.weight'),
        ('sdtv3_spikmae', 'decoder_pos_embed'),
        ('sdtv3_spikmae', 'decoder_pred.weight'),
        ('sdt_v1_imagenet', 'patch_embed.proj_conv.weight'),
        ('mst_qcfs_imagenet_w4', 'patch_embed.proj.weight'),
        ('mst_qcfs_imagenet_w4', 'layers.0.blocks.0.attn.v_if.up'),
        ('mst_qcfs_imagenet_w4', 'layers.2.blocks.0.attn.relative_position_bias_table'),
    ],
)
def test_damaged_tensors_have_a_clear_error(case, key):
    weights = Case.load(case).weights()
    for shape in ((), (3,), (0, *weights[key].shape[1:])):
        if shape or not key.endswith('.up'):  # a threshold is a single number
            with pytest.raises(ValueError, match=r'has shape \('):
                convert_weights({**weights, key: torch.zeros(shape)})
    with pytest.raises(ValueError, match=r'holds torch\.int8, real numbers are expected'):
        convert_weights({**weights, key: weights[key].to(torch.int8)})


def test_a_far_block_is_no_long_list_of_stages():
    weights = Case.load('mst_qcfs_imagenet_w4').weights()
    far = 'layers.123456789012.blocks.0.norm1.weight'
    with pytest.raises(ValueError, match=r'no tensor becomes backbone\.stages\.4\.blocks\.0'):
        convert_weights({**weights, far: WEIGHT})


def test_where_a_checkpoint_cannot_be_written(tmp_path):
    conversion = Conversion({}, 'tiny', {}, [], [])
    source = tmp_path / 'a.pth'
    source.write_bytes(b'published')
    (tmp_path / 'link.pth').symlink_to(source)
    for target in (source, tmp_path / 'link.pth'):
        with pytest.raises(ValueError, match='is the published file itself'):
            write_checkpoint(conversion, source, target)
    assert source.read_bytes() == b'published'
    with pytest.raises(IsADirectoryError, match='is a directory: name a file in it'):
        write_checkpoint(conversion, source, tmp_path)
