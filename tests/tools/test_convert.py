"""One command for the published files of all families."""

import pytest
import torch

from mmspike.metafiles import weights_named
from support.paths import ROOT
from support.published_files import published_files, weights_like
from support.reference_cases import Case

TOOL = 'model_converters/convert.py'
SMALL = 'metaspikformer-small-sfa-t1d4_8xb256-amp-coslr-200e_in1k'


@pytest.fixture
def tiny(tmp_path):
    """A published file of a size that no config has."""
    torch.save(dict(model=Case.load('sdtv3_base_t_train').weights()), tmp_path / 'tiny.pth')
    return tmp_path / 'tiny.pth'


def test_a_known_file_goes_to_its_usual_place(run_tool, tmp_path):
    file = weights_named('V3_5.1M_1x4.pth')
    torch.save(dict(model=weights_like(file, device='cpu')), tmp_path / 'drive-1.pth')
    status, said = run_tool(TOOL, 'drive-1.pth')
    assert status == 0
    assert (tmp_path / file.target).is_file()
    assert f'{file.target}: arch small, 605 renamed, 0 missing, 0 unexpected' in said
    assert f'/{SMALL}.py' in said.split('config: ')[1]
    assert f'{SMALL}.py {file.target}' in said.split('test it with: python tools/test.py ')[1]


def test_a_published_file_that_is_not_there_has_an_address(run_tool):
    file = weights_named('V3_5.1M_1x4.pth')
    status, _ = run_tool(TOOL, 'V3_5.1M_1x4.pth')
    assert status.endswith(f'there is no file V3_5.1M_1x4.pth: download it from {file.url}')
    status, _ = run_tool(TOOL, 'mine.pth')
    assert status.endswith('there is no checkpoint file mine.pth')


def test_the_path_of_a_config_is_short_in_a_clone(run_tool, tmp_path, monkeypatch):
    file = weights_named('V3_5.1M_1x4.pth')
    torch.save(dict(model=weights_like(file, device='cpu')), tmp_path / 'a.pth')
    monkeypatch.chdir(ROOT)
    _, said = run_tool(TOOL, tmp_path / 'a.pth', tmp_path / 'b.pth')
    assert f'config: configs/classification/metaspikformer/{SMALL}.py\n' in said


@pytest.mark.slow
def test_a_network_without_a_config(run_tool, tiny):
    status, _ = run_tool(TOOL, tiny)
    assert status.endswith('tiny.pth is none of the files in docs/weights.md: name a file to write')
    status, said = run_tool(TOOL, tiny, 'ours.pth', '--verbose')
    assert status == 0
    assert 'head.bias -> head.fc.bias' in said
    assert 'ours.pth: arch tiny, 605 renamed' in said
    assert 'no config of mmspike has this network' in said


def test_options_are_those_of_the_converter(run_tool, tiny, tmp_path):
    assert run_tool(TOOL, tiny, 'ours.pth', '--D', 8)[0] == 0
    neuron = torch.load(tmp_path / 'ours.pth', weights_only=True)['meta']['mmspike']['neuron']
    assert neuron['D'] == 8
    status, _ = run_tool(TOOL, tiny, 'other.pth', '--levels', 8)
    assert 'convert.py: an SDT v3 base classifier has no option levels; its options are D' in status
    status, _ = run_tool(TOOL, tiny, 'other.pth', '--ema')
    assert 'has no averaged weights' in status
    assert not (tmp_path / 'other.pth').exists()


def test_what_weights_do_not_tell_is_asked(run_tool, tmp_path, monkeypatch):
    """Small stand-ins for MST, whose masked weights look like the others."""
    files = [file for file in published_files() if file.content.startswith('MST, ImageNet')]
    weights = Case.load('mst_qcfs_imagenet_w4').weights()
    for name in ('drive.pth', files[0].file):
        torch.save(dict(model=weights), tmp_path / name)
    monkeypatch.setattr('mmspike.apis.published.published_as', lambda *_: files)
    status, _ = run_tool(TOOL, 'drive.pth')
    assert f'drive.pth may be "{files[0].content}" ({files[0].target}) or "' in status
    assert f'({files[1].target} --masking-ratio=0.75): name a file to write' in status
    status, said = run_tool(TOOL, files[0].file)
    assert status == 0
    assert f'{files[0].target}: arch' in said
    assert 'If it is "MST, ImageNet, 75 % masked", add --masking-ratio=0.75' in said


