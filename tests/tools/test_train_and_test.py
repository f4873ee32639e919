"""The tools, run as a user runs them: in processes of their own."""

import json
import os
import pickle
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmspike.files import read_training_checkpoint
from support.paths import ROOT
from support.small_runs import DIGITS
from support.tool_runs import finish, run_script, start, start_command, train_command

SMALL = """
_base_ = {base!r}
model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=(4, 4, 8, 8, 8), depths=(1, 1, 1, 1, 1), num_heads=2,
                  stem_stride=2),
        {backbone}
    ),
    head=dict(in_channels=8),
    {model}
)
pipeline = [{transforms} dict(type='PackInputs')]
train_dataloader = dict(batch_size={batch}, dataset=dict(indices=64, pipeline=pipeline))
val_dataloader = dict(dataset=dict(indices=20, pipeline=pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=3)
default_hooks = dict(logger=dict(interval=1))
{more}
"""


def write_config(folder: Path, *, batch=8, backbone='', model='', transforms='', more='') -> Path:
    path = folder / 'small.py'
    path.write_text(
        SMALL.format(base=str(DIGITS), batch=batch, backbone=backbone, model=model,
                     transforms=transforms, more=more)
    )  # fmt: skip
    return path


# Everything that draws random numbers while training.
RANDOM = dict(
    backbone='drop_path_rate=0.5,',
    model="train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)),",
    transforms="dict(type='RandomCrop', crop_size=8, padding=2),",
)


def final_weights(work_dir: Path) -> dict:
    return torch.load(work_dir / 'epoch_3.pth', weights_only=False)['state_dict']


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory, run_program):
    """A config with all kinds of randomness, trained in one go."""
    folder = tmp_path_factory.mktemp('uninterrupted')
    config = write_config(folder, **RANDOM)
    run_program('tools/train.py', config, '--work-dir', folder / 'work')
    return config, folder / 'work'


@pytest.mark.slow
@pytest.mark.parametrize('kill', [signal.SIGINT, signal.SIGKILL], ids=lambda kill: kill.name)
def test_interrupted_training_resumes_exactly(uninterrupted, tmp_path, kill):
    config, whole = uninterrupted
    work_dir = tmp_path / 'work'
    process = start(config, work_dir, '--resume')
    for line in process.stdout:
        if 'Epoch(train) [2][3/8]' in line:
            process.send_signal(kill)
            break
    rest = process.stdout.read()
    assert process.wait(timeout=60) == (130 if kill == signal.SIGINT else -signal.SIGKILL)
    assert not (work_dir / 'epoch_2.pth').exists()

    command = train_command(config, work_dir, '--resume')
    if kill == signal.SIGINT:
        sentence = rest.splitlines()[-1]
        assert sentence.startswith('train.py: interrupted; the newest checkpoint is ')
        assert f'{work_dir}/epoch_1.pth. To resume: ' in sentence
        assert 'Traceback' not in rest
        command = shlex.split(sentence.partition('To resume: ')[2])
    output = finish(start_command(command))
    assert 'resumed epoch: 1, iter: 8' in output
    for name, value in final_weights(whole).items():
        assert torch.equal(value, final_weights(work_dir)[name]), name


