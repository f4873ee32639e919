"""The tools of tools/deploy, one after the other, as a user runs them."""

import json
import re

import pytest
import torch
from mmengine.registry import init_default_scope

from mmspike.apis.config import load_config
from mmspike.apis.model import build_model
from mmspike.masking import set_masking
from support.exported_networks import firing_model
from support.small_runs import CONFIGS


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Config and weights of a small classifier."""
    folder = tmp_path_factory.mktemp('classifier')
    path = next(path for path in CONFIGS if path.name.startswith('sdt-digits'))
    options = {'model.backbone.arch.embed_dims': 16, 'model.head.in_channels': 16}
    torch.manual_seed(0)
    cfg, model = firing_model(path, folder, torch.randn(4, 3, 32, 32), **options)
    torch.save(dict(state_dict=model.state_dict()), folder / 'weights.pth')
    cfg.dump(folder / 'config.py')
    return folder / 'config.py', folder / 'weights.pth'


@pytest.mark.slow
def test_export_check_and_test(checkpoint, run_tool, tmp_path, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    for precision in ('float32', 'int8'):
        options = ('--out', f'{precision}.onnx', '--precision', precision)
        status, out = run_tool('deploy/export_onnx.py', *checkpoint, *options)
        assert status == 0
        assert f'{precision}.onnx' in out
        assert max(map(len, out.splitlines())) <= 120

    options = ('--images', 4, '--out', 'check.json')
    status, out = run_tool('deploy/check.py', *checkpoint, 'float32.onnx', *options)
    assert status == 0
    assert '100.00000%' in out
    (part,) = json.loads((tmp_path / 'check.json').read_text())['parts']
    assert part['difference'] < 1e-4
    assert all(one['equal'] == one['total'] > 0 for one in part['neurons'].values())

    files = ('float32.onnx', 'int8.onnx')
    options = ('--checkpoint', checkpoint[1], '--out', 'test.json')
    status, out = run_tool('deploy/test.py', checkpoint[0], *files, *options)
    assert status == 0
    results = json.loads((tmp_path / 'test.json').read_text())
    assert list(results) == ['checkpoint', *files]
    count, total = map(int, re.findall(r'\d+', results['float32.onnx']['equal answers']))
    assert count == total > 0
    ours, theirs = (results[name]['accuracy/top1'] for name in ('checkpoint', 'float32.onnx'))
    assert ours == theirs

    # A file of other weights.
    weights = torch.load(checkpoint[1])['state_dict']
    changed = {key: value * 1.5 if 'fc.weight' in key else value for key, value in weights.items()}
    torch.save(dict(state_dict=changed), 'other.pth')
    status, _ = run_tool('deploy/check.py', checkpoint[0], 'other.pth', 'float32.onnx')
    assert re.search(r'float32\.onnx was exported from other weights', status)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--out', 'model.pth'], r'export_onnx.py: an exported file must end in .onnx'),
        (
            ['--out', 'model.onnx', '--size', 0, 32],
            r'export_onnx.py: size must be height',
        ),
        (
            ['--out', 'model.onnx', '--precision', 'int8', '--keep', 'absent'],
            r'export_onnx.py: --keep absent finds no layer of the model',
        ),
    ],
)
def test_bad_options_are_one_line(options, message, checkpoint, run_tool, tmp_path):
    status, _ = run_tool('deploy/export_onnx.py', *checkpoint, *options)
    assert re.match(message, status)
    assert '\n' not in status
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'options',
    [
        ['--keep', 'stages'],
        ['--int8-read-out'],
        ['--int8-input'],
        ['--precision', 'int8', '--keep', '['],
    ],
)
def test_options_that_change_nothing_are_refused(options, checkpoint, run_tool):
    options = ('--out', 'model.onnx', *options)
    assert run_tool('deploy/export_onnx.py', *checkpoint, *options)[0] == 2


@pytest.mark.parametrize('tool', ['check.py', 'test.py'])
def test_files_that_are_not_there_are_one_line(tool, checkpoint, run_tool):
    arguments = checkpoint if tool == 'check.py' else checkpoint[:1]
    status, _ = run_tool(f'deploy/{tool}', *arguments, 'nothing.onnx')
    assert re.fullmatch(rf'{tool}: there is no file nothing\.onnx', status)


@pytest.mark.slow
def test_masked_spikes_are_refused_or_sent(checkpoint, run_tool, tmp_path):
    config, weights = checkpoint
    cfg = load_config(config)
    init_default_scope(cfg.default_scope)
    model = build_model(cfg, weights)
    set_masking(model, {'all': 0.5})
    masked = tmp_path / 'masked.pth'
    torch.save(dict(state_dict=model.state_dict()), masked)
    status, out = run_tool('deploy/export_onnx.py', config, masked, '--out', 'masked.onnx')
    assert status != 0
    assert 'drops 50% of its spikes at random' in str(status)
    status, _ = run_tool(
        'deploy/export_onnx.py', config, masked, '--out', 'all.onnx', '--all-spikes'
    )
    assert status == 0
    status, out = run_tool('deploy/check.py', config, weights, 'all.onnx', '--images', 4)
    assert status == 0
    assert '100.00000%' in out
