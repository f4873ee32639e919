"""Runs our models on the reference cases of tests/data/reference and measures the differences.

``python tests/reference_cases.py`` prints the table of all cases.
"""

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mmspike.backbones import MetaSpikformer
from mmspike.conversion import convert_sdtv3
from mmspike.neurons import SFA

DATA = Path(__file__).parent / 'data' / 'reference'
SDTV3_CASES = ('sdtv3_base_s', 'sdtv3_base_t_train')


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

    def input(self) -> Tensor:
        spec = self.meta['inputs']['input']
        x = normal(spec['seed_text'], spec['shape'])
        if 'input' in self.numbers:
            np.testing.assert_array_equal(x.numpy(), self.numbers['input'])
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
    """Outputs, features and gradients of one case."""
    case = Case.load(name)
    model = Sdtv3Classifier(case)
    x = case.input().requires_grad_()
    outputs = model(x)
    rows = []
    for output, value in outputs.items():
        reference, cut = case.expected(output)
        rows.append(Difference.of(output, value.detach().numpy()[cut], reference))
    for key, reference in case.numbers.items():
        if key.startswith('bn_after/'):
            new = model.conversion.renamed[key.removeprefix('bn_after/')]
            rows.append(Difference.of(key, model.state_dict()[new].numpy(), reference))

    cotangent = normal(case.meta['backward']['cotangent_seed'], list(outputs['logits'].shape))
    (outputs['logits'] * cotangent).sum().backward()
    key = next(key for key in case.numbers if key.startswith('grad_input_every'))
    step = int(''.join(filter(str.isdigit, key)))
    grad = x.grad[..., ::step, ::step].numpy()
    rows.append(Difference.of('gradient of the input', grad, case.numbers[key]))
    parameters = dict(model.named_parameters())
    gradients = {old: parameters[new].grad for old, new in model.conversion.renamed.items()
                 if new in parameters}  # fmt: skip
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


if __name__ == '__main__':
    print('| case | quantity | largest absolute difference | relative (l2) difference |')
    print('|---|---|--:|--:|')
    for case_name in SDTV3_CASES:
        for row in compare_sdtv3(case_name):
            print(f'| {case_name} | {row.quantity} | {row.absolute:.1e} | {row.relative:.1e} |')