def test_a_segmentor_is_converted_for_its_config(run_tool, tmp_path):
    case = Case.load('sdtv3_seg_fpn')
    torch.save(dict(meta=dict(epoch=1), state_dict=case.weights()), tmp_path / 'published.pth')
    (tmp_path / 'config.py').write_text(f"""
_base_ = {str(ROOT / 'configs/_base_/models/semantic-fpn_metaspikformer.py')!r}
default_scope = 'mmseg'
custom_imports = dict(imports=['mmspike'], allow_failed_imports=False)
model = dict(
    backbone=dict(arch='tiny'),
    neck=dict(in_channels=[12, 24, 48, 128], out_channels=32),
    decode_head=dict(in_channels=[32] * 4, channels=32, num_classes=19),
)
""")
    status, _ = run_tool(TOOL, 'published.pth', 'ours.pth')
    assert 'published.pth cannot be converted: this is an SDT v3 detection or segm' in status
    assert 'SDT v2' not in status
    assert 'to the tool: --config CONFIG' in status
    status, said = run_tool(TOOL, 'published.pth', 'ours.pth', '--config', 'config.py')
    assert status == 0
    assert '0 missing, 0 unexpected' in said
    assert 'test it with: python tools/test.py config.py ours.pth' in said
    weights = case.weights()
    del weights['decode_head.conv_seg.bias']
    torch.save(dict(state_dict=weights), tmp_path / 'published.pth')
    status, _ = run_tool(TOOL, 'published.pth', 'none.pth', '--config', 'config.py')
    assert 'lacks 1 tensors of the model, among them decode_head.conv_seg.bias' in status


def test_a_classifier_is_compared_with_a_config_that_is_named(run_tool, tiny, tmp_path):
    base = ROOT / 'configs/_base_/models/metaspikformer_cls.py'
    (tmp_path / 'config.py').write_text(
        f"_base_ = {str(base)!r}\ndefault_scope = 'mmpretrain'\n"
        "model = dict(backbone=dict(arch='tiny'), head=dict(in_channels=128, num_classes=1000))\n"
    )
    status, said = run_tool(TOOL, tiny, 'ours.pth', '--config', 'config.py')
    assert status == 0
    assert 'test it with: python tools/test.py config.py ours.pth' in said
    status, _ = run_tool(TOOL, tiny, 'other.pth', '--config', f'mmspike::{SMALL}')
    assert 'tiny.pth does not fit the config' in status
    status, _ = run_tool(TOOL, tiny, 'other.pth', '--config', base)
    assert 'metaspikformer_cls.py is no whole config, with model and default_scope' in status
    assert not (tmp_path / 'other.pth').exists()


def test_files_that_it_cannot_convert(run_tool, tmp_path):
    torch.save(dict(state_dict={'conv1.weight': torch.zeros(1)}), tmp_path / 'other.pth')
    (tmp_path / 'damaged.pth').write_bytes(b'PK damaged')
    for file, message in (
        ('other.pth', 'other.pth cannot be converted: this looks like a model unknown here'),
        ('damaged.pth', 'damaged.pth (10 bytes) cannot be read as a PyTorch checkpoint'),
        ('.', 'the checkpoint . is a directory'),
        ('absent.pth', 'there is no checkpoint file absent.pth'),
    ):
        status, _ = run_tool(TOOL, file, 'ours.pth')
        assert status.startswith('convert.py: ')
        assert message in status
    assert not (tmp_path / 'ours.pth').exists()


@pytest.mark.parametrize('old', ['sdtv3', 'sdt', 'mst'])
def test_old_commands_are_this_one(run_tool, tiny, old):
    status, said = run_tool(f'model_converters/{old}_to_mmspike.py', tiny, 'ours.pth')
    assert status == 0
    assert 'ours.pth: arch tiny, 605 renamed' in said
