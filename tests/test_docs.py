"""What the documentation shows works."""

import ast
import importlib
import inspect
import json
import re
import shutil
import subprocess
from functools import cache

import cv2
import numpy as np
import pytest
import torch
from mmengine import registry
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData

from mmspike.metafiles import weights_named
from mmspike.neurons import BaseNeuron
from support.docs_terminal import Terminal, blocks, inline_commands, make_clone, script
from support.paths import ROOT
from support.published_files import weights_like
from support.reference_cases import Case

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
ALL_PAGES = [*PAGES, *sorted((ROOT / 'configs').rglob('README.md'))]
WITH_COMMANDS = [
    page
    for page in ALL_PAGES
    if inline_commands(page) or any(block.language for block in blocks(page))
]


def page_id(page):
    return page.relative_to(ROOT).as_posix()


def snippets(path):
    return re.findall(r'^```python\n(.*?)^```', path.read_text(), flags=re.DOTALL | re.MULTILINE)


def batch_of(host):
    """Two images with annotations, as the host's pipelines pack them."""
    inputs = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    if host == 'mmpretrain':
        from mmpretrain.structures import DataSample

        samples = [DataSample().set_gt_label(i) for i in range(2)]
    elif host == 'mmdet':
        from mmdet.structures import DetDataSample

        boxes = InstanceData(
            bboxes=torch.tensor([[8.0, 8.0, 40.0, 40.0]]), labels=torch.tensor([3])
        )
        samples = [DetDataSample(gt_instances=boxes) for _ in range(2)]
    else:
        from mmseg.structures import SegDataSample

        maps = PixelData(data=torch.randint(0, 150, (1, 64, 64)))
        samples = [SegDataSample(gt_sem_seg=maps) for _ in range(2)]
    for sample in samples:
        sample.set_metainfo(
            dict(
                img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1.0, 1.0), pad_shape=(64, 64)
            )
        )
    return dict(inputs=inputs, data_samples=samples)


@pytest.mark.slow
@pytest.mark.parametrize('host', ['mmpretrain', 'mmdet', 'mmseg'])
def test_configs_of_the_readme_build_and_run(host):
    (code,) = (s for s in snippets(ROOT / 'README.md') if s.startswith(f'# {host}\n'))
    scope = {}
    exec(code, {}, scope)
    init_default_scope(host)
    model = importlib.import_module(f'{host}.registry').MODELS.build(Config(scope).model)
    assert any(isinstance(module, BaseNeuron) for module in model.modules())
    data = model.data_preprocessor(batch_of(host), training=True)
    losses = model(**data, mode='loss')
    model.parse_losses(losses)[0].backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None]
    assert not unused
    model.eval()
    with torch.no_grad():
        data = model.data_preprocessor(batch_of(host), training=False)
        assert len(model(**data, mode='predict')) == 2


# What `make demo` leaves, and the published files that a page assumes: made when a page names them.
CLS = 'metaspikformer-digits-sfa-t1d4_1xb32-coslr-15e_digits'
DET = 'mask-rcnn_metaspikformer-digits-sfa-t1d4_fpn_1xb4-4e_digit-scenes'
SEG = 'semantic-fpn_metaspikformer-digits-sfa-t1d4_1xb8-1500_digit-scenes'
MST = 'mst-digits-qcfs32-t1_1xb32-coslr-25e_digits'
SCENES = 'python tools/dataset_converters/digit_scenes.py --out data/digit_scenes'
CLASSIFIER = 'checkpoints/metaspikformer-digits-sfa-t1d4.pth'
DEMO = {
    CLASSIFIER: f"""
        python tools/train.py configs/classification/metaspikformer/{CLS}.py \\
            --work-dir work_dirs/demo/{CLS}
        cp work_dirs/demo/{CLS}/epoch_15.pth {CLASSIFIER}
    """,
    'checkpoints/mst-digits-qcfs32-t1.pth': f"""
        python tools/train.py configs/classification/mst/{MST}.py --work-dir work_dirs/demo/{MST}
        cp work_dirs/demo/{MST}/epoch_25.pth checkpoints/mst-digits-qcfs32-t1.pth
    """,
    DET: f"""
        {SCENES}
        python tools/train.py configs/detection/digit-scenes/{DET}.py \\
            --work-dir work_dirs/demo/{DET}
    """,
    SEG: f"""
        {SCENES}
        python tools/train.py configs/segmentation/digit-scenes/{SEG}.py \\
            --work-dir work_dirs/demo/{SEG}
    """,
}
PUBLISHED = {
    'V3_5.1M_1x4.pth': ('sdtv3_base_s', 'model'),
    'V3_19.0M_1x4.pth': ('sdtv3_base_t_train', 'model'),
    '83M-1x4_83_6.pth': ('sdtv3_spikformer_base_patched', 'model'),
    'model_best.pth.tar': ('sdt_v1_imagenet', 'state_dict'),
    'imagenet_checkpoint.pth': ('mst_qcfs_imagenet_w4', 'model'),
}
# This one has all its widths, for a command that recognises it.
OF_TRUE_SIZE = 'V3_10.0M_1x4.pth'


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    """Makes what the demo leaves, each part once; returns the folder that it lies in."""
    folder = tmp_path_factory.mktemp('demo')
    terminal = Terminal(make_clone(folder / 'clone'), folder)

    @cache
    def make(part):
        terminal.run(f'export DOCS_MODE=run; mkdir -p checkpoints; {DEMO[part]}')

    def run(parts):
        for part in parts:
            make(part)
        return terminal.clone

    return run


