"""What every module of a model takes and puts out, in the order of its calls."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from mmspike.claims.parts import is_neuron
from mmspike.claims.subject import Subject
from mmspike.thread_hooks import of_this_thread

MODEL = '(model)'


@dataclass(frozen=True)
class Moment:
    """A module was called, or is done.

    Attributes:
        layer: Name of the module.
        done: Whether the tensors are its outputs; otherwise they are its inputs.
        around: Name of the module whose code called it.
        tensors: Its inputs or outputs.
    """

    layer: str
    done: bool
    around: str
    tensors: tuple[Tensor, ...]

    @property
    def culprit(self) -> str:
        """The module whose code made the tensors, if all that was made before is right."""
        return self.layer if self.done else self.around

    def like(self, other: 'Moment') -> bool:
        """Whether it is the same moment of another run."""
        return (self.layer, self.done, [x.shape for x in self.tensors]) == (
            other.layer,
            other.done,
            [x.shape for x in other.tensors],
        )


class OtherPathError(RuntimeError):
    """Two runs of a model called other modules, or the same with other sizes."""


def follow(model: nn.Module, run: Callable[[], Any], see: Callable[[Moment], tuple | None]) -> Any:
    """Run a model and hand every moment to ``see``, which may return other inputs for a call.

    Returns:
        What ``run`` returns.
    """
    names = {module: name or MODEL for name, module in model.named_modules()}
    for module in [module for module in names if is_neuron(module)]:
        # The inside of a neuron is its own concern.
        for inside in list(module.modules())[1:]:
            names.pop(inside, None)
    running: list[str] = []

    def enter(module: nn.Module, inputs: tuple, options: dict) -> tuple | None:
        around = running[-1] if running else MODEL
        changed = see(Moment(names[module], False, around, tensors_of((inputs, options))))
        running.append(names[module])
        return None if changed is None else with_tensors((inputs, options), changed)

    def leave(module: nn.Module, inputs: tuple, out: object) -> None:
        if running and running[-1] == names[module]:
            running.pop()
            around = running[-1] if running else MODEL
            see(Moment(names[module], True, around, tensors_of(out)))

    with ExitStack() as hooks, torch.no_grad():
        for module in names:
            before = module.register_forward_pre_hook(of_this_thread(enter), with_kwargs=True)
            hooks.callback(before.remove)
            hooks.callback(module.register_forward_hook(of_this_thread(leave)).remove)
        return run()


def tensors_of(value: Any) -> tuple[Tensor, ...]:
    """The tensors in nested values."""
    return tuple(x.detach() for x in tree_leaves(value) if isinstance(x, Tensor))


def with_tensors(value: Any, tensors: tuple[Tensor, ...]) -> Any:
    """Nested values with other tensors, in the order of :func:`tensors_of`."""
    leaves, structure = tree_flatten(value)
    others = iter(tensors)
    return tree_unflatten(
        [next(others) if isinstance(leaf, Tensor) else leaf for leaf in leaves], structure
    )


@dataclass
class Trace:
    """One run of a fresh copy of the model, kept.

    Attributes:
        moments: In their order.
        answer: The tensors that the model returned.
    """

    moments: list[Moment]
    answer: tuple[Tensor, ...]

    @staticmethod
    def of(
        subject: Subject, inputs: Tensor, before: Callable[[nn.Module], Any] | None = None
    ) -> 'Trace':
        """Run the model.

        Args:
            subject: The model.
            inputs: What it is given.
            before: Does something with the copy first.
        """
        moments: list[Moment] = []

        def keep(moment: Moment) -> None:
            copies = tuple(x.clone() for x in moment.tensors)
            moments.append(Moment(moment.layer, moment.done, moment.around, copies))

        model = subject.fresh()
        if before is not None:
            before(model)
        answer = follow(model, lambda: subject.run(model, inputs), keep)
        return Trace(moments, tensors_of(answer))

    def differences(
        self,
        subject: Subject,
        inputs: Tensor,
        before: Callable[[nn.Module], Any] | None = None,
        change: Callable[[Moment], tuple | None] | None = None,
    ) -> Iterator[tuple[int, list[Tensor]]]:
        """Where another run differs: the number of a moment, and of its tensors the masks.

        Args:
            subject: The model.
            inputs: What it is given this time.
            before: Does something with the copy first.
            change: May give a module other inputs.

        Raises:
            OtherPathError: The run took another path.
        """
        found: list[tuple[int, list[Tensor]]] = []
        place = 0

        def compare(moment: Moment) -> tuple | None:
            nonlocal place
            if place >= len(self.moments) or not moment.like(self.moments[place]):
                raise OtherPathError(
                    f'the model took another path at {moment.layer} when its inputs were changed'
                )
            changed = change(moment) if change is not None else None
            if changed is not None:
                moment = Moment(moment.layer, False, moment.around, tensors_of(changed))
            pairs = zip(self.moments[place].tensors, moment.tensors, strict=True)
            masks = [differ(one, other) for one, other in pairs]
            if any(mask.any() for mask in masks):
                found.append((place, masks))
            place += 1
            return changed

        model = subject.fresh()
        if before is not None:
            before(model)
        follow(model, lambda: subject.run(model, inputs), compare)
        if place != len(self.moments):
            raise OtherPathError('the model called fewer modules when its inputs were changed')
        yield from found


def differ(one: Tensor, other: Tensor) -> Tensor:
    """Where two tensors differ in any bit that counts; NaN equals NaN."""
    mask = one != other
    return mask & ~(one.isnan() & other.isnan()) if one.is_floating_point() else mask
