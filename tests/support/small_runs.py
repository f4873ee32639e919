"""Makes real configs small enough for a test."""

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.registry import DATASETS

from mmspike.apis.config import load_config
from mmspike.apis.launch import adapt_to_devices
from mmspike.backbones import meta_spikformer, sdt, sdt_v2, sdt_v3_large
from mmspike.classifiers.logits_writer import LogitsWriter
from mmspike.classifiers.samples import samples_of
from mmspike.datasets.digit_scenes import write_digit_scenes
from support.event_files import EVENT_DATASETS, make_event_dataset
from support.paths import ROOT

# Of backbones whose config names an architecture: all of them, and what makes them one step small.
ARCHS = {
    'mmspike.MetaSpikformer': (meta_spikformer.ARCHS, dict(depths=(1, 1, 1, 1, 1))),
    'mmspike.SDTV2': (sdt_v2.ARCHS, dict(depths=(1, 1, 1, 1, 1))),
    'mmspike.SDTV3Large': (sdt_v3_large.ARCHS, dict(depths=(1, 1, 1, 1))),
    'mmspike.SMAEEncoder': (sdt_v3_large.ARCHS, dict(depths=(1, 1, 1, 1))),
    'mmspike.SDT': (sdt.ARCHS, dict(depth=1)),
}

CONFIGS = sorted(path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)
DIGITS = ROOT / (
    'configs/classification/metaspikformer/metaspikformer-digits-sfa-t1d4_1xb32-coslr-15e_digits.py'
)

# Height and width of the scenes; then image sizes in pipelines -> sizes for a test.
SCENE = 96
_SIZES = {224: 64, 232: 72, 235: 72, 256: 72, 288: 80, 320: 88, 384: 96}
# Folders of the scenes' subsets by the names that COCO gives to its own.
_COCO = {'train2017': 'training', 'val2017': 'validation'}


def make_imagenet(folder: Path) -> None:
    """Four noise images in ImageNet's layout, with annotation files."""
    random = np.random.default_rng(0)
    for split in ('train', 'val'):
        lines = []
        for i in range(4):
            name = f'image_{i}.JPEG'
            (folder / split).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(
                str(folder / split / name), random.integers(0, 256, (80, 100, 3), dtype=np.uint8)
            )
            lines.append(f'{name} {i * 250}\n')
        (folder / f'{split}.txt').write_text(''.join(lines))


def make_cifar(folder: Path, kind: str) -> None:
    """Two noise images in every file of CIFAR-10 or CIFAR-100; checksums are not asked for."""
    dataset, random = DATASETS.get(kind), np.random.default_rng(0)
    dataset.train_list = [(name, None) for name, _ in dataset.train_list]
    dataset.test_list = [(name, None) for name, _ in dataset.test_list]
    (folder / dataset.base_folder).mkdir(parents=True, exist_ok=True)
    labels = 'labels' if kind == 'CIFAR10' else 'fine_labels'
    for name, _ in dataset.train_list + dataset.test_list:
        images = random.integers(0, 256, (2, 3 * 32 * 32), dtype=np.uint8)
        content = pickle.dumps({'data': images, labels: [0, 1]})
        (folder / dataset.base_folder / name).write_bytes(content)


def make_scenes(folder: Path) -> None:
    """A few scenes of digits, whose ten classes also pass for the first ten of COCO's 80."""
    write_digit_scenes(folder, num_train=4, num_val=2, size=SCENE)
    names = CocoDataset.METAINFO['classes']
    for subset in _COCO.values():
        content = json.loads((folder / f'annotations/instances_{subset}.json').read_text())
        for category in content['categories']:
            category['name'] = names[int(category['name'])]
        # An untrained head answers with any class, and the metric looks each of them up.
        content['categories'] += [dict(id=100 + i, name=names[i]) for i in range(10, len(names))]
        (folder / f'annotations/coco_{subset}.json').write_text(json.dumps(content))


