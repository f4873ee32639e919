"""The tool on small networks; in this process, because importing the hosts takes its time."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner, load_checkpoint

from mmspike.masking import set_masking
from support.small_checkpoints import CLASSIFICATION, SEGMENTATION, trained


@pytest.fixture
def run(run_tool, tmp_path):
    """Run the tool; return its exit status, what it printed, and the points that it wrote."""

    def call(*arguments):
        status, out = run_tool('analysis_tools/rsm_sweep.py', *arguments, '--out', 'out')
        written = tmp_path / 'out/rsm_sweep.json'
        points = json.loads(written.read_text())['points'] if written.exists() else []
        return status, out, {(p['group'], p['ratio']): p for p in points}

    return call


@pytest.fixture
def count_tests(monkeypatch):
    """Counts how often a Runner tests."""
    calls, test = [], Runner.test
    monkeypatch.setattr(Runner, 'test', lambda self: calls.append(1) or test(self))
    return calls


@pytest.mark.slow
def test_points_table_and_files(run, tmp_path, count_tests):
    config, checkpoint = trained(CLASSIFICATION)
    arguments = (config, checkpoint, '--ratios', 0.5, 0.9, '--groups', 'mlp', 'all')
    status, out, points = run(*arguments)
    assert status == 0
    assert list(points) == [('-', 0), ('mlp', 0.5), ('mlp', 0.9), ('all', 0.5), ('all', 0.9)]
    assert len(count_tests) == 5
    rates = [points['-', 0]['rate'], points['all', 0.5]['rate'], points['all', 0.9]['rate']]
    assert rates == sorted(rates, reverse=True)
    assert points['all', 0.9]['sops'] < 0.3 * points['-', 0]['sops']
    assert points['mlp', 0.9]['sops'] < points['-', 0]['sops']
    assert all(0 <= point['score'] <= 100 for point in points.values())
    assert 'accuracy/top1' in out
    names = {path.name for path in (tmp_path / 'out').iterdir() if path.is_file()}
    assert names == {'rsm_sweep.json', 'rsm_sweep.csv', 'rsm_sweep.png'}

    # Started again, it evaluates what is new only, and repeats what it evaluates.
    status, out, more = run(*arguments[:3], 0.25, *arguments[3:])
    assert status == 0
    assert '5 of 7 points are there already' in out
    assert len(count_tests) == 7
    assert {key: more[key] for key in points} == points
    (tmp_path / 'out/rsm_sweep.json').unlink()
    status, out, anew = run(*arguments)
    assert 'there already' not in out
    assert anew == points


@pytest.mark.slow
def test_a_masked_checkpoint_is_swept_from_no_masks_on(run, tmp_path):
    config, checkpoint = trained(CLASSIFICATION)
    plain = run(config, checkpoint, '--ratios', 0)[2]
    model = Runner.from_cfg(Config.fromfile(config)).model
    load_checkpoint(model, str(checkpoint))
    set_masking(model, {'all': 0.9})
    torch.save(model.state_dict(), tmp_path / 'masked.pth')
    assert run(config, tmp_path / 'masked.pth', '--ratios', 0)[2] == plain


@pytest.mark.slow
def test_finetuning(run, tmp_path):
    config, checkpoint = trained(CLASSIFICATION)
    arguments = (config, checkpoint, '--ratios', 0.5, '--groups', 'all', '--finetune', 1)
    status, out, points = run(*arguments)
    assert status == 0, out
    assert set(points) == {('-', 0), ('all', 0.5)}
    assert '1 epochs of training with masks' in out
    (trained_with,) = (tmp_path / 'out/runs/all-0.5').glob('epoch_1.pth')
    # What was trained is not trained again.
    stamp = trained_with.stat().st_mtime_ns
    (tmp_path / 'out/rsm_sweep.json').unlink()
    assert run(*arguments)[2] == points
    assert trained_with.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['absent.py', 'absent.pth'], 'there is no config file absent.py'),
        (['{config}', 'absent.pth'], 'there is no checkpoint file absent.pth'),
        (['{config}', '{checkpoint}', '--groups', 'conv9'], "masking: 'conv9' names no neuron"),
        (['{config}', '{checkpoint}', '--metric', 'AP'], "there is no metric 'AP'; --metric takes"),
        (['{config}', '{checkpoint}', '--cost', '3nm'], "unknown costs '3nm'"),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_bad_arguments_give_one_clear_sentence(run, arguments, message):
    config, checkpoint = trained(CLASSIFICATION)
    places = dict(config=config, checkpoint=checkpoint)
    status, _, points = run(*(argument.format(**places) for argument in arguments))
    assert str(status).startswith('rsm_sweep.py: ')
    assert message in status
    assert points == {}


def test_ratios_out_of_range(run, capsys):
    assert run('a.py', 'a.pth', '--ratios', 1)[0] == 2


@pytest.mark.slow
def test_segmentation(run):
    config, checkpoint = trained(SEGMENTATION)
    groups = ('decode_head.*+neck.*', 'all')
    status, out, points = run(config, checkpoint, '--ratios', 0.9, '--groups', *groups)
    assert status == 0
    assert 'mIoU' in out
    rates = [points[key]['rate'] for key in (('all', 0.9), (groups[0], 0.9), ('-', 0))]
    assert sorted(set(rates)) == rates
    message = run(config, checkpoint, '--finetune', 1)[0]
    assert 'does not train by epochs: --finetune cannot be used' in message
