"""MST on its reference cases; see :mod:`support.parity`."""

import re

import torch
from torch import Tensor, nn

from mmspike.backbones import MST
from mmspike.converters import convert_mst
from mmspike.converters.mst import has_mlp_norm
from support.reference_cases import Case, Difference
from support.reference_model import ReferenceModel


class MstClassifier(ReferenceModel):
    """MST with the reference's classifier.

    Args:
        case: The case; its name says which neurons.
        timesteps: Number of time steps of spiking neurons.
        readout: Average features over time before the last norm.
    """

    def __init__(self, case: Case, timesteps: int = 1, readout: bool = False) -> None:
        super().__init__()
        weights = case.weights()
        # The spiking network's thresholds are no weights there.
        for name, value in case.meta.get('constants', {}).items():
            weights[name] = torch.tensor([value])
        conversion = convert_mst(weights)
        kind = case.meta['case'].split('_')[1]
        levels = re.search(r'\bt=(\d+)', case.meta['variant'])
        self.backbone = MST(
            conversion.arch,
            in_channels=case.meta['constructor']['in_chans'],
            mlp_norm=has_mlp_norm(conversion.state_dict),
            timesteps=timesteps,
            out_indices=(-1,),
            neuron_cfg=dict(
                relu=dict(type='ReLU'),
                qcfs=dict(type='mmspike.QCFS', levels=int(levels[1]) if levels else None),
                snn=dict(type='mmspike.SpikingQCFS'),
            )[kind],
            readout=readout,
        )
        weight = conversion.state_dict['head.fc.weight']
        self.head = nn.ModuleDict(dict(fc=nn.Linear(*weight.shape[::-1])))
        self.load(conversion, case)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Pooled features and logits, ``(T*B, ...)``."""
        features = self.backbone(x)[-1].mean((2, 3))
        return dict(features=features, logits=self.head['fc'](features))

    @staticmethod
    def agrees(case: str, row: Difference) -> bool:
        """A threshold's gradient is a sum that may nearly cancel."""
        return ReferenceModel.agrees(case, row) or row.absolute < 2e-7


class SpikingMst(MstClassifier):
    """MST as integrate-and-fire network, read after each of its steps."""

    def __init__(self, case: Case) -> None:
        super().__init__(case, case.meta['outputs']['cumulative_mean']['shape'][0])
        self.first_steps = case.meta['outputs']['first_steps']['shape'][0]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The first steps' logits and two ways to read all steps so far, ``(T, B, classes)``."""
        steps = self.backbone.timesteps
        before_norm = []
        handle = self.backbone.norm.register_forward_pre_hook(
            lambda _, args: before_norm.append(args[0])
        )
        logits = super().forward(x)['logits']
        handle.remove()
        features = self.backbone.norm(_running_mean(before_norm[0], steps))
        return dict(
            cumulative_mean=_running_mean(logits, steps),
            first_steps=logits.unflatten(0, (steps, -1))[: self.first_steps],
            norm_after_averaging=self.head['fc'](features.mean((2, 3))),
        )

    @staticmethod
    def agrees(case: str, row: Difference) -> bool:
        """Behind the first flipped spike, the reference is as far from itself in float64."""
        return row.absolute < (0.08 if row.quantity.endswith('all steps') else 1e-4)


def _running_mean(x: Tensor, timesteps: int) -> Tensor:
    """Mean of the steps so far, ``(T*B, ...)`` to ``(T, B, ...)``, added up in float64."""
    sums = x.unflatten(0, (timesteps, -1)).double().cumsum(0)
    return (sums / torch.arange(1, timesteps + 1).view(-1, *[1] * (x.dim()))).float()
