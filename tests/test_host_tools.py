"""The configs in the tools that come with mmpretrain, mmdet and mmseg."""

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
from mmengine.config import Config, ConfigDict
from mmengine.registry import TRANSFORMS, init_default_scope
from torch.utils.data import DataLoader

from mmspike.datasets.digit_scenes import write_digit_scenes
from support.paths import ROOT
from support.small_runs import CONFIGS, DIGITS

SCENES = ROOT / 'configs/{}/digit-scenes/{}_metaspikformer-digits-sfa-t1d4_{}_digit-scenes.py'
KINDS = {
    'classifier': DIGITS,
    'events': ROOT
    / 'configs/classification/sdt/sdt-1-64-lif-t8_1xb32-tet-coslr-15e_event-digits.py',
    'retinanet': Path(str(SCENES).format('detection', 'retinanet', 'fpn_1xb4-4e')),
    'mask-rcnn': Path(str(SCENES).format('detection', 'mask-rcnn', 'fpn_1xb4-4e')),
    'segmentor': Path(str(SCENES).format('segmentation', 'semantic-fpn', '1xb8-1500')),
}
# What makes a run as short as it gets.
SHORT = {
    'mmpretrain': (
        *('train_cfg.max_epochs=1', 'train_dataloader.dataset.indices=64'),
        *('val_dataloader.dataset.indices=20', 'test_dataloader.dataset.indices=20'),
    ),
    'mmdet': ('train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'model.backbone.init_cfg=None'),
    'mmseg': (
        *('train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'train_dataloader.batch_size=2'),
        *('default_hooks.checkpoint.interval=2', 'model.backbone.init_cfg=None'),
    ),
}
# Pictures that must come out are named last.
ANALYSIS = {
    'classifier': [
        # Its other modes need a matplotlib older than 3.11.
        'visualization/browse_dataset.py CONFIG --output-dir OUT --not-show -n 2 '
        '-m original > 0.jpg',
        'visualization/vis_scheduler.py CONFIG --not-show --save-path OUT/lr.png '
        '--dataset-size 100 > lr.png',
        'analysis_tools/confusion_matrix.py CONFIG CHECKPOINT --show-path OUT/c.png > c.png',
        'analysis_tools/get_flops.py CONFIG --shape 32 >',
        'analysis_tools/analyze_logs.py plot_curve LOG --keys loss --out OUT/log.png > log.png',
    ],
    'events': [
        'analysis_tools/confusion_matrix.py CONFIG CHECKPOINT --show-path OUT/c.png > c.png'
    ],
    'retinanet': [
        'analysis_tools/browse_dataset.py CONFIG --output-dir OUT --not-show > digits_000000.png',
        'analysis_tools/confusion_matrix.py CONFIG PREDICTIONS OUT > confusion_matrix.png',
        'analysis_tools/get_flops.py CONFIG --num-images 1 >',
        'analysis_tools/analyze_logs.py plot_curve LOG --keys loss --style default '
        '--out OUT/log.png > log.png',
    ],
    'mask-rcnn': [],
    'segmentor': [
        'analysis_tools/browse_dataset.py CONFIG --output-dir OUT --not-show > digits_000000.png',
        'analysis_tools/confusion_matrix.py CONFIG PREDICTIONS OUT > confusion_matrix.png',
        'analysis_tools/get_flops.py CONFIG --shape 128 128 >',
    ],
}
if find_spec('seaborn'):
    ANALYSIS['segmentor'].append(
        'analysis_tools/analyze_logs.py LOG --keys loss --out OUT/log.png > log.png'
    )


def tools_of(host: str) -> Path:
    return Path(find_spec(host).origin).parent / '.mim/tools'


# --- All configs, as far as it is quick ----------------------------------------------------------


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_what_the_hosts_tools_ask_of_a_config(path):
    cfg = Config.fromfile(path)
    # A pre-training has nothing to evaluate; mmengine wants all of it or none.
    evaluated = ('train',) if path.parent.name == 'smae' else ('train', 'val', 'test')
    for part in ('train', 'val', 'test'):
        loader = cfg.get(f'{part}_dataloader')
        assert (loader is not None) == (part in evaluated)
        if loader is None:
            continue
        if cfg.default_scope == 'mmpretrain':
            # As its train.py does.
            loader = ConfigDict(dict(pin_memory=True, persistent_workers=True), **loader)
        options = {key: loader.get(key, 0) for key in ('num_workers', 'persistent_workers')}
        DataLoader([0], **options)  # torch refuses what does not go together
    assert not cfg.auto_scale_lr.enable  # mmdet's --auto-scale-lr wants to find it
    assert cfg.auto_scale_lr.base_batch_size
    assert cfg.default_hooks.visualization
    assert cfg.visualizer.vis_backends[0].type == 'LocalVisBackend'
    if cfg.default_scope == 'mmseg':
        assert cfg.tta_model.type == 'SegTTAModel'
        init_default_scope('mmseg')
        for step in cfg.tta_pipeline:
            TRANSFORMS.build(step)
        # visualization_cam.py reads it there.
        assert cfg.data_preprocessor == cfg.model.data_preprocessor
        assert cfg.data_preprocessor.mean


# --- One config of each kind, through the tools --------------------------------------------------


@pytest.fixture(scope='module', params=KINDS)
def trained(request, tmp_path_factory, run_program):
    """A config that the host's train.py has trained, and a way to run the host's other tools."""
    path = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    host = Config.fromfile(path, import_custom_modules=False).default_scope
    if host != 'mmpretrain':
        write_digit_scenes(folder / 'data/digit_scenes', num_train=2, num_val=2)
    short = list(SHORT[host])
    if request.param == 'retinanet':
        # Without boxes mmdet logs no metric, and its analyze_logs.py takes validation for training.
        short.append('model.test_cfg.score_thr=0.0')
    if request.param == 'events':
        short += [f'{part}_dataloader.dataset.camera.saccade=10000' for part in ('train', 'val')]
        short += ['test_dataloader.dataset.camera.saccade=10000', 'timesteps=2']

    def run(tool: str, *arguments: object) -> str:
        done = run_program(tools_of(host) / tool, *arguments, cwd=folder)
        return done.stdout + done.stderr

    options = ['--cfg-options', *short]
    run('train.py', path, '--work-dir', 'run', *options)
    (checkpoint,) = (folder / 'run').glob('[ei]*_[12].pth')
    return SimpleNamespace(
        kind=request.param,
        host=host,
        path=path,
        folder=folder,
        checkpoint=checkpoint,
        options=options,
        run=run,
    )


@pytest.mark.slow
def test_a_host_trains_tests_draws_and_analyses(trained):
    folder, options = trained.folder, trained.options
    test = ('test.py', trained.path, trained.checkpoint, '--work-dir', 'test')
    shown, predictions = folder / 'shown', folder / 'predictions'
    if trained.host != 'mmseg':
        predictions = predictions.with_suffix('.pkl')
    draw = [] if trained.kind == 'events' else ['--show-dir', shown]
    trained.run(*test, '--out', predictions, *draw, *options)
    assert predictions.exists()
    if draw:
        assert list(
            folder.rglob('*digits_000000*.png' if trained.host != 'mmpretrain' else '0_0.png')
        )
    if trained.kind != 'mask-rcnn':
        trained.run(*test, '--tta', *options)
    (log,) = folder.glob('run/*/vis_data/2*.json')
    for i, line in enumerate(ANALYSIS[trained.kind]):
        out = folder / f'analysis{i}'
        out.mkdir()
        command, picture = line.split('>')
        words = dict(
            CONFIG=trained.path, CHECKPOINT=trained.checkpoint, PREDICTIONS=predictions, LOG=log
        )
        tool, *arguments = [
            words.get(word, word.replace('OUT', str(out))) for word in command.split()
        ]
        if 'confusion' in tool and trained.host == 'mmpretrain':
            arguments += options
        trained.run(tool, *arguments)
        if picture.strip():
            assert cv2.imread(str(out / picture.strip())) is not None


@pytest.mark.slow
def test_tensorboard(trained):
    if trained.kind != 'classifier':
        pytest.skip('one is enough')
    backend = 'visualizer.vis_backends.0.type=TensorboardVisBackend'
    trained.run('train.py', trained.path, '--work-dir', 'tb', *trained.options, backend)
    assert list(trained.folder.glob('tb/*/vis_data/events.out.tfevents.*'))
