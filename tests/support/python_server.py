"""A Python that has imported what takes long, and becomes a program for each line that it reads.

Each line is a JSON list: the directory in which the program begins, files for standard output and
standard error, the program's path and its arguments. The program runs in a fork, like any other
from then on. The answer is a line with its exit status.
"""

import importlib
import json
import os
import runpy
import signal
import sys
from pathlib import Path

# What the hosts import, and no host: parts of hosts register themselves.
IMPORTED = (
    *('torch', 'torchvision', 'matplotlib.pyplot', 'scipy.optimize', 'sklearn.datasets'),
    *('mmengine.runner', 'mmcv.ops'),
)
LONGEST = 300  # seconds


def next_program() -> list[str] | None:
    """What to become, in a child of this process; None in the process itself, after the last."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            return json.loads(line)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, flush=True)
    return None


def become(folder: str, out: str, err: str, program: str, *arguments: str) -> None:
    """Run a program as if Python had been started with it."""
    signal.alarm(LONGEST)
    for descriptor, path in enumerate((os.devnull, out, err)):
        os.dup2(os.open(path, os.O_WRONLY if descriptor else os.O_RDONLY), descriptor)
    os.chdir(folder)
    sys.argv = [program, *arguments]
    path = Path(program).resolve()
    sys.path[0] = str(path if path.is_dir() else path.parent)
    runpy.run_path(program, run_name='__main__')


if __name__ == '__main__':
    for name in IMPORTED:
        importlib.import_module(name)
    asked = next_program()
    if asked is not None:
        become(*asked)
