"""What SDT's published energies imply: FLOPs per part, the first layer, a mean firing rate.

    python benchmarks/sdt_energy.py            # all sizes
    python benchmarks/sdt_energy.py 8-512 --layers
    python benchmarks/sdt_energy.py 8-768 --image 288

The papers' formula is ``4.6 pJ x FLOPs`` for the first convolution, which sees the image, and
``0.9 pJ x T x rate x FLOPs`` for every other layer, where an attention's masks and sum have
``tokens x channels`` FLOPs and the sum of the rates of q, k and v. The rates behind the published
sums are not published, so that this says what they have to be on average, and no more.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from mmspike.backbones import SDT
from mmspike.energy import EnergyCounter, EnergyReport, LayerEnergy, get_costs
from mmspike.neurons import LIF

TIMESTEPS = 4
# size -> published mJ
PUBLISHED = {'8-384': 3.90, '6-512': 3.56, '8-512': 4.50, '10-512': 5.53, '8-768': 6.09}


class Classifier(torch.nn.Module):
    """SDT as published, with its classifier for 1000 classes; one time step is enough for FLOPs."""

    def __init__(self, size: str) -> None:
        super().__init__()
        self.backbone = SDT(size, timesteps=1)
        self.neuron = LIF()
        self.fc = torch.nn.Linear(self.backbone.out_channels[-1], 1000)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """``(B, 3, H, W)`` to ``(B, 1000)``."""
        return self.fc(self.neuron(self.backbone(image)[-1].mean((2, 3))))


# Rates of 8-768 per neuron and time step that a reader of the paper measured on one image of
# ImageNet, the mean of four steps, by the layer that takes the spikes (issue 25 of the authors'
# repository). Between the neurons and the first three stands a max pool.
MEASURED = {
    'backbone.stages.1.conv.conv': 0.1249,
    'backbone.stages.2.conv.conv': 0.0525,
    'backbone.stages.3.conv.conv': 0.0362,
    'backbone.stages.4.conv.conv': 0.1388,
}


def print_measured(rows: Iterable[LayerEnergy]) -> None:
    """What the measured rates say by the published formula, and what they leave for the rest."""
    flops = {row.name: row.flops for row in rows}
    pj = get_costs().ac_pj * TIMESTEPS
    print(
        '| 8-768, layer | MMACs of a step | measured rate | mJ by the formula |\n|---|--:|--:|--:|'
    )
    known = 0.0
    for name, rate in MEASURED.items():
        energy = rate * flops[name] * pj / 1e9
        known += energy
        print(f'| {name} | {flops[name] / 1e6:.2f} | {rate:.4f} | {energy:.3f} |')
    first, *rest = flops
    others = sum(flops[name] for name in rest if name not in MEASURED) * pj / 1e9
    for runs in (1, TIMESTEPS):
        left = PUBLISHED['8-768'] - known - flops[first] * get_costs().mac_pj * runs / 1e9
        print(
            f'first layer {runs}x: the others take {left:.2f} of {PUBLISHED["8-768"]:.2f} mJ, a '
            f'mean rate of {left / others:.4f}'
        )


@dataclass(frozen=True)
class Formula:
    """The published formula for one size; FLOPs are MACs of one time step.

    Attributes:
        size: Name of the architecture.
        first: FLOPs of the first convolution.
        layers: FLOPs of all other layers with weights.
        masks: FLOPs of the attentions' masks and sums, ``tokens x channels`` each.
        published: Published energy in mJ.
    """

    size: str
    first: float
    layers: float
    masks: float
    published: float

    @classmethod
    def of(cls, size: str, rows: Iterable[LayerEnergy]) -> 'Formula':
        """Sum the layers of a report."""
        first, *others = rows
        # Of an attention's three operations k * v alone, for all: the formula takes them together.
        masks = [row.flops for row in others if row.kind == 'mask'][::2]
        layers = [row.flops for row in others if row.kind not in ('mask', 'sum')]
        return cls(size, first.flops, sum(layers), sum(masks), PUBLISHED[size])

    def first_mj(self, steps: int) -> float:
        """Energy of the first convolution in mJ, if it runs in ``steps`` time steps."""
        return self.first * get_costs().mac_pj * steps / 1e9

    def mj_per_rate(self) -> float:
        """Energy of all the rest in mJ, if every neuron fired in every time step."""
        return (self.layers + 3 * self.masks) * get_costs().ac_pj * TIMESTEPS / 1e9

    def implied_rate(self, steps: int) -> float:
        """The firing rate that all inputs must have, weighted by FLOPs, for the published sum."""
        return (self.published - self.first_mj(steps)) / self.mj_per_rate()


def report_of(size: str, side: int) -> EnergyReport:
    """FLOPs of every layer, from a run on one random image of ``side`` x ``side`` pixels."""
    model = Classifier(size).eval()
    with torch.no_grad(), EnergyCounter(model, strict=True) as counter:
        model(torch.rand(1, 3, side, side))
    return EnergyReport(counter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('sizes', nargs='*', default=list(PUBLISHED), help=', '.join(PUBLISHED))
    parser.add_argument('--image', type=int, default=224, help='side in pixels; default 224')
    parser.add_argument('--layers', action='store_true', help='list FLOPs of every layer')
    parser.add_argument(
        '--measured', action='store_true', help='what rates that were measured for 8-768 say'
    )
    args = parser.parse_args()
    if args.measured:
        print_measured(report_of('8-768', args.image).layers)
        return
    unknown = set(args.sizes) - set(PUBLISHED)
    if unknown:
        parser.error(f'unknown sizes {sorted(unknown)}; known are {", ".join(PUBLISHED)}')
    formulas = []
    for size in args.sizes:
        rows = report_of(size, args.image).layers
        formulas.append(Formula.of(size, rows))
        if args.layers:
            print(f'| {size}, layer | MMACs of a step |\n|---|--:|')
            for row in rows:
                print(f'| {row.name} | {row.flops / 1e6:.2f} |')
            print()
    print(
        '| size | image | first layer, MMACs | others, MMACs | masks, MMACs | all but the first at '
        'rate 1, mJ | published mJ '
        '| first layer once, mJ | implied rate | first layer T times, mJ | implied rate |'
    )
    print('|---' + '|--:' * 10 + '|')
    for one in formulas:
        print(
            f'| {one.size} | {args.image} | {one.first / 1e6:.1f} '
            f'| {one.layers / 1e6:.1f} | {one.masks / 1e6:.2f} '
            f'| {one.mj_per_rate():.2f} | {one.published:.2f} '
            f'| {one.first_mj(1):.3f} | {one.implied_rate(1):.3f} '
            f'| {one.first_mj(TIMESTEPS):.3f} | {one.implied_rate(TIMESTEPS):.3f} |'
        )


if __name__ == '__main__':
    main()
