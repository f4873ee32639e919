"""Weights with the names and shapes of published files, made from the lists of the reference."""

import json
import re
from fractions import Fraction

import torch
from torch import Tensor

from mmspike.metafiles import WeightsFile, weights_files
from support.reference_cases import DATA

Rows = dict[str, tuple[int, ...]]
# Tensors of which a neuron wants to see the value when they are loaded.
_SEEN = re.compile(r'\.up$')


def published_files() -> list[WeightsFile]:
    """The files of the metafiles that have a converter."""
    return [one for one in weights_files() if one.converter]


def weights_like(file: WeightsFile, device: str = 'meta') -> dict[str, Tensor]:
    """Weights with the names and shapes of a file. The meta device holds no values."""
    return {
        name: torch.ones(shape, device='cpu' if _SEEN.search(name) else device)
        for name, shape in rows_of(file).items()
    }


def rows_of(file: WeightsFile) -> Rows:
    """Name -> shape of every tensor of a file."""
    for pattern, rows in _ROWS.items():
        if re.fullmatch(pattern, file.content):
            return rows(file.content)
    raise KeyError(f'{file.content}: say in support/published_files.py what is in the file')


def _reference(name: str) -> dict:
    return json.loads((DATA / f'{name}.json').read_text())


def _listed(rows: list) -> Rows:
    return {row[0]: tuple(row[1]) for row in rows}


def _sdtv3(content: str) -> Rows:
    size = {'5.1M': 's', '10M': 'm', '19M': 'l'}[content.removeprefix('SDT v3, ')]
    return _listed(_reference(f'sdtv3_base_{size}')['state_dict'])


def _har_dvs(content: str) -> Rows:
    counts = _reference('sdtv3_hardvs_counts')['variants']
    return _listed(counts['19M (300 classes)']['state_dict'])


def _sdt(content: str) -> Rows:
    """A size of SDT from the small reference network: wider everywhere, deeper."""
    depth, width = map(int, re.search(r'(\d+)-(\d+)', content).groups())
    case = _reference('sdt_v1_imagenet')
    small = case['constructor']
    factor, rest = divmod(width, small['embed_dims'])
    assert not rest

    def wider(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        if 'talking_heads.' in name:  # a convolution over the heads
            return shape
        fixed = {small['in_channels']: small['in_channels'], small['num_classes']: 1000}
        return (*(fixed.get(size, size * factor) for size in shape[:2]), *shape[2:])

    rows = {name: wider(name, shape) for name, shape in _listed(case['state_dict']).items()}
    return _deeper(rows, 'block', depth)


def _deeper(rows: Rows, stage: str, depth: int) -> Rows:
    """A network with as many blocks in a stage, all like its first one."""
    deeper = {}
    for name, shape in rows.items():
        block = re.match(rf'{stage}\.(\d+)\.', name)
        if block is None:
            deeper[name] = shape
        elif block[1] == '0':
            rest = name.removeprefix(block[0])
            deeper.update({f'{stage}.{i}.{rest}': shape for i in range(depth)})
    return deeper


def _pyramid(case: str, widths: tuple[int, ...]) -> Rows:
    """A pyramid with widths of its stages, from a small one of the reference."""
    case = _reference(case)
    c1, *_ = small = case['constructor']['embed_dim']
    small = (c1 // 2, *small)
    stages = {'1_1': 0, '1_2': 1, 'mple2': 2, 'lock2': 2, 'mple3': 3, 'lock3': 3}

    def wider(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        if name.startswith('head'):
            return (1000, *(widths[-1] for _ in shape[1:]))
        stage = next((i for text, i in stages.items() if text in name.split('.')[0]), 4)

        def channels(size: int) -> int:
            """Of this stage, or as a down-sampling layer receives them."""
            factor = Fraction(size, small[stage])
            if factor >= 1:
                return int(factor * widths[stage])
            return widths[stage - 1] if stage and size == small[stage - 1] else size

        return (*map(channels, shape[:2]), *shape[2:])

    return {name: wider(name, shape) for name, shape in _listed(case['state_dict']).items()}


def _sdtv2(content: str) -> Rows:
    size = content.split(', ')[1]
    widths = {
        '15M': (32, 64, 128, 256, 360),
        '31M': (48, 96, 192, 384, 480),
        '55M': (64, 128, 256, 512, 640),
    }
    rows = _pyramid('meta_spikeformer_v2', widths[size])
    without = () if 'distilled' in content else ('head_kd.',)
    return {name: shape for name, shape in rows.items() if not name.startswith(without)}


def _sdtv3_large(content: str) -> Rows:
    if '171M' in content:
        return _deeper(_pyramid('sdtv3_spikformer_large', (98, 196, 384, 768)), 'block3', 12)
    rows = _pyramid('sdtv3_spikformer_base_patched', (64, 128, 256, 512))
    # The first layer of this chain is 1.5 times as wide in the published file as in the code:
    # https://github.com/BICLab/Spike-Driven-Transformer-V3/issues/9
    for name, shape in rows.items():
        if '.rep_conv.conv1.' in name and shape:
            rows[name] = (768, *shape[1:])
        elif name.endswith('.rep_conv.conv2.0.weight'):
            rows[name] = (shape[0], 768, *shape[2:])
    return _deeper(rows, 'block3', 12)


def _mst(content: str) -> Rows:
    """MST; without norms in its MLPs for CIFAR."""
    classes = {'ImageNet': 1000, 'CIFAR-10': 10, 'CIFAR-100': 100}[content.split(', ')[1]]
    rows = _listed(_reference('mst_counts')['state_dict'])
    return {
        name: (classes, *shape[1:]) if name.startswith('head.') else shape
        for name, shape in rows.items()
        if classes == 1000 or '.mlp.norm' not in name
    }


def _dense(content: str) -> Rows:
    """The small network of the reference: names like those of any size, but other shapes."""
    version, network = re.fullmatch(r'SDT (v\d), (.*) \d+M', content).groups()
    detectors = _listed(_reference('sdtv3_det_trainq')['state_dict'])
    if version == 'v3':
        return detectors if network == 'Mask R-CNN' else _listed(
            _reference('sdtv3_seg_fpn')['state_dict']
        )  # fmt: skip
    if network == 'semantic FPN':
        return _listed(_reference('meta_spikeformer_v2_seg')['state_dict'])
    # The reference case has no regions; their heads are those of v3.
    regions = {name: shape for name, shape in detectors.items() if name.startswith('roi_head.')}
    return {**_listed(_reference('meta_spikeformer_v2_det')['state_dict']), **regions}


_ROWS = {
    r'SDT v\d, (Mask R-CNN|semantic FPN) .*': _dense,
    r'SDT v2, .*': _sdtv2,
    r'SDT v3, [\d.]+M': _sdtv3,
    r'SDT v3, HAR-DVS': _har_dvs,
    r'SDT v3 large, .*': _sdtv3_large,
    r'SDT \d+-\d+, ImageNet': _sdt,
    r'MST, .*': _mst,
}
