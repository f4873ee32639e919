"""Time in mmspike: ``T`` steps folded into the batch, time-major.

A sequence of feature maps is one tensor ``(T*B, C, H, W)`` whose row ``t*B + b`` is sample ``b``
at step ``t``. Convolutions, norms and every stock layer of mmcv, mmdet and mmseg work on it as on
an ordinary batch; only neurons, temporal read-outs and the like need to know ``T``.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from mmspike.checks import check_integer

# By how many steps the work of a call is divided, where a caller said so. Each thread has its own.
_steps_of_work: ContextVar[float | None] = ContextVar('steps_of_work', default=None)


def steps_of_work() -> float | None:
    """The value of the innermost :func:`work_of_steps`; None outside of all."""
    return _steps_of_work.get()


def work_of_steps(steps: float) -> AbstractContextManager[None]:
    """Inside the block, every call does the work of ``steps`` time steps.

    Energy accounting divides by it to get the work of a network without time. Layers that compute
    once what is the same at every step run inside ``work_of_steps(1)``. Of a simulation in chunks,
    the first chunk counts, and the others do not: they run inside ``work_of_steps(math.inf)``. Work
    whose results are thrown away is not counted at all: it runs inside ``work_of_steps(0)``.
    Blocks nest, the innermost holds, and what held before holds again after each, also after an
    exception. Other threads do not see it. Compiled code is not counted: there it does nothing.
    """
    return nullcontext() if torch.compiler.is_compiling() else _work_of_steps(steps)


@contextmanager
def _work_of_steps(steps: float) -> Iterator[None]:
    before = _steps_of_work.set(steps)
    try:
        yield
    finally:
        _steps_of_work.reset(before)


def check_timesteps(timesteps: int) -> int:
    """Return ``timesteps`` if it is a positive integer.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is smaller than 1.
    """
    return check_integer('timesteps', timesteps, at_least=1)


def unfold_time(x: Tensor, timesteps: int) -> Tensor:
    """View ``(T*B, ...)`` as ``(T, B, ...)``.

    Raises:
        TypeError, ValueError: ``timesteps`` is no positive integer, or the first size is not a
            multiple of it.
    """
    check_timesteps(timesteps)
    if x.dim() == 0 or x.shape[0] % timesteps:
        raise ValueError(
            f'a tensor of shape {tuple(x.shape)} cannot hold {timesteps} time steps: its first '
            f'size must be T*B, a multiple of T={timesteps}. Was T set on every part of the model? '
            'mmspike.set_timesteps(model, T) does that'
        )
    # Cheaper than the general case, and by far the most frequent one.
    if timesteps == 1:
        return x.unsqueeze(0)
    return x.unflatten(0, (timesteps, x.shape[0] // timesteps))


def fold_time(x: Tensor) -> Tensor:
    """View ``(T, B, ...)`` as ``(T*B, ...)``."""
    return x.flatten(0, 1)


def encode_input(x: Tensor, timesteps: int) -> Tensor:
    """Turn a network input into the folded form.

    Args:
        x: Images ``(B, C, H, W)``, which are repeated at every step (direct coding), or frames
            ``(B, T, C, H, W)``, for instance integrated events, which are folded.
        timesteps: Number of steps T.

    Returns:
        ``(T*B, C, H, W)``.

    Raises:
        TypeError, ValueError: ``timesteps`` is no positive integer, the input is neither 4-D nor
            5-D, or does not hold as many frames as steps.
    """
    check_timesteps(timesteps)
    if x.dim() == 4:
        return x if timesteps == 1 else x.repeat(timesteps, 1, 1, 1)
    if x.dim() != 5:
        raise ValueError(
            'the input must be images (B, C, H, W) or frames (B, T, C, H, W), '
            f'got shape {tuple(x.shape)}'
        )
    if x.shape[1] != timesteps:
        raise ValueError(
            f'the input holds {x.shape[1]} frames (shape {tuple(x.shape)}, read as (B, T, C, H, '
            f'W)) but the model runs T={timesteps} steps; call mmspike.set_timesteps(model, '
            f'{x.shape[1]}) or load {timesteps} frames'
        )
    return fold_time(x.transpose(0, 1))


class TemporalModule:
    """Mixin of every module that needs to know T (see :func:`set_timesteps`)."""

    _timesteps = 1
    # Whether it follows the model's T; a part behind a read-out over time runs one step.
    _in_time = True

    @property
    def total_timesteps(self) -> float:
        """By how many steps the work of a call is divided to get that of a network without time.

        It is ``timesteps``, unless a caller says otherwise (see :func:`work_of_steps`).
        """
        return steps_of_work() or self.timesteps

    @property
    def timesteps(self) -> int:
        """Number of time steps T folded into the first dimension of the input."""
        return self._timesteps

    @timesteps.setter
    def timesteps(self, value: int) -> None:
        self._timesteps = check_timesteps(value)


def _temporal_modules(model: nn.Module) -> list[TemporalModule]:
    found: list[TemporalModule] = [
        module for module in model.modules() if isinstance(module, TemporalModule)
    ]
    if not found:
        raise ValueError(
            f'{type(model).__name__} contains no spiking module, so it has no time steps'
        )
    return found


def has_time(model: nn.Module) -> bool:
    """Whether any part of a model knows of time steps."""
    return any(isinstance(module, TemporalModule) for module in model.modules())


def set_timesteps(model: nn.Module, timesteps: int) -> None:
    """Give every spiking module of ``model`` the number of time steps T.

    Parts behind a read-out (see :func:`init_timesteps`) stay as they are.

    Raises:
        TypeError, ValueError: ``timesteps`` is not a positive integer, the model has no spiking
            module, or all of it stands behind a read-out.
    """
    check_timesteps(timesteps)
    in_time = [module for module in _temporal_modules(model) if module._in_time]
    if not in_time and timesteps != 1:
        raise ValueError(
            f'{type(model).__name__} was built with timesteps=None: it stands behind a read-out '
            f'over time and runs one step, not {timesteps}'
        )
    for module in in_time:
        module.timesteps = timesteps


def init_timesteps(part: nn.Module, timesteps: int | None) -> None:
    """Give a part that is being built its number of time steps.

    Args:
        part: A neck or head.
        timesteps: T. None: the part runs one step whatever T the model is given later, because it
            takes the mean over time of what stands before it (``readout=True``).

    Raises:
        TypeError, ValueError: See :func:`set_timesteps`.
    """
    if timesteps is not None:
        set_timesteps(part, timesteps)
        return
    set_timesteps(part, 1)
    for module in _temporal_modules(part):
        module._in_time = False


def get_timesteps(model: nn.Module) -> int:
    """Return the number of time steps T that all spiking modules of ``model`` agree on.

    Parts behind a read-out (``timesteps=None``) are not asked.

    Raises:
        ValueError: They do not agree, or there are none.
    """
    modules = _temporal_modules(model)
    values = {module.timesteps for module in modules if module._in_time} or {1}
    if len(values) > 1:
        raise ValueError(
            f'the modules of {type(model).__name__} run different numbers of time steps: '
            f'{sorted(values)}; call mmspike.set_timesteps(model, T)'
        )
    return values.pop()
