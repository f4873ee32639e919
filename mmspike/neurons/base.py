"""Common base of all neurons: time, state, and their record in checkpoints."""

import math
import warnings
from abc import abstractmethod
from typing import Any

import torch
from spikingjelly.activation_based.base import MemoryModule
from torch import Tensor, nn

from mmspike.checks import check_number as check_number  # for the neurons
from mmspike.deprecation import OldName, WithOldNames, warn_renamed
from mmspike.neurons.functional import at_rest
from mmspike.neurons.masking import SpikeMasking
from mmspike.neurons.records import find_local_record, read_record, record_key, write_record
from mmspike.temporal import TemporalModule, fold_time, unfold_time

# The number of the backward pass that this thread is in, -1 outside. There is no public way to ask.
_current_backward_pass = getattr(torch._C, '_current_graph_task_id', lambda: -1)


class NeuronMismatchError(RuntimeError):
    """A checkpoint was made with other neurons than those of the model that loads it."""


class BaseNeuron(WithOldNames, TemporalModule, SpikeMasking, MemoryModule):
    """A layer of spiking neurons over folded sequences ``(T*B, ...)``.

    A call starts from rest and leaves nothing behind, unless ``stateful`` is set: then the
    membrane potential after the last step is kept in ``v`` and the next call goes on from there,
    until :meth:`reset`. As a spikingjelly ``MemoryModule`` a neuron is also seen by that
    library's ``functional.reset_net`` and ``detach_net``, monitors and counters.

    Every ``state_dict`` holds a record of the neuron, its extra state: its kind, the numbers that
    its output depends on, and the share of spikes that are dropped at random (``masking_ratio``).
    When one is loaded, the neuron is compared with it, because weights trained for one neuron give
    nonsense with another; and the neuron takes the masking ratio, see
    :class:`~mmspike.neurons.masking.SpikeMasking`. A ``state_dict`` without records loads as well.

    Args:
        timesteps: Number of steps T in the first dimension; :func:`mmspike.set_timesteps` sets it
            for a whole model.
        stateful: Keep the membrane potential from call to call.
        on_mismatch: What to do when a checkpoint was made with other neurons: ``'error'`` raises
            :class:`NeuronMismatchError`, ``'warn'`` only warns (to fine-tune with other neurons).
        inplace: Without effect. ``mmcv.cnn.ConvModule`` passes it to every activation.

    Attributes:
        overwrites_input: In plain inference on a CPU, write the output into the memory of the input
            where nobody else reads that. :func:`mmspike.optimize_for_inference` sets it.

    Raises:
        TypeError, ValueError: ``timesteps`` or ``on_mismatch`` is not acceptable.
    """

    def __init__(
        self,
        *,
        timesteps: int = 1,
        stateful: bool = False,
        on_mismatch: str = 'error',
        inplace: bool = False,
    ) -> None:
        super().__init__()
        if on_mismatch not in ('error', 'warn'):
            raise ValueError(f"on_mismatch must be 'error' or 'warn', got {on_mismatch!r}")
        self.timesteps = timesteps
        self.stateful = stateful
        self.on_mismatch = on_mismatch
        # At rest the membrane is a plain number, which spikingjelly's reset puts back.
        self.register_memory('v', 0.0)

    v: Any  # the membrane after the last step, a tensor, or the number that it rests at

    overwrites_input = False
    # Whether there is a membrane to carry; without one, ``stateful`` changes nothing.
    has_memory = True

    @abstractmethod
    def fire(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Run T steps.

        Args:
            x: Input current ``(T, B, ...)``.
            v: Membrane potential ``(B, ...)`` to start from; None is at rest.

        Returns:
            Output ``(T, B, ...)`` and the membrane potential after the last step; None where the
            neuron has no memory or is not to keep it.
        """

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        # The class itself or a mixin of its; one of mmspike's has the new name.
        owner = next(x for x in cls.__mro__ if {'step_value', 'spike_value'} & vars(x).keys())
        if 'spike_value' not in vars(owner):
            warn_renamed(f'{cls.__name__}.step_value', f'{cls.__name__}.spike_value')
            value = vars(owner)['step_value']
            cls.step_value = cls.spike_value = value  # type: ignore[method-assign]  # its new name

    @OldName
    def step_value(self) -> float:
        """Deprecated: use :attr:`spike_value`."""
        warn_renamed(f'{type(self).__name__}.step_value', f'{type(self).__name__}.spike_value')
        # A class that was written for the old name may ask by super(): not for its own value.
        new = (x for x in type(self).__mro__ if 'spike_value' in vars(x))
        return next(vars(x)['spike_value'] for x in new if 'step_value' not in vars(x)).__get__(
            self
        )

    @property
    @abstractmethod
    def spike_value(self) -> float:
        """The value of one spike in the output: 1, or ``1 / norm`` for integer neurons."""

    @property
    def max_spikes(self) -> int:
        """The most spikes of one neuron in one time step: 1, or D for integer neurons."""
        return 1

    @abstractmethod
    def describe(self) -> dict[str, str | float | None]:
        """The neuron's kind and the numbers its output depends on."""

    def forward(self, x: Tensor) -> Tensor:
        """Map input currents ``(T*B, ...)`` to spikes ``(T*B, ...)`` of the same dtype.

        Raises:
            ValueError: The first size is not a multiple of T, or does not fit the carried state.
            RuntimeError: A stateful neuron is run again in a backward pass.
        """
        sequence = unfold_time(x, self.timesteps)
        if not (self.stateful and self.has_memory):
            return self.mask_spikes(fold_time(self.fire(sequence, None)[0]))
        self._check_first_pass()
        out, self.v = self.fire(sequence, self._carried(sequence))
        # The membrane has been reset by every spike: a masked one was fired, but not sent.
        return self.mask_spikes(fold_time(out))

    def _check_first_pass(self) -> None:
        # Only activation checkpointing runs a forward pass within a backward pass.
        if not torch.compiler.is_compiling() and _current_backward_pass() != -1:
            raise RuntimeError(
                f'a stateful {type(self).__name__} was run again in a backward pass, as activation '
                "checkpointing does (torch.utils.checkpoint, mmengine's activation_checkpointing): "
                'its steps, and so its gradients, would be those of the next chunk. Checkpoint '
                'layers without stateful neurons, or set stateful=False'
            )

    def _carried(self, sequence: Tensor) -> Tensor:
        if not isinstance(self.v, Tensor):
            return at_rest(sequence, self.v)
        if self.v.shape != sequence.shape[1:]:
            raise ValueError(
                f'{type(self).__name__} carries the state of a batch of shape '
                f'{tuple(self.v.shape)}, the input is a batch of shape '
                f'{tuple(sequence.shape[1:])}; call spikingjelly.activation_based.functional.'
                'reset_net(model) before another stream begins'
            )
        return self.v

    def extra_repr(self) -> str:
        options = {key: value for key, value in self.describe().items() if key != 'type'}
        options.update(timesteps=self.timesteps, stateful=self.stateful)
        if self.masking_ratio:
            options.update(masking_ratio=self.masking_ratio)
        return ', '.join(f'{key}={value}' for key, value in options.items())

    def get_extra_state(self) -> Tensor:
        """The record of this neuron for a ``state_dict``, see :mod:`mmspike.neurons.records`."""
        record: dict[str, Any] = dict(neuron=self.describe())
        if self.masking_ratio:
            record['masking_ratio'] = self.masking_ratio
        return write_record(record)

    def set_extra_state(self, state: Tensor) -> None:
        """Compare this neuron with its record in a checkpoint; take the masking ratio.

        Args:
            state: What :meth:`get_extra_state` returned when the checkpoint was written.

        Raises:
            RecordError: ``state`` is no record of a neuron.
            NeuronMismatchError: See :meth:`check_description`.
        """
        record = read_record(state, type(self).__name__)
        if record:
            self.check_description(record['neuron'])
            self.load_masking_ratio(record.get('masking_ratio', 0.0))

    def check_description(self, saved: dict) -> None:
        """Compare a neuron's record in a checkpoint with this neuron.

        Args:
            saved: What :meth:`describe` returned when the checkpoint was written.

        Raises:
            NeuronMismatchError: They differ, and ``on_mismatch`` is ``'error'``.
        """
        own = self.describe()
        if saved == own:
            return
        message = (
            f'the checkpoint was made with neurons {_show(saved)}, the model has {_show(own)}: its '
            "outputs would be wrong. Set the model's neuron_cfg to the checkpoint's, or add "
            "on_mismatch='warn' to it in order to fine-tune with other neurons"
        )
        if self.on_mismatch == 'error':
            raise NeuronMismatchError(message)
        warnings.warn(message, stacklevel=2)

    def check_learned(self, name: str, value: float, recorded: bool) -> None:
        """Refuse a learned number of a checkpoint that the neuron cannot compute with.

        Args:
            name: Name of the parameter in the model.
            value: The number in the checkpoint.
            recorded: Whether the checkpoint has the record of a neuron of mmspike.

        Raises:
            ValueError: The number is infinite or NaN.
        """
        if not math.isfinite(value):
            raise ValueError(
                f'{name} is {value} in the checkpoint: its training diverged; load an earlier one'
            )

    def _read_learned(self, name: str, prefix: str, state_dict: dict, recorded: bool) -> None:
        key = prefix + name
        value: Any = state_dict.get(key)
        # Only plain numbers: not parts of one that several processes hold, nor mere shapes.
        if type(value) not in (Tensor, nn.Parameter) or value.is_meta or value.numel() != 1:
            return
        if value.dim() == 0:  # as learned numbers were saved once
            state_dict[key] = value.reshape(1)
        self.check_learned(key, value.item(), recorded)

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args) -> None:
        name = prefix.removesuffix('.')
        record = find_local_record(state_dict, name, local_metadata)
        # Where there was no key, so that torch does not miss it.
        state_dict[record_key(name)] = write_record(record)
        for key in self._parameters:
            self._read_learned(key, prefix, state_dict, bool(record))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


def _show(description: dict) -> str:
    options = ', '.join(f'{k}={v}' for k, v in description.items() if k != 'type')
    return f'{description["type"]}({options})'


def set_stateful(model: nn.Module, stateful: bool = True) -> None:
    """Let every neuron of ``model`` carry its state from call to call, or no longer, from rest.

    So does every other module of mmspike that has a memory and the attribute ``stateful``.
    """
    temporal: list[Any] = [m for m in model.modules() if isinstance(m, TemporalModule)]
    for module in temporal:
        if hasattr(module, 'stateful'):
            module.stateful = stateful
            module.reset()
