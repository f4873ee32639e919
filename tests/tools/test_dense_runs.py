"""The tools on detection and segmentation: resuming, several processes, the hosts' own tools."""

import json
import shutil
import signal
from pathlib import Path

import mmdet
import pytest
import torch
from mmengine.runner import Runner

from mmspike.apis.config import load_config
from mmspike.apis.launch import adapt_to_devices
from support.paths import ROOT
from support.small_runs import make_scenes
from support.tool_runs import run_script, start

DETECTION, SEGMENTATION = (
    next((ROOT / 'configs').glob(f'{pattern}.py'))
    for pattern in ('detection/digit-scenes/mask-rcnn*', 'segmentation/digit-scenes/*')
)
BACKBONE = """
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=(4, 4, 8, 8, 8), depths=(1, 1, 1, 1, 1), num_heads=2,
                  stem_stride=2),
        drop_path_rate=0.3,
        init_cfg=None,
    ),"""
SMALL = {
    DETECTION: """
model = dict({backbone}
    neck=dict(in_channels=[4, 8, 8, 8], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16),
        bbox_head=dict(in_channels=16, fc_out_channels=16),
        mask_roi_extractor=dict(out_channels=16),
        mask_head=dict(num_convs=1, in_channels=16, conv_out_channels=8),
    ),
    test_cfg=dict(rpn=dict(max_per_img=20), rcnn=dict(score_thr=0.0, max_per_img=5)),
)
val_evaluator = dict(ann_file={scenes!r} + '/annotations/instances_validation.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=2, val_interval=2)
default_hooks = dict(logger=dict(interval=1))
""",
    SEGMENTATION: """
model = dict({backbone}
    neck=dict(in_channels=[4, 4, 8, 8], out_channels=8),
    decode_head=dict(in_channels=[8, 8, 8, 8], channels=8),
)
train_cfg = dict(max_iters=6, val_interval=6)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=3))
""",
}
# The line of the log after which a run is killed, the last checkpoint of a whole run, the metric.
KILL_AFTER = {DETECTION: 'Epoch(train) [2][1/2]', SEGMENTATION: 'Iter(train) [5/6]'}
RESUMED_AT = {DETECTION: 2, SEGMENTATION: 3}
LAST = {DETECTION: 'epoch_2.pth', SEGMENTATION: 'iter_6.pth'}
METRIC = {DETECTION: 'coco/bbox_mAP', SEGMENTATION: 'mIoU'}
BOTH = pytest.mark.parametrize('base', [DETECTION, SEGMENTATION], ids=['detection', 'segmentation'])


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('scenes')
    make_scenes(folder)
    return folder


def write_config(base: Path, scenes: Path, folder: Path, more: str = '') -> Path:
    path = folder / 'small.py'
    path.write_text(
        f'_base_ = {str(base)!r}\n'
        + SMALL[base].format(backbone=BACKBONE, scenes=str(scenes))
        + f"""
train_dataloader = dict(batch_size=2, dataset=dict(data_root={str(scenes)!r}))
val_dataloader = dict(batch_size=1, dataset=dict(data_root={str(scenes)!r}))
test_dataloader = val_dataloader
{more}
"""
    )
    return path


def weights(path: Path) -> dict:
    return torch.load(path, weights_only=False)['state_dict']


@pytest.mark.slow
@BOTH
def test_killed_training_resumes_exactly(base, scenes, tmp_path, run_program):
    config = write_config(base, scenes, tmp_path)
    run_program('tools/train.py', config, '--work-dir', tmp_path / 'whole')

    process = start(config, tmp_path / 'killed', '--resume')
    for line in process.stdout:
        if KILL_AFTER[base] in line:
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.read()
    assert process.wait(timeout=60) != 0
    assert not (tmp_path / 'killed' / LAST[base]).exists()

    done = run_program('tools/train.py', config, '--work-dir', tmp_path / 'killed', '--resume')
    assert f'iter: {RESUMED_AT[base]}' in done.stdout
    whole, resumed = (weights(tmp_path / name / LAST[base]) for name in ('whole', 'killed'))
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