def _resize(value: Any) -> Any:
    """Sizes in a pipeline, brought down to those of the scenes."""
    if isinstance(value, dict):
        return {
            key: (SCENE, SCENE) if key in ('scale', 'crop_size') else _resize(part)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [_resize(part) for part in value]
    if isinstance(value, tuple) and len(value) == 2:
        return (SCENE, SCENE)
    return value


def _use_scenes(cfg: Config, scenes: Path) -> None:
    """Put the scenes in the place of COCO, ADE20K, VOC or larger scenes."""
    make_scenes(scenes)
    for part in ('train', 'val', 'test'):
        subset = 'training' if part == 'train' else 'validation'
        dataset = cfg[f'{part}_dataloader'].dataset
        # VOC is trained on two sets of labels in a row.
        for one in dataset.get('datasets', [dataset]):
            _use_scenes_in(one, scenes, subset)
        if dataset.type == 'mmspike.CocoDataset' and part != 'train':
            cfg[f'{part}_evaluator'].ann_file = str(scenes / dataset.ann_file)
    if 'size' in cfg.model.data_preprocessor:
        cfg.model.data_preprocessor.size = (SCENE, SCENE)
    _use_few_regions(cfg.model)
    # A first step of the real length: warm-ups begin with one too small to see.
    cfg.param_scheduler = []
    backbone = cfg.model.backbone
    backbone.pop('init_cfg', None)
    # The statistics of untrained norms would silence the neurons.
    backbone.norm_eval = False
    # A block per stage: classification trains the whole.
    _use_few_blocks(backbone)


def _use_few_blocks(backbone: dict) -> None:
    archs, few = ARCHS[backbone.type]
    if isinstance(backbone.arch, str):
        backbone.arch = dict(archs[backbone.arch], **few)


def _use_scenes_in(dataset: dict, scenes: Path, subset: str) -> None:
    """Make one dataset read a subset of the scenes, by a pipeline of their size."""
    dataset.data_root = str(scenes) + '/'
    if dataset.type == 'mmspike.CocoDataset':
        own = 'instances' if 'metainfo' in dataset else 'coco'
        dataset.ann_file = f'annotations/{own}_{subset}.json'
        dataset.data_prefix = dict(img=f'images/{subset}/')
        dataset.pop('filter_cfg', None)
        # One batch, one step.
        dataset.indices = 2
    else:
        dataset.img_suffix = '.png'
    if dataset.type == 'PascalVOCDataset':
        # The labels of the scenes, 0 to 11, are taken as they are: as twelve of the 21 classes.
        names = sorted(path.stem for path in (scenes / 'images' / subset).iterdir())
        dataset.data_prefix = dict(
            img_path=f'images/{subset}', seg_map_path=f'annotations/{subset}'
        )
        (scenes / dataset.ann_file).parent.mkdir(parents=True, exist_ok=True)
        (scenes / dataset.ann_file).write_text('\n'.join(names))
    keep = ('flip', 'ratio_range')
    dataset.pipeline = [
        {key: value if key in keep else _resize({key: value})[key]
         for key, value in transform.items()}
        for transform in dataset.pipeline
    ]  # fmt: skip


def _use_few_regions(model: dict) -> None:
    """Keep heads from looking at hundreds of regions in a scene of a few digits."""
    train, test = model.get('train_cfg') or {}, model.get('test_cfg') or {}
    if 'score_thr' in test:
        test.update(score_thr=0.0, nms_pre=100, max_per_img=10)
    if 'num_points' in train:
        train['num_points'] = 128
        test['max_per_image'] = 5
        model['panoptic_head']['num_queries'] = 10
    if 'rcnn' in train:
        stages = train['rcnn'] if isinstance(train['rcnn'], list) else [train['rcnn']]
        for stage in stages:
            stage['sampler']['num'] = 8
        heads = model['roi_head']['bbox_head']
        for head in heads if isinstance(heads, list) else [heads]:
            head['fc_out_channels'] = 64
        train['rpn_proposal']['max_per_img'] = test['rpn']['max_per_img'] = 10
        # Without a threshold: an untrained head is sure of nothing, and no box is no metric.
        test['rcnn'].update(max_per_img=5, score_thr=0.0)


def shrink(cfg: Config, folder: Path) -> None:
    """Reduce a config, in place, to one small step and one evaluation."""
    for loader in _loaders(cfg).values():
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
    if cfg.default_scope == 'mmpretrain':
        _shrink_classification(cfg, folder)
    else:
        _use_scenes(cfg, folder / 'scenes')
    if cfg.train_cfg.get('type') == 'IterBasedTrainLoop':
        cfg.train_cfg.update(max_iters=1, val_interval=1)
        cfg.default_hooks.checkpoint.interval = 1
    else:
        cfg.train_cfg.update(max_epochs=1, val_interval=1)
    # Parameters move by their gradients or not at all.
    cfg.optim_wrapper.optimizer.weight_decay = 0.0
    # Weights to fine-tune, or to learn from, are not in the repository.
    cfg.load_from = None
    if 'teacher_checkpoint' in cfg.model:
        # A large teacher is as good as a small one: the student's own network.
        cfg.model.pop('teacher', None)
        cfg.model.teacher_checkpoint = str(_write_teacher(cfg, folder))
    if 'teacher_logits' in cfg.model:
        cfg.model.teacher_logits = str(_write_logits(cfg, folder))
    # AdamW's moments are two thirds of a checkpoint, and nothing here resumes.
    cfg.default_hooks.checkpoint.save_optimizer = False


def _loaders(cfg: Config) -> dict[str, dict]:
    """Part -> loader; pre-training has no parts to evaluate."""
    loaders = {part: cfg.get(f'{part}_dataloader') for part in ('train', 'val', 'test')}
    return {part: loader for part, loader in loaders.items() if loader}


def _write_teacher(cfg: Config, folder: Path) -> Path:
    """An untrained teacher of a config's own architecture."""
    init_default_scope(cfg.default_scope)
    parts = {key: cfg.model[key] for key in ('backbone', 'neck', 'head')}
    teacher = MODELS.build(dict(type='ImageClassifier', **parts))
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(teacher.state_dict(), folder / 'teacher.pth')
    return folder / 'teacher.pth'


def _write_logits(cfg: Config, folder: Path) -> Path:
    """What a teacher might have answered to the training data."""
    init_default_scope(cfg.default_scope)
    samples = samples_of(DATASETS.build(cfg.train_dataloader.dataset))
    with LogitsWriter(folder / 'logits', samples, {}) as writer:
        random = np.random.default_rng(0)
        writer.append(random.normal(size=(samples.number, cfg.model.head.num_classes)))
        writer.finish()
    return folder / 'logits'


def _shrink_classification(cfg: Config, folder: Path) -> None:
    backbone = cfg.model.backbone
    if backbone.type in ARCHS and backbone.type != 'mmspike.MetaSpikformer':
        # Blocks that are all alike: one does for a step. Another test builds the whole.
        _use_few_blocks(backbone)
    # A first step of the real length: warm-ups begin with one too small to see.
    for scheduler in cfg.param_scheduler:
        if 'start_factor' in scheduler:
            scheduler.start_factor = 1.0
    # Weights to begin with are not in the repository either.
    cfg.model.backbone.pop('init_cfg', None)
    make_imagenet(folder / 'imagenet')
    for part, loader in _loaders(cfg).items():
        dataset = loader.dataset
        if dataset.type == 'ImageNet':
            split = 'train' if part == 'train' else 'val'
            dataset.update(data_root=str(folder / 'imagenet'), ann_file=f'{split}.txt')
        elif dataset.type.startswith('CIFAR'):
            make_cifar(folder / 'cifar', dataset.type)
            dataset.data_root = str(folder / 'cifar')
        elif dataset.type in EVENT_DATASETS:
            make_event_dataset(dataset.type, folder / 'events')
            dataset.data_root = str(folder / 'events')
            dataset.indices = 4
            # Frames of 128x128 at every step are much to see for a test.
            dataset.pipeline.insert(-1, dict(type='Resize', scale=32))
        elif dataset.type == 'mmspike.EventDigits':
            dataset.update(data_root=str(folder / 'events'), camera=dict(saccade=10_000), indices=4)
        else:
            dataset.indices = 4
        for transform in dataset.pipeline:
            for key, value in transform.items():
                if isinstance(value, int) and value in _SIZES:
                    transform[key] = _SIZES[value]


def small_config(path: Path, folder: Path, **options) -> Config:
    """A config of the repository, shrunk and adapted to this machine."""
    cfg = load_config(path, options, str(folder / 'work'))
    # A run writes its config down eight times; a tidy layout would take most of a test's time.
    object.__setattr__(cfg, '_format_python_code', False)
    shrink(cfg, folder)
    adapt_to_devices(cfg, 'none')
    return cfg
