"""Runs our models on the reference cases of tests/data/reference and measures the differences."""

import json
import math
import re
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmspike.backbones import MetaSpikformer
from mmspike.converters import convert_dense, convert_sdtv3
from mmspike.heads.det import SpikeFCNMaskHead, SpikeRPNHead, SpikeShared2FCBBoxHead
from mmspike.heads.seg import SpikeFPNHead
from mmspike.layers import SpikeAttention
from mmspike.necks import SpikeFPN
from mmspike.neurons import SFA
from support.paths import ROOT

DATA = ROOT / 'tests/data/reference'
SDTV3_CASES = ('sdtv3_base_s', 'sdtv3_base_t_train')
DENSE_CASES = ('sdtv3_det_trainq', 'sdtv3_det_evalq', 'sdtv3_seg_fpn')


def seeded(text: str) -> np.random.Generator:
    """The generator that belongs to a seed text: PCG64 seeded with the text's CRC-32."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(text.encode())))


def normal(text: str, shape: list[int]) -> Tensor:
    return torch.from_numpy(seeded(text).standard_normal(shape).astype(np.float32))


def make_weight(name: str, shape: list[int], gain: float | list) -> Tensor:
    """The tensor that stands for a parameter or buffer of that name and shape."""
    random, last = seeded(name), name.rpartition('.')[2]
    if last == 'num_batches_tracked':
        return torch.zeros(shape, dtype=torch.int64)
    if last == 'running_var' or (last == 'weight' and len(shape) == 1) or 'layer_scale' in name:
        values = random.random(shape) + 0.5
    elif last == 'up':
        values = random.random(shape) + 1.0
    elif last in ('running_mean', 'bias'):
        values = random.standard_normal(shape) * 0.1
    else:
        if isinstance(gain, list):
            gain = next(value for text, value in gain if text in name)
        fan_in = math.prod(shape[1:]) if len(shape) > 1 else 1
        values = random.standard_normal(shape) * float(gain) / math.sqrt(fan_in)
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


@dataclass
class Case:
    """One reference case: its description and its numbers."""

    meta: dict
    numbers: dict[str, np.ndarray]

    @classmethod
    def load(cls, name: str) -> 'Case':
        meta = json.loads((DATA / f'{name}.json').read_text())
        return cls(meta, dict(np.load(DATA / f'{name}.npz')))

    def weights(self) -> dict[str, Tensor]:
        """The reference model's state dict, under its own names."""
        weights = {}
        for name, shape, _, check in self.meta['state_dict']:
            weights[name] = make_weight(name, shape, self.meta['gain'])
            if check != 'kept':
                total = weights[name].double().abs().sum().item()
                assert math.isclose(total, check, rel_tol=1e-7), name
        return weights

    def input(self, name: str = 'input') -> Tensor:
        spec = self.meta['inputs'][name]
        x = normal(spec['seed_text'], spec['shape'])
        if name in self.numbers:
            np.testing.assert_array_equal(x.numpy(), self.numbers[name])
        return x

    def expected(self, output: str) -> tuple[np.ndarray, tuple[slice, ...]]:
        """The stored part of an output and the slices that cut it out of the whole."""
        stored = self.meta['outputs'][output]['stored']
        if stored == 'full':
            return self.numbers[f'output/{output}'], ()
        cut = tuple(slice(*map(int, part.split(':'))) for part in stored.split()[1].split(','))
        return self.numbers[f'output/{output}_crop'], cut


class Sdtv3Classifier(nn.Module):
    """MetaSpikformer with the reference's classifier, loaded through the converter."""

    FEATURES = ('feat_stage1a', 'feat_stage1b', 'feat_stage2', 'feat_stage3', 'feat_stage4')

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.conversion = convert_sdtv3(case.weights())
        assert not self.conversion.missing
        assert not self.conversion.unexpected
        self.backbone = MetaSpikformer(self.conversion.arch, out_indices=(0, 1, 2, 3, 4))
        self.head = nn.ModuleDict(dict(neuron=SFA(D=4, norm=1)))
        weight = self.conversion.state_dict['head.fc.weight']
        self.head['fc'] = nn.Linear(weight.shape[1], weight.shape[0])
        self.load_state_dict(self.conversion.state_dict)
        self.train(case.meta['mode'] == 'train')

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        feats = self.backbone(x)
        spikes = self.head['neuron'](feats[-1].mean((2, 3)))
        named = dict(zip(self.FEATURES, feats, strict=True))
        return dict(named, pooled_spike=spikes, logits=self.head['fc'](spikes))


