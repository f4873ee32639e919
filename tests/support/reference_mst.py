"""Runs MST on the reference cases of tests/data/reference and measures the differences."""

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from mmspike.backbones import MST
from mmspike.converters import convert_mst
from mmspike.converters.mst import has_mlp_norm
from support.reference_cases import Case, Difference, compare_gradients, compare_outputs

CASES = (
    *('mst_relu_imagenet_w4', 'mst_relu_imagenet_w7', 'mst_relu_cifar10_w7'),
    *('mst_qcfs_imagenet_w4', 'mst_qcfs_imagenet_w4_train', 'mst_qcfs_imagenet_w7'),
    'mst_qcfs_cifar10_w7',
)
SPIKING_CASES = ('mst_snn_imagenet_w4', 'mst_snn_imagenet_w7', 'mst_snn_cifar10_w7')
STEPS = (1, 4, 16, 64)


class MstClassifier(nn.Module):
    """MST with the reference's classifier, loaded through the converter.

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
        self.conversion = convert_mst(weights)
        assert not self.conversion.missing
        assert not self.conversion.unexpected
        kind = case.meta['case'].split('_')[1]
        self.backbone = MST(
            self.conversion.arch,
            mlp_norm=has_mlp_norm(self.conversion.state_dict),
            timesteps=timesteps,
            out_indices=(-1,),
            neuron_cfg=dict(
                relu=dict(type='ReLU'),
                qcfs=dict(type='mmspike.QCFS', levels=16),
                snn=dict(type='mmspike.SpikingQCFS'),
            )[kind],
            readout=readout,
        )
        self.head = nn.ModuleDict(dict(fc=nn.Linear(self.backbone.out_channels[-1], 10)))
        self.load_state_dict(self.conversion.state_dict)
        self.train(case.meta['mode'] == 'train')

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Pooled features and logits, ``(T*B, ...)``."""
        features = self.backbone(x)[-1].mean((2, 3))
        return dict(features=features, logits=self.head['fc'](features))


def compare(name: str) -> list[Difference]:
    """Outputs, running statistics and gradients of a network without time."""
    case = Case.load(name)
    model = MstClassifier(case)
    x = case.input().requires_grad_()
    outputs = model(x)
    rows = compare_outputs(case, outputs)
    if 'backward' in case.meta:
        rows += compare_gradients(case, model, outputs, x)
    return rows


@cache
@torch.no_grad()
def run_spiking(name: str) -> dict[str, np.ndarray]:
    """The two ways to read the spiking network after each of its steps, ``(T, B, classes)``."""
    case = Case.load(name)
    timesteps = case.meta['outputs']['cumulative_mean']['shape'][0]
    model = MstClassifier(case, timesteps)
    before_norm = []
    model.backbone.norm.register_forward_pre_hook(lambda _, args: before_norm.append(args[0]))
    logits = _running_mean(model(case.input())['logits'], timesteps)
    features = model.backbone.norm(_running_mean(before_norm[0], timesteps))
    averaged = model.head['fc'](features.mean((2, 3)))
    return dict(cumulative_mean=logits.numpy(), norm_after_averaging=averaged.numpy())


def _running_mean(x: Tensor, timesteps: int) -> Tensor:
    """Mean of the steps so far, ``(T*B, ...)`` to ``(T, B, ...)``, added up in float64."""
    sums = x.unflatten(0, (timesteps, -1)).double().cumsum(0)
    return (sums / torch.arange(1, timesteps + 1).view(-1, *[1] * (x.dim()))).float()


def compare_spiking(name: str) -> list[Difference]:
    """Outputs before and after the first step where rounding flips a spike."""
    case = Case.load(name)
    first = first_flip(case)
    rows = []
    for output, ours in run_spiking(name).items():
        theirs = case.numbers[f'output/{output}']
        for label, steps in ((f'{output}, steps 0 to {first - 1}', slice(first)),
                             (f'{output}, all steps', slice(None))):  # fmt: skip
            rows.append(Difference.of(label, ours[steps], theirs[steps]))
    return rows


def first_flip(case: Case) -> int:
    """The first step that the reference itself answers otherwise in float64."""
    return case.meta['reproducibility']['float64_rerun_first_step_off_by_over_1e-4']


def distances(name: str) -> dict[str, list[float]]:
    """Mean absolute distance from the quantised network's logits after :data:`STEPS` steps."""
    case = Case.load(name)
    quantised = case.numbers['qcfs_logits']
    return {
        output: [float(np.abs(ours[steps - 1] - quantised).mean()) for steps in STEPS]
        for output, ours in run_spiking(name).items()
    }
