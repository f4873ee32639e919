import os
import subprocess
import sys

import pytest

from mmspike.folder_lock import FolderInUseError, FolderLock

HOLD = """
import sys, time
from mmspike.folder_lock import FolderLock
lock = FolderLock(sys.argv[1])
print('held', flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of ``tmp_path / 'work'``."""
    process = subprocess.Popen(
        [sys.executable, '-c', HOLD, tmp_path / 'work'], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == 'held\n'
    yield process
    process.kill()
    process.wait()


def test_another_process_is_named_and_its_death_frees_the_folder(tmp_path, holder):
    with pytest.raises(FolderInUseError, match=f'work .*process {holder.pid} on .*since 20'):
        FolderLock(tmp_path / 'work')
    holder.kill()
    holder.wait()
    FolderLock(tmp_path / 'work').release()


@pytest.mark.slow
def test_a_forked_process_does_not_hold_it(tmp_path):
    """Loader workers outlive a killed training for some seconds."""
    lock = FolderLock(tmp_path)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(read, 1)  # until the parent is done
        os._exit(0)
    lock.release()
    code = f'from mmspike.folder_lock import FolderLock; FolderLock({str(tmp_path)!r})'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    os.write(write, b'x')
    os.waitpid(child, 0)
    assert done.returncode == 0, done.stderr


def test_one_process_takes_it_again(tmp_path):
    with FolderLock(tmp_path), FolderLock(tmp_path):
        pass
