"""Programs that run ONNX files on ordinary CPUs, behind one call."""

import os
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmspike.deploy.extras import MissingExtraError, needed


class Session(Protocol):
    """A loaded file; several threads may call it at the same time."""

    def __call__(self, x: np.ndarray) -> list[np.ndarray]:
        """The outputs for one input."""


class OnnxRuntimeSession:
    """A file in ONNX Runtime, on the CPU.

    Args:
        path: The file.
        threads: Number of threads; None leaves it to the runtime.
    """

    def __init__(self, path: Path, threads: int | None) -> None:
        runtime = needed('onnxruntime')
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        if threads:
            options.intra_op_num_threads = threads
        self._session = runtime.InferenceSession(
            str(path), options, providers=['CPUExecutionProvider']
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, x: np.ndarray) -> list[np.ndarray]:
        return self._session.run(None, {self._input: x})


class OpenVinoSession:
    """A file in OpenVINO, on the CPU, in float32 where it is not int8.

    Args:
        path: The file.
        threads: Number of threads; None leaves it to the runtime.
    """

    def __init__(self, path: Path, threads: int | None) -> None:
        options: dict[str, Any] = {'INFERENCE_PRECISION_HINT': 'f32'}
        if threads:
            options['INFERENCE_NUM_THREADS'] = threads
        core = _openvino_core()
        self._compiled = core.compile_model(core.read_model(path), 'CPU', options)
        self._own = threading.local()  # a request serves one call at a time

    def __call__(self, x: np.ndarray) -> list[np.ndarray]:
        if not hasattr(self._own, 'request'):
            self._own.request = self._compiled.create_infer_request()
        found = self._own.request.infer({0: np.ascontiguousarray(x)})
        return [np.array(found[i]) for i in range(len(self._compiled.outputs))]


# OpenVINO 2026.4 gives the thread that loads its CPU plugin another stack for signals, and releases
# its memory with the last model. Where another thread does that, the next signal (Ctrl-C, or the
# end of a child process) would end the process. A core that is kept releases nothing.
@cache
def _openvino_core() -> Any:
    return needed('openvino').Core()


# The first that is installed is the one of runtime='auto': the faster one comes first.
RUNTIMES: dict[str, Callable[[Path, int | None], Session]] = {
    'openvino': OpenVinoSession,
    'onnxruntime': OnnxRuntimeSession,
}


def open_session(
    path: str | os.PathLike, runtime: str = 'auto', threads: int | None = None
) -> Session:
    """Load a file.

    Args:
        path: An ONNX file.
        runtime: ``'openvino'``, ``'onnxruntime'``, or ``'auto'``: the first of them that is
            installed.
        threads: Number of threads; None leaves it to the runtime.

    Raises:
        MissingExtraError: The runtime is not installed.
        ValueError: The runtime is unknown, ``threads`` is no positive number, or the runtime
            cannot read the file.
    """
    if runtime not in ('auto', *RUNTIMES):
        raise ValueError(f'runtime must be one of {("auto", *RUNTIMES)}, got {runtime!r}')
    if threads is not None and threads < 1:
        raise ValueError(f'threads must be at least 1, got {threads}')
    for name in RUNTIMES if runtime == 'auto' else [runtime]:
        try:
            needed(name)
        except MissingExtraError:
            if runtime != 'auto':
                raise
            continue
        try:
            return RUNTIMES[name](Path(path), threads)
        except Exception as error:
            raise ValueError(f'{name} cannot load {path}: {_first_line(error)}') from error
    raise MissingExtraError(
        f"no runtime is installed ({', '.join(RUNTIMES)}): pip install 'mmspike[deploy]'"
    )


def _first_line(error: Exception) -> str:
    lines: Sequence[str] = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