def prepare(page, clone, demo):
    """Put into the clone what a page assumes.

    Keys of published files are those that their authors use, the widths those of the reference
    cases.
    """
    text = page.read_text()
    for name, (case, key) in PUBLISHED.items():
        if name in text:  # with the keys of the published one
            torch.save({key: Case.load(case).weights()}, clone / name)
    if OF_TRUE_SIZE in text:
        weights = weights_like(weights_named(OF_TRUE_SIZE), device='cpu')
        torch.save(dict(model=weights), clone / OF_TRUE_SIZE)
    if 'data/fruit' in text:
        make_own_data(clone / 'data')
    if page.name == 'weights.md':  # it makes them by itself
        return
    parts = [part for part in DEMO if part.startswith('checkpoints') and part in text]
    if 'work_dirs/demo' in text:
        parts += [CLASSIFIER, *(part for part in (DET, SEG) if part in text)]
    elif 'digit-scenes/' in text:
        parts.append(CLASSIFIER)
    made = demo(dict.fromkeys(sorted(parts)))
    for folder in ('checkpoints', 'work_dirs', 'data'):
        if parts and (made / folder).exists():
            shutil.copytree(made / folder, clone / folder, dirs_exist_ok=True)


def make_own_data(folder):
    """A few noise images in each of the three formats of `docs/own_data.md`."""
    random = np.random.default_rng(0)

    def image(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), random.integers(0, 256, (80, 100, 3), dtype=np.uint8))

    for split in ('train', 'val'):
        coco = dict(images=[], annotations=[], categories=[])
        coco['categories'] = [dict(id=7, name='apple'), dict(id=9, name='pear')]
        for i in range(2):
            image(folder / f'fruit/images/{split}/{i}.jpg')
            coco['images'].append(dict(id=i, file_name=f'{i}.jpg', height=80, width=100))
            coco['annotations'].append(
                dict(
                    id=i + 1,
                    image_id=i,
                    category_id=7 + 2 * i,
                    iscrowd=0,
                    area=1600,
                    bbox=[10, 10, 40, 40],
                    segmentation=[[10, 10, 50, 10, 50, 50, 10, 50]],
                )
            )
            for name in ('daisy', 'rose'):
                image(folder / f'flowers/{split}/{name}/{i}.jpg')
        path = folder / f'fruit/annotations/{split}.json'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(coco))
    for split in ('training', 'validation'):
        for i in range(2):
            image(folder / f'street/images/{split}/{i}.jpg')
            labels = np.repeat(np.array([0, 1, 2, 255], np.uint8), 20)[:, None] * np.ones(100)
            path = folder / f'street/annotations/{split}/{i}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), labels.astype(np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize('page', WITH_COMMANDS, ids=page_id)
def test_commands_of_a_page_run_in_order(page, tmp_path, demo):
    """From a clean clone, as the page has them; see `docs_terminal`."""
    clone = make_clone(tmp_path / 'clone')
    prepare(page, clone, demo)
    terminal = Terminal(clone, tmp_path)
    terminal.run(script(page, tmp_path))
    # Nothing went past the harness.
    written = ''.join(block.text for block in blocks(page) if block.language == 'bash')
    commands = re.findall(r'^(?:\w+=\S+ )*(?:python|make|pip|git|tools/)', written, re.MULTILINE)
    assert len(terminal.asked) >= len(commands)


@pytest.mark.parametrize('page', ALL_PAGES, ids=page_id)
def test_no_command_escapes(page):
    """Blocks are of a language that is run or marked, and every fragment names parts that exist."""
    for block in blocks(page):
        # tests/deploy/test_cpp.py runs the one program in C++.
        assert block.language in ('', 'bash', 'python', 'cpp'), (page, block.line)
        # A command in a block without language would not be run.
        if not block.language:
            commands = re.findall(
                r'^(?:\$ )?(?:python|make|pip|tools/\S+) ', block.text, re.MULTILINE
            )
            assert not commands, (page, block.line)
        if block.language == 'bash':
            subprocess.run(['bash', '-n', '-c', block.text], check=True)
        if block.language == 'python' and block.is_fragment:
            check_types(block.text)


def check_types(code):
    """Every `dict(type='mmspike.X', ...)` names a part of ours that takes the arguments."""
    for node in ast.walk(ast.parse(code)):
        if not (isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'dict'):
            continue
        keys = {keyword.arg: keyword.value for keyword in node.keywords}
        name = keys.pop('type', None)
        if isinstance(name, ast.Constant) and str(name.value).startswith('mmspike.'):
            found = [
                part
                for part in (getattr(registry, kind).get(name.value) for kind in KINDS)
                if part is not None
            ]
            assert found, name.value
            inspect.signature(found[0]).bind_partial(**dict.fromkeys(keys))


KINDS = ('MODELS', 'HOOKS', 'DATASETS', 'TRANSFORMS', 'METRICS')


@pytest.mark.parametrize('path', [*PAGES, ROOT / 'CONTRIBUTING.md'], ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r'\]\(([^)#]+)', path.read_text()):
        if not target.startswith('http'):
            assert (path.parent / target).exists(), target


def test_tools_named_in_the_docs_exist_and_take_the_arguments(run_tool):
    text = (ROOT / 'docs' / 'training.md').read_text()
    rows = re.findall(r'^\| `tools/(\S+?\.py)[^`]*` \| (.*) \|$', text, flags=re.MULTILINE)
    assert len(rows) >= 4
    for tool, arguments in rows:
        status, shown = run_tool(tool, '--help')
        assert status == 0
        for argument in re.findall(r'`(--[\w-]+)', arguments):
            assert argument in shown, (tool, argument)
