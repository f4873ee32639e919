"""Leaves trained weights where the commands of the documentation look for them."""

import hashlib
import json
import re
import shutil
from pathlib import Path

from mmspike.files import atomic_write

# Name -> SHA-256 of each file that the demo left there: such a one it may replace.
LEFT = '.mmspike-demo.json'


def weights_name(config: Path) -> str:
    """``metaspikformer-digits-sfa-t1d4.pth`` of ``..._1xb32-coslr-15e_digits.py``.

    The name ends before the part with GPUs, batch size and schedule.
    """
    return re.split(r'_\d+xb\d+', config.stem)[0] + '.pth'


def leave_weights(checkpoint: Path, config: Path, folder: Path) -> Path | None:
    """Copy a checkpoint to ``folder`` under its short name.

    Returns:
        The copy. None if a file of that name is there that the demo did not leave: it stays as it
        is.
    """
    target, record = folder / weights_name(config), folder / LEFT
    known = json.loads(record.read_text()) if record.exists() else {}
    ours, new = known.get(target.name, []), _digest(checkpoint)
    found = _digest(target) if target.exists() else None
    if found == new:
        return target
    if found is not None and found not in ours:
        return None
    # The record comes first, so that an interrupted copy is known as well.
    with atomic_write(record) as file:
        file.write(json.dumps({**known, target.name: [*ours, new]}, indent=1).encode())
    with atomic_write(target) as copy, open(checkpoint, 'rb') as original:
        shutil.copyfileobj(original, copy)
    return target


def _digest(path: Path) -> str:
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