@pytest.mark.slow
def test_a_label_map_that_cannot_be_read_is_named(scenes, tmp_path, run_program):
    folder = shutil.copytree(scenes, tmp_path / 'scenes')
    maps = sorted((folder / 'annotations/training').glob('*.png'))
    for path in maps:
        path.write_bytes(path.read_bytes()[:40])
    config = write_config(SEGMENTATION, folder, tmp_path)
    done = run_program('tools/train.py', config, '--work-dir', tmp_path / 'work', check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith('train.py: ')
    assert any(f'{path} cannot be read' in last for path in maps)


def logged(work_dir: Path, key: str) -> list[float]:
    files = sorted(work_dir.glob('*/*.json')) + sorted(work_dir.glob('*/vis_data/*.json'))
    records = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [record[key] for record in records if key in record]


@pytest.mark.slow
@BOTH
def test_two_processes_stay_together_and_evaluate_as_one(base, scenes, tmp_path):
    hook = dict(type='mmspike.SameWeightsOnAllRanks', path=str(tmp_path / 'ok'))
    imports = "custom_imports = dict(imports=['mmspike', 'support.loss_recorder'])"
    more = f'{imports}\ncustom_hooks = [{hook!r}]'
    config = write_config(base, scenes, tmp_path, more)
    work_dir = tmp_path / 'two'
    run_script('dist_train.sh', config, 2, '--work-dir', work_dir)
    assert (tmp_path / 'ok').read_text() == '2 ranks agree'
    assert len(logged(work_dir, 'loss')) > 1

    checkpoint = work_dir / LAST[base]
    run_script('dist_test.sh', config, checkpoint, 2, '--work-dir', tmp_path / 'test')
    cfg = load_config(config, dict(load_from=str(checkpoint)), str(tmp_path / 'alone'))
    adapt_to_devices(cfg, 'none')
    alone = Runner.from_cfg(cfg).test()
    assert logged(tmp_path / 'test', METRIC[base])[-1] == pytest.approx(
        alone[METRIC[base]], abs=1e-6
    )


STOCK = """
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmspike'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmspike.MetaSpikformer',
        arch=dict(embed_dims=(4, 4, 8, 8, 8), depths=(1, 1, 1, 1, 1), num_heads=2, stem_stride=2),
        out_indices=(1, 2, 4),
    ),
    neck=dict(
        _delete_=True,
        type='mmspike.SpikeFPN',
        in_channels=[4, 8, 8],
        out_channels=256,
        num_outs=5,
        readout=True,
    ),
)
"""


@pytest.mark.slow
def test_config_of_mmdet_with_our_backbone_and_neck_trains_from_the_tools_of_mmdet(
    scenes, tmp_path, run_program
):
    """What a user of mmdet does: nothing but backbone, neck and one line of imports changes."""
    config = tmp_path / 'stock.py'
    config.write_text(STOCK)
    data = []
    for part, subset in (('train', 'training'), ('val', 'validation'), ('test', 'validation')):
        dataset = f'{part}_dataloader.dataset'
        annotations = f'annotations/coco_{subset}.json'
        data += [
            f'{dataset}.data_root={scenes}/',
            f'{dataset}.ann_file={annotations}',
            f'{dataset}.data_prefix.img=images/{subset}/',
            f'{part}_dataloader.num_workers=0',
            f'{part}_dataloader.persistent_workers=False',
        ]
        if part != 'train':
            data.append(f'{part}_evaluator.ann_file={scenes}/{annotations}')
    sizes = [
        'train_dataloader.dataset.pipeline.2.scale=(96,96)',
        'test_dataloader.dataset.pipeline.1.scale=(96,96)',
        'val_dataloader.dataset.pipeline.1.scale=(96,96)',
    ]
    tool = Path(mmdet.__file__).parent / '.mim/tools/train.py'
    run_program(
        tool, config, '--work-dir', tmp_path / 'work',
        '--cfg-options', *data, *sizes, 'train_cfg.max_epochs=1', 'model.test_cfg.score_thr=0.0',
        'default_hooks.logger.interval=1',
    )  # fmt: skip
    assert (tmp_path / 'work/epoch_1.pth').is_file()
    assert logged(tmp_path / 'work', 'coco/bbox_mAP')
