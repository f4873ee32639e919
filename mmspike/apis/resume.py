"""The checkpoint from which a training resumes."""

import os
from pathlib import Path

from mmspike.files import (
    checkpoints_in,
    noted_checkpoint,
    read_note,
    read_training_checkpoint,
)
from mmspike.finite import first_not_finite


def newest_good_checkpoint(work_dir: str | os.PathLike) -> tuple[Path | None, list[str]]:
    """The newest checkpoint in ``work_dir`` that can be read and has finite weights.

    Returns:
        Its path, or None; and a sentence for each newer file that is no good, and why.
    """
    work_dir = Path(work_dir)
    faults = [fault] if (fault := _fault_of_note(work_dir)) else []
    for path in checkpoints_in(work_dir):
        try:
            content = read_training_checkpoint(path)
        except (OSError, ValueError) as error:
            faults.append(str(error))
            continue
        bad = first_not_finite(content.get('state_dict', content))
        if bad is None:
            return path, faults
        faults.append(f'{path} holds NaN in {bad}')
    return None, faults


def _fault_of_note(work_dir: Path) -> str | None:
    named = read_note(work_dir)
    if not named or noted_checkpoint(work_dir) is not None:
        return None
    if not named.isprintable():
        return f'{work_dir / "last_checkpoint"} is damaged: it holds no file name'
    return f'{work_dir / "last_checkpoint"} names {named}, which is not there'
