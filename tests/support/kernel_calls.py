"""How calls of neurons get to their kernels on the CPU."""

from traceback import walk_stack

import pytest

from mmspike.neurons.kernels import cpu

KERNELS = tuple(name for name in cpu.__all__ if name.endswith('_forward'))


def watch_kernels(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each kernel of a forward pass from now on: whether torch's dispatcher leads to it."""
    dispatched = []

    def watch(name):
        kernel = getattr(cpu, name)

        def watched(*arguments):
            files = [frame.f_code.co_filename for frame, _ in walk_stack(None)]
            # Where torch calls the Python functions of custom operators.
            dispatched.append(any('/torch/_library/' in file for file in files))
            return kernel(*arguments)

        monkeypatch.setattr(cpu, name, watched)

    for name in KERNELS:
        watch(name)
    return dispatched
