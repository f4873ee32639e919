"""Claims about a host's model: its network, and each of its heads that work on regions."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmspike.claims.check import ClaimsReport, check_claims
from mmspike.hosts import NETWORK, Network, Part, RegionHead, parts_of
from mmspike.temporal import get_timesteps, has_time


def claims_of(
    model: nn.Module,
    images: Tensor,
    name: str = 'model',
    progress: Callable[[str], None] = lambda step: None,
) -> Iterator[ClaimsReport]:
    """Check the claims about a host's model, part by part.

    Regions are random numbers: which ones a detector finds depends on its training.

    Args:
        model: A classifier of mmpretrain, a detector of mmdet or a segmentor of mmseg.
        images: What its data preprocessor hands on, ``(B, C, H, W)`` or ``(B, T, C, H, W)``; three
            or more.
        name: Name of the model.
        progress: See :func:`~mmspike.claims.check_claims`.

    Raises:
        ValueError: The model is none of these, or there is one image.
    """
    steps = timesteps_of(model)
    layout = 'images'
    if images.dim() == 5:
        layout = 'frames'
    elif steps > 1:
        # An image may then differ from step to step, which shows what looks into the future.
        images, layout = images.unsqueeze(1).repeat(1, steps, 1, 1, 1), 'frames'
    for part in parts_of(model, images):
        if part.name == NETWORK:
            yield check_claims(
                model, images, layout=layout, timesteps=steps, name=name, progress=progress,
                run=lambda net, x: Network(net)(x),
            )  # fmt: skip
            continue
        regions, steps = _regions(part)
        yield check_claims(
            model.get_submodule(part.name), regions, layout='folded', timesteps=steps,
            name=f'{name}: {part.name}', progress=progress, run=lambda head, x: RegionHead(head)(x),
        )  # fmt: skip


def timesteps_of(model: nn.Module) -> int:
    """T of a model; 1 where nothing of it knows of time."""
    return get_timesteps(model) if has_time(model) else 1


def _regions(part: Part) -> tuple[Tensor, int]:
    """Random features of three regions ``(T*3, C, h, w)``, and T."""
    generator = torch.Generator().manual_seed(0)
    steps = len(part.sample) // 3
    return torch.randn(part.sample.shape, generator=generator) * 2, steps


@torch.no_grad()
def measure_norms(model: nn.Module, run: Callable[[], object]) -> None:
    """Let batch norms take the statistics of one call, in place.

    The neurons of a network with random weights hardly fire otherwise.

    Args:
        model: Any model; it ends in evaluation mode.
        run: Calls it.
    """
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    run()
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def measure_norms_of_parts(model: nn.Module, images: Tensor) -> None:
    """The same for a host's model, see :func:`claims_of`."""
    for part in parts_of(model, images):
        x = images if part.name == NETWORK else _regions(part)[0]
        measure_norms(part.module, partial(part.module, x))
    model.eval()
