"""The tables of models and model-index.yml follow from the metafiles."""

import shutil

import pytest
from model_rows import model_row, neuron_and_steps
from weight_rows import status, trained_row, weight_row

from support.paths import ROOT

TOOL = ROOT / 'tools/docs/tables.py'


def test_they_are_up_to_date(run_tool):
    status, _ = run_tool('docs/tables.py', '--check')
    assert status == 0, status


@pytest.mark.parametrize(
    ('name', 'shown'),
    [
        ('metaspikformer-digits-sfa-t1d4_1xb32-coslr-15e_digits', ('SFA', '1x4')),
        ('sdt-2-256-lif-t10_1xb16-amp-coslr-210e_dvs128-gesture', ('LIF', '10x1')),
        ('retinanet_metaspikformer-small-sfa-t1d4-readout_fpn_2xb4-1x_coco', ('SFA', '1x4')),
        ('metaspikformer-digits-ilif-t4d4_1xb32-coslr-15e_digits', ('I-LIF', '4x4')),
        ('mst-tiny-qcfs16-t1_8xb128-amp-coslr-300e_in1k', ('QCFS', '1x16')),
        ('resnet18-w16-qcfs8-spiking-t32_1xb32-coslr-15e_digits', ('SpikingQCFS', '32x1')),
        ('mst-tiny-relu-t1_8xb128-amp-coslr-300e_in1k', ('ReLU', '1')),
        ('resnet18-w16_1xb32-coslr-15e_digits', ('ReLU', '1')),
    ],
)
def test_neuron_and_steps_are_read_from_the_name(name, shown):
    assert neuron_and_steps(name) == shown


def test_published_and_measured_numbers_have_columns_of_their_own():
    model = dict(
        Name='x-lif-t4_1xb1_coco',
        Config='configs/detection/x/x.py',
        Metadata={'Label': 'x', 'Parameters': 1234, 'Training Data': 'COCO 2017'},
        Results=[
            dict(Metrics={'box AP': 59.26, 'AP50': 83.4}), dict(Metrics={'mask AP': 58.5})
        ],
    )  # fmt: skip
    start = '| [x](configs/detection/x/x.py) | COCO | LIF | 4x1 | 1,234 |'
    assert model_row(model) == f'{start} - | 59.3 / 58.5 |\n'
    model['Metadata']['Published'], model['Results'] = '80.0', []
    assert model_row(model) == f'{start} 80.0 | - |\n'


PUBLISHED = dict(Content='net', Converter='net', Page='https://page', URL='https://file')


def test_rows_of_files_of_weights():
    configs = {'net_digits': 'configs/net/net_digits.py'}
    whole = dict(PUBLISHED, File='net.pth', Tensors=5, Target='t.pth', Config='net_digits')
    assert weight_row(whole, configs, '../') == (
        '| net (`net.pth`) | [page](https://page), [file](https://file) | 5 | `t.pth`, '
        '[config](../configs/net/net_digits.py) | config and converter proven |\n'
    )
    assert weight_row(dict(Content='net'), configs) == (
        "| net | none published; for your own files from the authors' code | - | any | "
        'no converter yet |\n'
    )
    made = dict(Content='net', Command='make net', Target='t.pth')
    assert trained_row(made, configs) == '| `t.pth` | `make net` | net |\n'


def test_the_status_follows_from_the_entry():
    assert status(PUBLISHED) == 'converter proven, no config yet'
    assert status(dict(PUBLISHED, Config='net_digits')) == 'config and converter proven'
    assert status(dict(Converter='net')) == 'no file published'
    assert status(dict(Page='https://page')) == 'no converter yet'


def test_what_is_out_of_date_is_told_and_written(tmp_path, run_python):
    for part in ('configs', 'tools/docs'):
        shutil.copytree(ROOT / part, tmp_path / part)
    (tmp_path / 'docs').mkdir()
    for name in ('model-index.yml', 'docs/model_zoo.md', 'docs/weights.md'):
        shutil.copy(ROOT / name, tmp_path / name)
    page = tmp_path / 'docs/model_zoo.md'
    whole = page.read_text()
    tool = tmp_path / 'tools/docs/tables.py'
    metafile = tmp_path / 'configs/classification/sdt/metafile.yml'
    metafile.write_text(metafile.read_text().replace('Parameters: 365014', 'Parameters: 7365014'))
    (tmp_path / 'configs/segmentation/new').mkdir()
    (tmp_path / 'configs/segmentation/new/metafile.yml').write_text('Models: []')

    stale = run_python(tool, '--check', check=False)
    assert stale.returncode == 1
    assert 'model-index.yml, model_zoo.md: not what the metafiles say' in stale.stderr
    assert 'make docs' in stale.stderr
    assert page.read_text() == whole

    run_python(tool)
    assert page.read_text() == whole.replace('| 365,014 |', '| 7,365,014 |')
    assert 'segmentation/new/metafile.yml' in (tmp_path / 'model-index.yml').read_text()
    assert run_python(tool, '--check').stdout == ''
