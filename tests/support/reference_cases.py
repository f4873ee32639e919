"""The reference cases of tests/data/reference: weights, inputs, and the reference's numbers."""

import json
import math
import re
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from support.paths import ROOT

DATA = ROOT / 'tests/data/reference'
# In a case's json: the first step that its run in float64 answers otherwise.
FIRST_FLIP = 'float64_rerun_first_step_off_by_over_1e-4'

# At the end of the seed text of an input that is drawn from [0, 1).
UNIFORM = ' (uniform)'


def cases(family: str = '') -> list[str]:
    """Names of the cases that begin so; see :data:`support.parity.FAMILIES`."""
    return sorted(file.stem for file in DATA.glob(f'{family}*.npz'))


def seeded(text: str) -> np.random.Generator:
    """The generator that belongs to a seed text: PCG64 seeded with the text's CRC-32."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(text.encode())))


def normal(text: str, shape: list[int]) -> Tensor:
    """The input or cotangent that belongs to a seed text."""
    return torch.from_numpy(np.asarray(seeded(text).standard_normal(shape), np.float32))


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

    def inputs(self) -> list[Tensor]:
        """What the reference was called with, the image first."""
        return [self.input(name) for name in self.meta['inputs']]

    def input(self, name: str = 'input') -> Tensor:
        """One of the inputs."""
        spec = self.meta['inputs'][name]
        text = spec['seed_text'].removesuffix(UNIFORM)
        x = normal(text, spec['shape'])
        if spec['seed_text'].endswith(UNIFORM):
            x = torch.from_numpy(seeded(text).random(spec['shape']).astype(np.float32))
        if name in self.numbers:
            np.testing.assert_array_equal(x.numpy(), self.numbers[name])
        return x

    def quantities(self) -> dict[str, np.ndarray]:
        """All numbers to compare with, by the names that docs/parity.md has for them."""
        quantities = {}
        for output in self.meta['outputs']:
            stored, _ = self.expected(output)
            quantities.update(self.spans(output, stored))
        quantities.update(
            (key, value) for key, value in self.numbers.items() if key.startswith('bn_after/')
        )
        if 'backward' in self.meta:
            quantities['gradient of the input'], _ = self.input_gradient()
            for name, stored in self.parameter_gradients().items():
                quantities[f'gradient of {name}'] = stored
            quantities['sums over all gradients'] = self.numbers['grad_all_abssum']
        return quantities

    def expected(self, output: str) -> tuple[np.ndarray, tuple[slice, ...]]:
        """The stored part of an output and the slices that cut it out of the whole."""
        stored = self.meta['outputs'][output]['stored']
        if stored == 'full':
            return self.numbers[f'output/{output}'], ()
        cut = tuple(slice(*map(int, part.split(':'))) for part in stored.split()[1].split(','))
        return self.numbers[f'output/{output}_crop'], cut

    def spans(self, output: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """An output as one quantity, or as two: up to the first flipped spike, and whole.

        Behind the first spike that rounding flips, the reference differs from its own run in
        float64.
        """
        first = self.meta.get('reproducibility', {}).get(FIRST_FLIP)
        if first is None or len(values) <= first:
            return {output: values}
        return {
            f'{output}, steps 0 to {first - 1}': values[:first],
            f'{output}, all steps': values,
        }

    def input_gradient(self) -> tuple[np.ndarray, int]:
        """The stored gradient of the image, and the step between its stored rows and columns."""
        stored = {re.fullmatch(r'grad_input(?:_every(\d+)\w+)?', key): key for key in self.numbers}
        match, key = next((match, key) for match, key in stored.items() if match)
        return self.numbers[key], int(match[1] or 1)

    def parameter_gradients(self) -> dict[str, np.ndarray]:
        """Stored gradients by the reference's names, flat; some are the first numbers only."""
        return {
            key.removeprefix('grad/'): value.flatten()
            for key, value in self.numbers.items()
            if key.startswith('grad/')
        }


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
