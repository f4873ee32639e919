"""The tool on small networks; in this process, because importing the hosts takes its time."""

import hashlib
import json

import pytest

from support.small_checkpoints import (
    CLASSIFICATION,
    CLASSIFICATION_T4,
    DETECTION,
    SEGMENTATION,
    trained,
)

RESNET = """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=64,
              loss=dict(type='CrossEntropyLoss')),
)
data_preprocessor = dict(num_classes=10, mean=[127.0] * 3, std=[64.0] * 3, to_rgb=True)
"""


@pytest.fixture
def run(run_tool, tmp_path):
    """Run the tool; return its exit status, what it printed, and the report that it wrote."""
    (tmp_path / 'resnet.py').write_text(RESNET)

    def call(*arguments):
        tool = 'analysis_tools/energy_report.py'
        status, out = run_tool(tool, '--device', 'cpu', *arguments, '--out', 'out')
        written = tmp_path / 'out/energy.json'
        report = json.loads(written.read_text()) if written.exists() else None
        return status, out, report

    return call


@pytest.mark.slow
@pytest.mark.parametrize('kind', [CLASSIFICATION, CLASSIFICATION_T4, DETECTION, SEGMENTATION],
                         ids=['classification', 't4', 'detection', 'segmentation'])  # fmt: skip
def test_kinds(kind, run, tmp_path):
    status, out, report = run(*trained(kind), '--images', 2)
    assert status == 0
    assert report['samples'] == 2
    assert report['timesteps'] == (4 if kind is CLASSIFICATION_T4 else 1)
    assert report['totals']['sops'] > 0
    assert not report['uncounted']
    analog = [row['name'] for row in report['layers'] if row['input'] != 'spikes']
    assert analog[0] == 'backbone.stages.0.downsample.conv'
    if kind in (CLASSIFICATION, CLASSIFICATION_T4):
        assert len(analog) == 1
        assert not report['never_called']
    assert 'mJ per image' in out
    assert report['banner'] is None
    assert 'RANDOM' not in out
    origin = report['origin']
    config, checkpoint = map(str, trained(kind))
    assert (origin['config'], origin['weights']) == (config, checkpoint)
    with open(checkpoint, 'rb') as file:
        assert origin['checkpoint_sha256'] == hashlib.sha256(file.read()).hexdigest()
    assert origin['images'].startswith('test data of the config: ')
    assert sum(origin['input_shapes'].values()) == 2
    assert set(origin['versions']) >= {'mmspike', 'torch', 'mmengine', 'mmcv'}
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names == [
        'energy.csv', 'energy.html', 'energy.json', 'energy.png', 'papers.csv', 'papers.tex',
        'rates.png', 'rates_by_step.csv', 'rates_by_step.png',
    ]  # fmt: skip


@pytest.mark.slow
def test_random_images_beside_a_network_without_spikes(run, tmp_path):
    config, checkpoint = trained(CLASSIFICATION)
    status, out, report = run(
        config, checkpoint, '--vs', 'resnet.py', '--random', 32, 32, '--images', 3, '--top', 0,
        '--memory',
    )  # fmt: skip
    assert status == 0
    assert 'with memory (lemaire2022)' in out
    assert report['totals']['memory_mj'] > 0
    assert report['samples'] == 3
    other = json.loads((tmp_path / 'out/vs/energy.json').read_text())
    assert other['name'] == 'resnet'
    assert other['totals']['sops'] == 0
    assert other['totals']['energy_mj'] == other['totals']['ann_mj'] > 0
    assert {row['input'] for row in other['layers']} == {'analog'}
    page = (tmp_path / 'out/energy.html').read_text()
    assert 'Side by side' in page
    assert 'times' not in out
    assert 'times the first' not in page
    assert report['banner'].startswith('RANDOM IMAGES: ')
    assert other['banner'].startswith('RANDOM WEIGHTS AND RANDOM IMAGES: ')
    assert report['origin']['images'] == 'random'
    for banner in (report['banner'], other['banner']):
        assert banner in page
        assert banner in ' '.join(out.split())
    assert 'layer4.1.conv2' in out


@pytest.mark.slow
@pytest.mark.parametrize('kind', [DETECTION, SEGMENTATION], ids=['detection', 'segmentation'])
def test_random_images_for_dense_prediction(kind, run):
    config, _ = trained(kind)
    status, out, report = run(config, '--random', 64, 96, '--images', 1)
    assert status == 0
    assert report['samples'] == 1
    assert 'RANDOM WEIGHTS AND RANDOM IMAGES' in out


