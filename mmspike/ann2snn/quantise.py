"""Replacement of a network's activations by quantised ones (QCFS), before its conversion.

Bu et al., ICLR 2022 (arXiv 2303.04347): a network that is trained with these activations runs on
integrate-and-fire neurons afterwards, see :mod:`mmspike.ann2snn.spiking`.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sized
from contextlib import ExitStack

import torch
from rich.progress import track
from torch import Tensor, nn

from mmspike.neurons import QCFS
from mmspike.neurons.reference import quantised_clip_floor_shift

# A clamp between 0 and a threshold can be these exactly, up to its steps,
EXACT = ('ReLU', 'ReLU6')
# and these only about: a network has to be trained with what replaces them.
APPROXIMATE = (
    'CELU', 'ELU', 'GELU', 'HSwish', 'Hardswish', 'LeakyReLU', 'Mish', 'PReLU', 'RReLU', 'SELU',
    'SiLU', 'Softplus', 'Swish',
)  # fmt: skip
# Inputs of one activation that are kept of one batch.
_KEPT = 4096
_CANDIDATES = 100


def find_activations(
    model: nn.Module, include: str = '', exclude: str | None = None
) -> dict[str, nn.Module]:
    """The activations of ``model`` that :func:`insert_qcfs` replaces, by name.

    Args:
        model: Any model. Of a module that stands at several places the first name counts.
        include: Regular expression, searched in the names.
        exclude: The same, for those to leave.

    Raises:
        ValueError: An expression is none, or no activation is left.
    """
    try:
        wanted, unwanted = re.compile(include), exclude is not None and re.compile(exclude)
    except re.error as error:
        raise ValueError(f'{error.pattern!r} is no regular expression: {error}') from None
    found = {
        name: module
        for name, module in model.named_modules()
        if type(module).__name__ in (*EXACT, *APPROXIMATE)
        and wanted.search(name)
        and not (unwanted and unwanted.search(name))
    }
    if '' in found:
        raise ValueError('the model is an activation itself: put it into another module')
    if not found:
        raise ValueError(
            f'{type(model).__name__} has no activation to replace with include={include!r} and '
            f'exclude={exclude!r}; modules of these types are: {", ".join((*EXACT, *APPROXIMATE))}'
        )
    return found


def insert_qcfs(
    model: nn.Module,
    *,
    levels: int = 16,
    thresholds: float | Mapping[str, float] = 2.0,
    include: str = '',
    exclude: str | None = None,
    average_pools: bool = False,
) -> dict[str, str]:
    """Replace activations by :class:`~mmspike.neurons.QCFS`, in place.

    A module that is called at several places stays one module with one threshold.

    Args:
        model: Any model. Activations called as functions (``F.relu``) are not seen; the report of
            :func:`~mmspike.ann2snn.report.conversion_report` lists what stays analog.
        levels: Steps of the activations.
        thresholds: Initial threshold; or one per name, see :func:`calibrate_thresholds`:
            activations that it has none for stay as they are.
        include: Regular expression, searched in the names of the activations.
        exclude: The same, for those to leave.
        average_pools: Also put average pools in the place of all max pools, for training. The
            largest of some firing rates is not the rate at which any of their neurons fires, so
            that max pools lose accuracy in the conversion.

    Returns:
        Name to the type of activation that was replaced.

    Raises:
        ValueError: Nothing is to be replaced, or a number is not positive.
        KeyError: ``thresholds`` has a name that no such activation has.
    """
    found = find_activations(model, include, exclude)
    if isinstance(thresholds, Mapping):
        unknown = [name for name in thresholds if name not in found]
        if unknown:
            raise KeyError(f'thresholds has names that are no activations: {", ".join(unknown)}')
        found = {name: module for name, module in found.items() if name in thresholds}
    else:
        thresholds = dict.fromkeys(found, thresholds)
    new = {
        module: QCFS(levels=levels, init_threshold=float(thresholds[name]))
        for name, module in found.items()
    }
    replace_modules(model, new)
    if average_pools:
        pools = [module for module in model.modules() if type(module) is nn.MaxPool2d]
        replace_modules(model, {pool: _average_pool(pool) for pool in pools})
    return {name: type(module).__name__ for name, module in found.items()}


def _average_pool(pool: nn.MaxPool2d) -> nn.AvgPool2d:
    if pool.dilation not in (1, (1, 1)):
        raise ValueError(f'{pool} is dilated, but average pools have no dilation')
    return nn.AvgPool2d(
        pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, count_include_pad=False
    )


def replace_modules(model: nn.Module, new: Mapping[nn.Module, nn.Module]) -> None:
    """Replace old modules by new ones, in the same mode and on the device of the model."""
    weight = next(iter(model.parameters()), None)
    for parent in list(model.modules()):
        # named_children() would tell of a child that stands twice in one parent once.
        for name, child in list(parent._modules.items()):
            if child is not None and child in new:
                # A layer on the meta device becomes none until its weights are there.
                device = None if weight is None else weight.device
                setattr(parent, name, new[child].to(device).train(child.training))


def calibrate_thresholds(
    model: nn.Module,
    batches: Iterable,
    *,
    levels: int = 16,
    include: str = '',
    exclude: str | None = None,
    run: Callable[[nn.Module, object], object] | None = None,
) -> dict[str, float]:
    """Choose thresholds from the inputs of the activations on real data.

    Of a hundred thresholds up to an activation's largest output, the one is taken whose quantised
    output is closest to the activation's, in the mean square.

    Args:
        model: The model with its own activations; evaluated, not changed.
        batches: Batches of data, of training usually: of a host's loader where the model is a
            host's, else what it is called with.
        levels: Steps of the activations to come.
        include: As for :func:`insert_qcfs`.
        exclude: As for :func:`insert_qcfs`.
        run: ``run(model, batch)``, should neither be right.

    Returns:
        Name of activation to threshold. Activations that never ran, such as those of auxiliary
        heads, are left out.

    Raises:
        ValueError: There is no activation to replace, there are no batches, or no activation ran,
            or one never gave a positive number.
    """
    found = find_activations(model, include, exclude)
    given: dict[str, list[Tensor]] = {name: [] for name in found}
    made: dict[str, list[Tensor]] = {name: [] for name in found}
    was_training = [module for module in model.modules() if module.training]
    with torch.no_grad(), ExitStack() as stack:
        for name, module in found.items():
            # Before and after: an activation in place leaves nothing of its input.
            hook = module.register_forward_pre_hook(
                lambda _, args, to=given[name]: to.append(_some(args[0]))
            )
            stack.callback(hook.remove)
            hook = module.register_forward_hook(
                lambda _, args, out, to=made[name]: to.append(_some(out))
            )
            stack.callback(hook.remove)
        for module in was_training:
            stack.callback(setattr, module, 'training', True)
        model.eval()
        ran = False
        for batch in _shown(batches):
            (run or run_batch)(model, batch)
            ran = True
    if not ran:
        raise ValueError('no batches: calibration needs data')
    thresholds = {
        name: _best_threshold(name, given[name], made[name], levels)
        for name in found
        if given[name]
    }
    if not thresholds:
        raise ValueError(f'none of the activations ran: {", ".join(found)}')
    return thresholds


def run_batch(model: nn.Module, batch: object) -> object:
    """Call the model with one batch of a host's loader, or with any other input."""
    if isinstance(batch, dict) and hasattr(model, 'data_preprocessor'):
        # As in training: its batches may hold images of several sizes.
        return model(**model.get_submodule('data_preprocessor')(batch, True), mode='tensor')
    return model(batch[0] if isinstance(batch, list | tuple) else batch)


def _shown(batches: Iterable) -> Iterable:
    total = len(batches) if isinstance(batches, Sized) else None
    return track(batches, 'calibrating', total=total, transient=True)


def _some(x: Tensor) -> Tensor:
    """A few thousand values of a tensor, as a copy."""
    # An odd stride, so as not to take the same column of every map.
    return x.detach().flatten()[:: max(1, x.numel() // _KEPT) | 1].float().clone()


def _best_threshold(name: str, given: list[Tensor], made: list[Tensor], levels: int) -> float:
    x, y = torch.cat(given), torch.cat(made)
    top = y.max()
    if not top > 0:
        raise ValueError(
            f'{name} gave no positive number on these data, so it would never fire: '
            'exclude it (exclude), or calibrate on more data'
        )
    candidates = top * torch.arange(1, _CANDIDATES + 1, device=x.device) / _CANDIDATES
    errors = [
        (quantised_clip_floor_shift(x, threshold=c, levels=levels) - y).square().mean()
        for c in candidates
    ]
    return candidates[torch.stack(errors).argmin()].item()