class Sdtv3Detector(nn.Module):
    """The parts of SDT v3's Mask R-CNN, loaded through the converter."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        options = case.meta['constructor']
        integers = dict(type='mmspike.SFA', D=4, norm=1)
        # In evaluation the reference's neck fires 0 or 1: not meant, but published.
        defect = dict(eval_D=1) if case.meta['case'] == 'sdtv3_det_evalq' else {}
        self.backbone = MetaSpikformer(
            dict(embed_dims=(12, *options['backbone']['embed_dim']), depths=(1, 1, 2, 6, 2),
                 num_heads=8, stem_stride=2),
            out_indices=(1, 2, 3, 4),
        )  # fmt: skip
        self.neck = SpikeFPN(neuron_cfg=dict(integers, **defect), **options['neck'])
        with DefaultScope.overwrite_default_scope('mmdet'):
            self.rpn_head = SpikeRPNHead(neuron_cfg=integers, **options['rpn_head'])
            bbox_head = SpikeShared2FCBBoxHead(neuron_cfg=integers, **options['bbox_head'])
            mask_head = SpikeFCNMaskHead(neuron_cfg=integers, **options['mask_head'])
        self.roi_head = nn.ModuleDict(dict(bbox_head=bbox_head, mask_head=mask_head))
        _load(self, case)

    def forward(self, x: Tensor, roi_bbox: Tensor, roi_mask: Tensor) -> dict[str, Tensor]:
        feats = self.backbone(x)
        levels = self.neck(feats)
        named = {f'backbone_{i}': feat for i, feat in enumerate(feats)}
        named.update({f'neck_{i}': level for i, level in enumerate(levels)})
        for i, level in enumerate(levels):
            named[f'rpn_cls_{i}'], named[f'rpn_reg_{i}'] = self.rpn_head.forward_single(level)
        bbox_head, mask_head = self.roi_head['bbox_head'], self.roi_head['mask_head']
        named['bbox_cls'], named['bbox_reg'] = bbox_head(roi_bbox.flatten(0, 1))
        named['mask_logits'] = mask_head(roi_mask.flatten(0, 1))
        return named


class Sdtv3Segmentor(nn.Module):
    """The parts of SDT v3's semantic FPN, loaded through the converter."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        options = case.meta['constructor']
        head = {key: value for key, value in options['decode_head'].items() if key != 'T'}
        neck = {key: value for key, value in options['neck'].items() if key != 'T'}
        quarters = dict(type='mmspike.SFA', D=4)
        self.backbone = MetaSpikformer(
            dict(embed_dims=(12, *options['backbone']['embed_dim']), depths=(1, 1, 2, 6, 2),
                 num_heads=8, stem_stride=2),
            out_indices=(0, 1, 2, 4), layer_scale_init_value=1e-6,
        )  # fmt: skip
        self.neck = SpikeFPN(neuron_cfg=quarters, norm_cfg=dict(type='BN'), **neck)
        loss = dict(type='mmseg.CrossEntropyLoss')
        self.decode_head = SpikeFPNHead(
            neuron_cfg=quarters, norm_cfg=dict(type='BN'), loss_decode=loss,
            **dict(head, dropout_ratio=0.0),
        )  # fmt: skip
        _load(self, case)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        feats = self.backbone(x)
        levels = self.neck(feats)
        named = {f'backbone_{i}': feat for i, feat in enumerate(feats)}
        named.update({f'neck_{i}': level for i, level in enumerate(levels)})
        return dict(named, logits=self.decode_head(levels))


def _load(model: nn.Module, case: Case) -> None:
    model.conversion = convert_dense(case.weights(), model)
    assert not model.conversion.missing
    assert not model.conversion.unexpected
    model.load_state_dict(model.conversion.state_dict)
    model.eval()
    # See docs/parity.md: the reference's gradients of a batch of one went through an error of
    # PyTorch's, which it takes this layout to repeat.
    for module in model.modules():
        if isinstance(module, SpikeAttention):
            for projection in (module.q, module.v):
                projection.bn.register_full_backward_pre_hook(_ambiguous_layout)


