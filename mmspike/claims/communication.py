"""What travels between the layers of a model, and which of its operations are no additions."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from mmspike.claims.claim import BROKEN, HOLDS, NOT_SHOWN, Claim, Place
from mmspike.claims.flow import Flow
from mmspike.claims.subject import Subject
from mmspike.claims.traces import MODEL
from mmspike.claims.values import REAL, SILENT, Values, joined, values_of
from mmspike.execution.operators import MULTIPLYING, OperatorWatcher, running_layer
from mmspike.layers.rep_conv import RepConv, fold_rep_convs
from mmspike.wording import some_of

SPIKES, ADDITIONS = 'spikes between layers', 'additions only'
# Operators that no chip of accumulators has, by the names that they have in words.
NO_ADDITIONS = {
    '_softmax': 'softmax',
    '_log_softmax': 'softmax',
    '_safe_softmax': 'softmax',
    'native_layer_norm': 'layer norm',
    'native_group_norm': 'group norm',
    **dict.fromkeys(('exp', 'log', 'sqrt', 'rsqrt', 'pow', 'reciprocal', 'erf'), 'function'),
    **dict.fromkeys(
        ('gelu', 'silu', 'sigmoid', 'tanh', 'mish', 'elu', 'softplus', 'hardswish', 'hardsigmoid'),
        'activation of real numbers',
    ),
}
_COMPARING = {
    **dict.fromkeys(
        (
            'relu',
            'relu_',
            'hardtanh',
            'leaky_relu',
            '_prelu_kernel',
            'abs',
            'clamp',
            'clamp_min',
            'clamp_max',
            'maximum',
            'minimum',
        ),
        'activation of real numbers',
    ),
    'max_pool2d_with_indices': 'max pool of real numbers',
}
_BATCH_NORMS = frozenset(
    ('native_batch_norm', '_native_batch_norm_legit_no_training', 'cudnn_batch_norm')
)
# A norm behind them is still behind the layer before: they move numbers, or add them.
_LINEAR = frozenset(
    ('view', '_unsafe_view', 'reshape', 'permute', 'transpose', 't', 'squeeze', 'unsqueeze',
     'expand', 'slice', 'select', 'clone', 'contiguous', '_reshape_alias', 'alias', 'detach',
     'split', 'unbind', 'cat', 'stack', 'constant_pad_nd', 'add', 'add_', 'sub', 'sub_', 'mean',
     'sum', 'avg_pool2d', '_adaptive_avg_pool2d', 'upsample_nearest2d', 'upsample_bilinear2d')
)  # fmt: skip
_PRODUCTS = frozenset(('mul', 'mul_'))
_QUOTIENTS = frozenset(('div', 'div_'))


@dataclass
class LayerInputs:
    """What one layer, or one product of a module, was given.

    Attributes:
        layer: Name of the module.
        runs: Numbers of its operations.
        product: Whether both sides are activations.
        sides: What each side was.
    """

    layer: str
    runs: list[int]
    product: bool
    sides: list[Values | None]

    @property
    def taken(self) -> Values:
        """The side that decides: spikes, if one side is spikes."""
        known = [side for side in self.sides if side is not None]
        spikes = [side for side in known if side.spikes]
        return (spikes or known or [Values(REAL)])[0]


@dataclass
class Communication:
    """All that one run showed.

    Attributes:
        layers: Layers with weights and products, by module and kind.
        others: Operations that are no additions: their number, in which module, and which.
        flow: Where all these stand among the neurons.
    """

    layers: dict[tuple[str, str], LayerInputs] = field(default_factory=dict)
    others: list[tuple[int, str, str]] = field(default_factory=list)
    flow: Flow = field(default_factory=Flow)


class _Watcher(OperatorWatcher):
    def __init__(self, model: nn.Module, layer: Callable[[], str], neurons: set[str]) -> None:
        super().__init__(model, layer)
        self.found = Communication()
        self._neurons = neurons
        self._chains = {name for name, m in model.named_modules() if isinstance(m, RepConv)}
        self._sums = WeakIdKeyDictionary()
        self._fires = False
        self._operation: int | None = None

    def _inside(self, layer: str) -> bool:
        """Whether a layer of neurons is running; then this is no part of the network."""
        self._operation = None
        self._fires = _within(layer, self._neurons)
        return self._fires

    def multiplies(self, layer: str, operator: str, factors: list[Tensor]) -> None:
        if self._inside(layer):
            return
        activations = [x for x in factors if not self.is_weight(x)]
        self._operation = self.found.flow.operation()
        if not MULTIPLYING[operator]:  # an attention in one operator
            self.found.others.append((self._operation, layer or MODEL, 'softmax'))
        product = len(activations) != 1
        key = (layer or MODEL, 'product' if product else 'layer')
        sides = [values_of(x) for x in activations]
        seen = self.found.layers.get(key)
        if seen is None:
            self.found.layers[key] = LayerInputs(key[0], [self._operation], product, list(sides))
        else:
            seen.runs.append(self._operation)
            seen.sides = [joined(a, b) for a, b in zip(seen.sides, sides, strict=False)]

    def other(self, layer: str, operator: str, args: tuple) -> None:
        if self._inside(layer):
            return
        what = self._no_addition(operator, args)
        if what is not None:
            self._operation = self.found.flow.operation()
            self.found.others.append((self._operation, layer or MODEL, what))

    def _no_addition(self, operator: str, args: tuple) -> str | None:
        x = args[0] if args else None
        if not isinstance(x, Tensor) or not x.is_floating_point():
            return None
        if operator in NO_ADDITIONS:
            return NO_ADDITIONS[operator]
        if operator in _BATCH_NORMS:
            return None if x in self._sums else 'norm that stands behind no layer'
        if operator in _COMPARING:
            takes_every_second = operator.startswith('max_pool') and max(args[1]) == 1
            return None if takes_every_second or values_of(x).spikes else _COMPARING[operator]
        if operator in _PRODUCTS | _QUOTIENTS:
            sides = self._activations(args)
            if operator in _QUOTIENTS:
                divided = isinstance(args[1], Tensor) and any(args[1] is y for y in sides)
                return 'quotient of real numbers' if divided else None
            if len(sides) == 2 and not any(values_of(y).spikes for y in sides):
                return 'product of real numbers'
        return None

    def made(self, operator: str, args: tuple, out: Any) -> None:
        sum_of_weights = operator in ('convolution', 'addmm', 'mm', 'bmm', 'mkldnn_convolution')
        linear = operator in _LINEAR or (
            operator in _PRODUCTS | _QUOTIENTS and len(self._activations(args)) == 1
        )
        moved = linear and any(isinstance(x, Tensor) and x in self._sums for x in tree_leaves(args))
        if sum_of_weights or moved:
            for x in tree_leaves(out):
                if isinstance(x, Tensor):
                    self._sums[x] = True
        if self._fires:
            self.found.flow.fired(args, out)
        else:
            self.found.flow.made(args, out, self._operation)

    def _activations(self, args: tuple) -> list[Tensor]:
        """The factors of a product that are neither weights nor single numbers."""
        sides = [y for y in args[:2] if isinstance(y, Tensor) and y.numel() > 1]
        return [y for y in sides if not self.is_weight(y)]


def _within(layer: str, modules: set[str]) -> bool:
    return any(layer == name or layer.startswith(f'{name}.') for name in modules)


def listen(subject: Subject, neurons: set[str]) -> Communication:
    """Run a model and look at the inputs of all its layers.

    Chains of convolutions that one convolution replaces (:class:`~mmspike.layers.RepConv`) are
    replaced first.
    """
    model = subject.fresh()
    if not isinstance(model, RepConv):
        fold_rep_convs(model)
    with torch.no_grad(), running_layer(model) as layer, _Watcher(model, layer, neurons) as watcher:
        subject.run(model, subject.inputs)
    return watcher.found


def check_spikes(found: Communication) -> Claim:
    """Binary or integer communication: layers with weights take spikes, and products one side."""
    layers = list(found.layers.values())
    if not layers:
        return Claim(SPIKES, NOT_SHOWN, 'nothing was multiplied')
    real = [one for one in layers if not one.taken.spikes]
    if not found.flow.neurons and any(_takes_spikes(one) for one in layers[1:]):
        number = sum(map(_takes_spikes, layers))
        why = f'no module fires, but {number} of {len(layers)} layers take spikes'
        return Claim(SPIKES, NOT_SHOWN, f'{why}: put what fires into modules')
    if not found.flow.neurons:
        return Claim(
            SPIKES,
            BROKEN,
            f'no neurons: {len(real)} of {len(layers)} layers take real numbers',
            tuple(Place(one.layer) for one in real),
        )
    inside = [one for one in real if found.flow.between_neurons(one.runs)]
    spiking = [one for one in layers if one.taken.spikes]
    kinds = Counter(
        'nothing but 0' if one.taken.kind == SILENT else str(one.taken) for one in spiking
    )
    parts = [f'{len(spiking)} of {len(layers)} layers take spikes']
    if kinds:
        parts[0] += f' ({", ".join(f"{kind}: {n}" for kind, n in kinds.most_common(4))})'
    first = [one.layer for one in real if not found.flow.behind_neurons(one.runs)]
    outer = {*first, *(one.layer for one in inside)}
    last = [one.layer for one in real if one.layer not in outer]
    if first:
        parts.append(f'real numbers before the first neurons: {some_of(first, 3)}')
    if last:
        parts.append(f'behind the last ones: {some_of(last, 3)}')
    if inside:
        parts.append(f'in between: {some_of([one.layer for one in inside], 3)}')
    places = tuple(Place(one.layer) for one in inside)
    return Claim(SPIKES, BROKEN if inside else HOLDS, '; '.join(parts), places)


def _takes_spikes(layer: LayerInputs) -> bool:
    return layer.taken.spikes and layer.taken.kind != SILENT


def check_additions(found: Communication) -> Claim:
    """Which operations between the first and the last neurons are no additions of spikes."""
    relevant = found.others
    if found.flow.neurons:
        relevant = [one for one in found.others if found.flow.between_neurons([one[0]])]
    if not relevant and not found.flow.neurons:
        return Claim(ADDITIONS, NOT_SHOWN, 'the model has no neurons')
    if not relevant:
        return Claim(ADDITIONS, HOLDS, 'no softmax, no norm of its own, no product of real numbers')
    numbers = Counter(what for _, _, what in relevant)
    layers = dict.fromkeys(layer for _, layer, _ in relevant)
    finding = ', '.join(f'{n} x {what}' for what, n in numbers.most_common())
    return Claim(ADDITIONS, BROKEN, finding, tuple(map(Place, layers)))
