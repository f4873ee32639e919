"""Runs programs in processes of their own, which need not import torch anew."""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

SERVER = Path(__file__).with_name('python_server.py')


class WarmPython:
    """Starts Python programs by a server, which has imported what takes long.

    A program begins with modules of third parties in memory, and with no module of a host or ours.
    """

    def __init__(self) -> None:
        self._server: subprocess.Popen | None = None

    def run(
        self, program: Path | str, *arguments: object, cwd: Path
    ) -> subprocess.CompletedProcess:
        """Run a program, which begins in ``cwd``, to its end."""
        argv = [str(program), *map(str, arguments)]
        with TemporaryDirectory() as folder:
            files = [Path(folder, name) for name in ('out', 'err')]
            for file in files:
                file.touch()
            status = self._ask([str(cwd), *map(str, files), *argv])
            return subprocess.CompletedProcess(argv, status, *(file.read_text() for file in files))

    def _ask(self, asked: list[str]) -> int:
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, SERVER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=dict(os.environ, OMP_NUM_THREADS='1', MPLBACKEND='agg'),
            )
        print(json.dumps(asked), file=self._server.stdin, flush=True)
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.communicate()
