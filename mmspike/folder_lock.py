"""One training, or other long work, per folder."""

import fcntl
import os
import socket
from datetime import datetime
from pathlib import Path

from mmengine.logging import print_log


class FolderInUseError(RuntimeError):
    """Another process writes into a folder."""


class FolderLock:
    """Held by the process that writes into a folder.

    The lock is the kernel's: it ends with its process, however that ends. Processes that are
    forked from it, such as loader workers, do not hold it. Within one process it can be taken
    again, and its first release counts.

    Args:
        folder: It is made if it is not there.
        work: Name of the process that writes into it, for the message.
        option: The option that names the folder.

    Raises:
        FolderInUseError: Another process holds it.
    """

    def __init__(
        self, folder: str | os.PathLike, work: str = 'training', option: str = '--work-dir'
    ) -> None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._file = open(folder / f'.{work}.lock', 'a+')  # noqa: SIM115
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            raise FolderInUseError(
                f'another {work} writes into {folder} ({holder or "its process is unknown"}); '
                f'wait for its end, or choose another {option}'
            ) from None
        except OSError as error:
            print_log(
                f'{folder} cannot be locked ({error.strerror}): see that no other {work} writes '
                'there',
                'current',
            )
        self._file.truncate(0)
        now = datetime.now().isoformat(' ', 'seconds')
        self._file.write(f'process {os.getpid()} on {socket.gethostname()}, since {now}\n')
        self._file.flush()

    def release(self) -> None:
        """Release the folder."""
        self._file.close()

    def __enter__(self) -> 'FolderLock':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()