@pytest.mark.slow
def test_the_first_images_only(run):
    config, checkpoint = trained(CLASSIFICATION)
    for images in (1, 3):
        assert run(config, checkpoint, '--images', images)[2]['samples'] == images


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['absent.py'], 'there is no config file absent.py'),
        (['resnet.py', 'absent.pth', '--random', 8, 8], 'there is no checkpoint file absent.pth'),
        (['resnet.py'], 'the config has no test_dataloader; give --random H W'),
        (['resnet.py', '{checkpoint}', '--random', 32, 32], 'does not fit the config: '),
        (['resnet.py', '--cost', '3nm'], "unknown costs '3nm'; known are 45nm"),
        (['pose.py'], "pose.py has default_scope='mmpose'; it must be one of mmpretrain,"),
        (['{config}', '{checkpoint}', '--cfg-options', 'model.backbone.neuron_cfg.D=2'],
         'the checkpoint was made with neurons SFA(D=4'),
    ],
    ids=lambda value: ' '.join(map(str, value)) if isinstance(value, list) else '',
)  # fmt: skip
def test_bad_arguments_give_one_clear_sentence(run, tmp_path, arguments, message):
    config, checkpoint = trained(CLASSIFICATION)
    (tmp_path / 'pose.py').write_text("default_scope = 'mmpose'")
    places = dict(config=config, checkpoint=checkpoint)
    status, _, report = run(*(str(argument).format(**places) for argument in arguments))
    assert status.startswith('energy_report.py: ')
    assert message in status
    assert '\n' not in status
    assert report is None


@pytest.mark.slow
def test_encodings(run):
    config, checkpoint = trained(CLASSIFICATION)
    sops = {}
    for encoding in ('spike', 'bitwise'):
        status, _, report = run(config, checkpoint, '--images', 1, '--encoding', encoding)
        assert status == 0
        assert report['encoding'] == encoding
        sops[encoding] = report['totals']['sops']
    assert 0 < sops['bitwise'] < sops['spike']


@pytest.mark.slow
def test_strict(run):
    """Without a box, the mask head has nothing to do."""
    config, checkpoint = trained(DETECTION)
    arguments = (config, checkpoint, '--images', 1, '--cfg-options')
    arguments = (*arguments, 'model.test_cfg.rcnn.score_thr=1.0')
    status, out, report = run(*arguments)
    assert status == 0
    assert 'layers that never ran: roi_head.mask_head.' in out
    assert 'roi_head.mask_head.conv_logits' in report['never_called']
    status, _, _ = run('--strict', *arguments)
    assert 'never called: roi_head.mask_head.' in status


@pytest.mark.slow
def test_in_a_process_of_its_own(run_python, tmp_path, monkeypatch):
    monkeypatch.delenv('COLUMNS', raising=False)
    config, checkpoint = trained(CLASSIFICATION)
    done = run_python(
        'tools/analysis_tools/energy_report.py',
        config,
        checkpoint,
        '--images',
        2,
        '--out',
        tmp_path,
    )
    assert 'Traceback' not in done.stdout + done.stderr
    assert (tmp_path / 'energy.html').exists()
    # Without a terminal there are 80 columns.
    table = [x for x in done.stdout.splitlines() if '\N{BOX DRAWINGS LIGHT VERTICAL}' in x]
    assert max(map(len, table)) <= 80


@pytest.mark.slow
def test_two_networks_are_compared(run):
    config, checkpoint = trained(CLASSIFICATION)
    status, out, _ = run(config, checkpoint, '--vs', config, checkpoint, '--images', 2)
    assert status == 0
    assert '1.00 times as much' in ' '.join(out.split())


@pytest.mark.slow
def test_claims_and_neurobench_beside_the_energy(run, tmp_path):
    pytest.importorskip('neurobench')
    config, checkpoint = trained(CLASSIFICATION)
    status, out, _ = run(config, checkpoint, '--images', 3, '--claims', '--neurobench')
    assert status == 0
    assert "NeuroBench's metrics" in out
    assert 'Effective_ACs' in out
    assert 'Claims about' in (tmp_path / 'out' / 'energy.html').read_text()
