"""Errors for compiled or exported models where Python must observe every call."""

import torch
from torch import nn


class CompiledError(RuntimeError):
    """A model is compiled or being compiled, but Python must observe every call."""


def is_traced() -> bool:
    """Whether a call is being recorded (compiled, exported or traced) rather than run."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


# While torch compiles, it calls such a function and does not look into it: the error comes through.
@torch.compiler.assume_constant_result
def refuse(reason: str) -> None:
    """End the compilation or the export, or the call, with a reason.

    Raises:
        CompiledError: Always.
    """
    raise CompiledError(reason)


def compiled_parts(model: nn.Module) -> list[str]:
    """Names of the modules of ``model`` whose calls ``torch.compile`` has replaced."""
    return [
        name or type(module).__name__
        for name, module in model.named_modules()
        if module._compiled_call_impl is not None or _is_compiled(vars(module).get('forward'))
    ]


def _is_compiled(function: object) -> bool:
    # Functions that torch.compiler.disable has marked hold their original as well.
    marks = getattr(function, '__dict__', {})
    return '_torchdynamo_orig_callable' in marks and '_torchdynamo_disable' not in marks