@pytest.mark.slow
@pytest.mark.parametrize('note', ['damaged', 'truncated'])
def test_resuming_passes_over_what_is_damaged(uninterrupted, tmp_path, run_tool, note):
    """`max_epochs` is reached already, so that nothing is left to train."""
    config, whole = uninterrupted
    work_dir = shutil.copytree(whole, tmp_path / 'work')
    if note == 'damaged':
        (work_dir / 'last_checkpoint').write_bytes(bytes(range(256)))
        broken, good = 'last_checkpoint is damaged', work_dir / 'epoch_3.pth'
    else:
        (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_3.pth'))
        newest = work_dir / 'epoch_3.pth'
        newest.write_bytes(newest.read_bytes()[:5000])
        broken, good = 'epoch_3.pth (5000 bytes) cannot be read', work_dir / 'epoch_2.pth'
    options = 'train_cfg.max_epochs=3'
    status, printed = run_tool(
        'train.py', config, '--work-dir', work_dir, '--resume', '--cfg-options', options
    )
    assert status == 0
    (told,) = (line for line in printed.splitlines() if line.startswith('--resume: '))
    assert broken in told
    assert told.endswith(f'resuming from {good}')


@pytest.mark.slow
def test_a_damaged_file_is_refused_with_the_good_one_beside_it(uninterrupted, tmp_path, run_tool):
    config, whole = uninterrupted
    work_dir = shutil.copytree(whole, tmp_path / 'work')
    for epoch in (2, 3):
        (work_dir / f'epoch_{epoch}.pth').write_bytes(b'torn')
    newest = work_dir / 'epoch_3.pth'
    status, _ = run_tool('train.py', config, '--work-dir', work_dir, '--resume', newest)
    assert status.endswith(f'good checkpoint beside it is {work_dir}/epoch_1.pth')
    (work_dir / 'epoch_1.pth').unlink()
    status, _ = run_tool('train.py', config, '--work-dir', work_dir, '--resume')
    assert 'can be resumed: ' in status
    for epoch in (2, 3):
        assert f'epoch_{epoch}.pth (4 bytes) cannot be read' in status


@pytest.mark.slow
def test_a_second_training_in_the_folder_is_refused(uninterrupted, tmp_path, run_tool):
    config, _ = uninterrupted
    process = start(config, tmp_path / 'work')
    next(line for line in process.stdout if 'Epoch(train) [1][1/8]' in line)
    status, _ = run_tool('train.py', config, '--work-dir', tmp_path / 'work')
    process.kill()
    process.communicate()
    assert f'another training writes into {tmp_path}/work (process {process.pid} on' in status


@pytest.mark.slow
def test_nan_ends_training_with_the_layer_and_the_last_good_weights(tmp_path, run_program):
    jump = "dict(type='MultiStepLR', by_epoch=True, milestones=[1], gamma=1e30)"
    config = write_config(tmp_path, more=f'param_scheduler = [{jump}]')
    done = run_program('tools/train.py', config, '--work-dir', tmp_path / 'work', check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert re.match(r'train\.py: training stopped at iteration \d+ \(epoch 2\): loss ', last)
    assert re.search(r'first layer whose output is not finite is \w+|was not finite before', last)
    assert 'Traceback' not in done.stderr
    good = sorted((tmp_path / 'work').glob('*.pth'))
    assert good[-1].name == 'epoch_1.pth'
    for path in good:  # the best one as well
        weights = torch.load(path, weights_only=False)['state_dict']
        assert all(value.isfinite().all() for value in weights.values())


def mismatches(whole: Path, folder: Path) -> dict[str, Path]:
    weights = read_training_checkpoint(whole / 'epoch_3.pth')['state_dict']
    files = {name: folder / f'{name}.pth' for name in ('classes', 'strange')}
    fewer = {k: v[:5] if k.startswith('head.fc.') else v for k, v in weights.items()}
    torch.save(dict(state_dict=fewer), files['classes'])
    torch.save(dict(state_dict={f'x.{k}': v for k, v in weights.items()}), files['strange'])
    return files


@pytest.mark.slow
@pytest.mark.parametrize(
    ('file', 'parts'),
    [
        (
            'classes',
            ('2 of another shape: head.fc.weight (file (5, 8), model (10, 8)), head.fc.bias',),
        ),
        ('strange', ('missing in the file: backbone.', 'in the file alone: x.backbone.')),
    ],
)
def test_weights_that_do_not_fit_are_no_result(uninterrupted, tmp_path, run_tool, file, parts):
    config, whole = uninterrupted
    path = mismatches(whole, tmp_path)[file]
    arguments = ['test.py', config, path, '--work-dir', tmp_path / 'work']
    status, printed = run_tool(*arguments)
    assert status.startswith(f'test.py: {path} does not fit the config: of the ')
    for part in parts:
        assert part in status
    assert 'accuracy/top1' not in printed
    if file == 'strange':
        status, _ = run_tool('train.py', config, '--work-dir', tmp_path / 'work', '--cfg-options',
                             f'load_from={path}')  # fmt: skip
        assert status.startswith(f'train.py: {path} does not fit the config')


@pytest.mark.slow
def test_weights_that_do_not_fit_can_be_allowed(uninterrupted, tmp_path, run_tool):
    config, whole = uninterrupted
    path = mismatches(whole, tmp_path)['classes']
    status, printed = run_tool(
        'test.py', config, path, '--work-dir', tmp_path / 'work', '--allow-mismatch'
    )
    assert status == 0
    assert 'accuracy/top1' in printed


@pytest.mark.slow
def test_the_config_of_a_resumed_training_only_loads(uninterrupted, tmp_path, run_tool):
    config, whole = uninterrupted
    path = tmp_path / 'weights.pth'
    weights = read_training_checkpoint(whole / 'epoch_3.pth')['state_dict']
    torch.save(dict(state_dict=weights), path)  # nothing that could be resumed
    status, printed = run_tool(
        'test.py', config, path, '--work-dir', tmp_path / 'work', '--cfg-options', 'resume=True'
    )
    assert status == 0
    assert 'accuracy/top1' in printed


@pytest.mark.parametrize(
    'typed',
    [
        ['c.py'],
        ['c.py', '--resume'],
        ['c.py', '--resume', 'epoch_3.pth'],
        ['c.py', '--resume=epoch_3.pth'],
        ['--resume', 'auto', 'c.py'],
    ],
)
def test_an_interrupted_training_goes_on_from_its_newest_checkpoint(monkeypatch, tmp_path, typed):
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')  # the tool sets both for its process
    monkeypatch.setenv('LOCAL_RANK', '0')
    tool = runpy.run_path(str(ROOT / 'tools/train.py'), run_name='train')
    monkeypatch.setattr(sys, 'argv', ['train.py', *typed, '--work-dir', 'w'])
    said = tool['interrupted'](SimpleNamespace(work_dir=str(tmp_path)), tool['parse_args']())
    assert said.endswith('train.py c.py --resume --work-dir w')


def test_a_missing_pretrained_file_is_told_at_once(run_tool):
    config = next((ROOT / 'configs/detection/metaspikformer').glob('mask-rcnn*medium*.py'))
    status, _ = run_tool('train.py', config)
    assert 'there is no file checkpoints/metaspikformer-medium-sfa-t1d4_in1k.pth' in status
    assert 'tools/model_converters/convert.py' in status
    assert '--cfg-options model.backbone.init_cfg=None' in status


@pytest.mark.slow
def test_other_seeds_train_other_weights(uninterrupted, tmp_path, run_program):
    config, whole = uninterrupted
    options = ('--cfg-options', 'randomness.seed=1')
    run_program('tools/train.py', config, '--work-dir', tmp_path / 'work', *options)
    name = 'head.fc.weight'
    assert not torch.equal(final_weights(whole)[name], final_weights(tmp_path / 'work')[name])


@pytest.mark.slow
def test_evaluation_writes_predictions(uninterrupted, tmp_path, run_program):
    config, whole = uninterrupted
    out = tmp_path / 'predictions.pkl'
    printed = run_program(
        'tools/test.py', config, whole / 'epoch_3.pth', '--work-dir', tmp_path, '--out', out
    )
    top1 = float(re.findall(r'accuracy/top1: ([\d.]+)', printed.stdout + printed.stderr)[-1])
    predictions = pickle.loads(out.read_bytes())
    right = [int(p['pred_label']) == int(p['gt_label']) for p in predictions]
    assert len(right) == 20
    assert top1 == pytest.approx(100 * sum(right) / 20, abs=0.01)


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_same_total_batch(tmp_path):
    losses, weights = {}, {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        config = write_config(
            folder,
            batch=16 // processes,
            backbone='norm_eval=True,',
            more=(
                "custom_imports = dict(imports=['mmspike', 'support.loss_recorder'])\n"
                f"custom_hooks = [dict(type='mmspike.LossRecorder', path={str(folder / 'loss')!r})]"
            ),
        )
        run_script('dist_train.sh', config, processes, '--work-dir', folder)
        losses[processes] = [json.loads(x) for x in (folder / 'loss').read_text().split()]
        weights[processes] = final_weights(folder)
    assert len(losses[1]) == len(losses[2]) == 12
    assert losses[1][-1] < losses[1][0]
    assert losses[2] == pytest.approx(losses[1], rel=1e-4)
    for name, value in weights[1].items():
        torch.testing.assert_close(weights[2][name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_slurm_script_hands_over_its_arguments(tmp_path):
    """A stand-in for srun that prints what it is given."""
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    srun.chmod(0o755)
    env = dict(
        os.environ, PATH=f'{tmp_path}:{os.environ["PATH"]}', SRUN_ARGS='--time=1:00 -x n1',
        PYTHON=sys.executable,
    )  # fmt: skip
    printed = subprocess.run(
        ['tools/slurm_train.sh', 'gpu', 'job', 'config.py', '--amp', '--work-dir', 'a b'],
        cwd=ROOT, env=dict(env, GPUS='4'), capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert {'--partition=gpu', '--gres=gpu:4', '--ntasks=4', '--time=1:00', '-x'} <= set(printed)
    assert printed[-6:] == ['config.py', '--launcher', 'slurm', '--amp', '--work-dir', 'a b']
    printed = subprocess.run(
        ['tools/slurm_test.sh', 'cpu', 'job', 'config.py', 'c.pth'],
        cwd=ROOT, env=dict(env, GPUS='0'), capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert '--ntasks=2' in printed
    assert not any('gres' in argument for argument in printed)
    assert printed[-4:] == ['config.py', 'c.pth', '--launcher', 'slurm']


@pytest.fixture
def torn(tmp_path):
    path = tmp_path / 'torn.pth'
    torch.save(dict(state_dict=dict(a=torch.zeros(1000))), path)
    path.write_bytes(path.read_bytes()[:2000])
    return path


class Evil:
    def __reduce__(self):
        return print, ('executed',)


@pytest.fixture
def places(torn, tmp_path):
    evil = tmp_path / 'evil.pth'
    torch.save(dict(state_dict={}, meta=Evil()), evil)
    return dict(folder=tmp_path, torn=torn, evil=evil)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['train.py', DIGITS, '--resume', 'absent.pth'], 'there is no checkpoint file absent.pth'),
        (['train.py', DIGITS, '--resume', '{folder}'], 'is a directory'),
        (['train.py', DIGITS, '--resume', '{torn}'], 'cannot be read as a PyTorch checkpoint'),
        (
            ['train.py', DIGITS, '--cfg-options', 'optim_wraper.type=AmpOptimWrapper'],
            "'optim_wraper', which nothing reads; did you mean 'optim_wrapper'?",
        ),
        (
            ['train.py', DIGITS, '--cfg-options', 'model.teacher_logits={folder}/absent'],
            'absent of stored logits: tools/store_logits.py makes such folders',
        ),
        (
            ['test.py', DIGITS, 'metaspikformer-digits-sfa-t1d4.pth'],
            'there is no checkpoint file metaspikformer-digits-sfa-t1d4.pth: `make demo` writes it',
        ),
        (['test.py', DIGITS, '{torn}'], 'cannot be read as a PyTorch checkpoint'),
        (['test.py', DIGITS, '{folder}'], 'is a directory; in it are'),
    ],
    ids=lambda value: ' '.join(Path(v).name for v in value) if isinstance(value, list) else '',
)
def test_bad_arguments_give_one_clear_sentence(places, run_tool, arguments, message):
    tool, *rest = (str(argument).format(**places) for argument in arguments)
    status, _ = run_tool(tool, *rest)
    assert status.startswith(f'{tool}: ')
    assert message in status


@pytest.mark.slow
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['train.py', 'absent.py'], 'there is no config file absent.py'),
        (['test.py', DIGITS, '{evil}'], 'calls or creates builtins.print'),
        (['test.py', DIGITS, '{torn}', '--out', 'x.txt'], '--out must end in .pkl'),
    ],
    ids=['train', 'test', 'usage'],
)
def test_bad_arguments_of_a_process(places, run_program, arguments, message):
    """The same as a user sees it."""
    tool, *rest = (str(argument).format(**places) for argument in arguments)
    done = run_program(f'tools/{tool}', *rest, check=False)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert 'Traceback' not in done.stderr
    assert 'executed' not in done.stdout


@pytest.mark.slow
def test_misspelled_option_of_a_part_names_it(tmp_path, run_program):
    done = run_program(
        'tools/train.py', DIGITS, '--work-dir', tmp_path,
        '--cfg-options', 'model.backbone.timestep=4', check=False,
    )  # fmt: skip
    assert "unexpected keyword argument 'timestep'" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_progress_is_written_while_training(uninterrupted):
    _, whole = uninterrupted
    records = [
        json.loads(line)
        for file in whole.glob('*/vis_data/scalars.json')
        for line in file.read_text().splitlines()
    ]
    assert sum('loss' in record for record in records) == 24
    assert sum('accuracy/top1' in record for record in records) == 3


def test_a_training_set_smaller_than_a_batch_is_told(tmp_path, run_tool):
    config = write_config(tmp_path, batch=100, more="train_dataloader['drop_last'] = True")
    status, _ = run_tool('train.py', config, '--work-dir', tmp_path / 'run')
    assert re.search(r'holds 64 samples, and no batch of 100 can be made .*batch_size', status)