def _ambiguous_layout(norm: nn.Module, grads: tuple[Tensor]) -> tuple[Tensor]:
    """The gradient ``(1, C, H, W)`` in channels_last order, with a batch stride of C."""
    _, channels, _, width = grads[0].shape
    strides = (channels, 1, width * channels, channels)
    return (torch.empty_strided(grads[0].shape, strides).copy_(grads[0]),)


@dataclass
class Difference:
    """How far a quantity is from the reference."""

    quantity: str
    absolute: float
    relative: float

    @classmethod
    def of(cls, quantity: str, ours: np.ndarray, reference: np.ndarray) -> 'Difference':
        """Largest absolute difference; difference over the reference in the l2 norm."""
        ours, reference = (np.asarray(a, np.float64) for a in (ours, reference))
        assert ours.shape == reference.shape, quantity
        distance = np.linalg.norm(ours - reference)
        # A reference that is 0 throughout leaves no scale but its own: any distance counts whole.
        relative = distance / (np.linalg.norm(reference) or 1.0)
        return cls(quantity, np.abs(ours - reference).max(), relative)


def compare_sdtv3(name: str) -> list[Difference]:
    """Outputs, features, running statistics and gradients of a classifier's case."""
    case = Case.load(name)
    model = Sdtv3Classifier(case)
    x = case.input().requires_grad_()
    outputs = model(x)
    return compare_outputs(case, outputs) + compare_gradients(case, model, outputs, x)


def compare_dense(name: str) -> list[Difference]:
    """Outputs, features and gradients of a detector's or segmentor's case."""
    case = Case.load(name)
    x = case.input().requires_grad_()
    if name.startswith('sdtv3_det'):
        model = Sdtv3Detector(case)
        outputs = model(x, case.input('roi_bbox'), case.input('roi_mask'))
    else:
        model = Sdtv3Segmentor(case)
        outputs = model(x)
    rows = compare_outputs(case, outputs)
    if 'backward' in case.meta:
        rows += compare_gradients(case, model, outputs, x)
    return rows


def compare_outputs(case: Case, outputs: dict[str, Tensor]) -> list[Difference]:
    """All outputs that the reference stored."""
    rows = []
    assert set(outputs) == set(case.meta['outputs'])
    for output, value in outputs.items():
        reference, cut = case.expected(output)
        # The reference's detectors keep an axis for their single time step.
        value = value.detach().view(case.meta['outputs'][output]['shape'])
        rows.append(Difference.of(output, value.numpy()[cut], reference))
    return rows


def compare_gradients(
    case: Case, model: nn.Module, outputs: dict[str, Tensor], x: Tensor
) -> list[Difference]:
    """Running statistics after the forward pass, and gradients of input and parameters."""
    rows = []
    for key, reference in case.numbers.items():
        if key.startswith('bn_after/'):
            new = model.conversion.renamed[key.removeprefix('bn_after/')]
            rows.append(Difference.of(key, model.state_dict()[new].numpy(), reference))

    backward = case.meta['backward']
    output = outputs[backward['output']]
    shape = case.meta['outputs'][backward['output']]['shape']
    cotangent = normal(backward['cotangent_seed'], shape).view_as(output)
    (output * cotangent).sum().backward()
    key = next(key for key in ('grad_input', *case.numbers) if key in case.numbers
               and re.fullmatch(r'grad_input(_every\d+\w+)?', key))  # fmt: skip
    step = int(''.join(filter(str.isdigit, key)) or 1)
    grad = x.grad[..., ::step, ::step].numpy()
    rows.append(Difference.of('gradient of the input', grad, case.numbers[key]))
    parameters = dict(model.named_parameters())
    gradients = {old: parameters[new].grad for old, new in model.conversion.renamed.items()
                 if new in parameters and parameters[new].grad is not None}  # fmt: skip
    for key, reference in case.numbers.items():
        if key.startswith('grad/'):
            old = key.removeprefix('grad/')
            ours = gradients[old].flatten()[: reference.size].numpy()
            rows.append(Difference.of(f'gradient of {old}', ours, reference.flatten()))
    names = case.numbers['grad_all_names'].tolist()
    assert set(names) == set(gradients)
    sums = np.array([gradients[name].double().abs().sum().item() for name in names])
    rows.append(Difference.of('sums over all gradients', sums, case.numbers['grad_all_abssum']))
    return rows
