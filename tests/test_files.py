import pickle
import threading

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import get_torch_safe_globals

from mmspike.files import (
    UnsafeCheckpointError,
    atomic_write,
    forbid_code_in_checkpoints,
    newest_checkpoint,
    read_checkpoint,
    read_training_checkpoint,
)
from support.hostile_files import HOSTILE, through_getattr


def test_newest_is_the_one_noted_last(tmp_path):
    for name in ('epoch_2.pth', 'epoch_10.pth', 'best_accuracy_epoch_12.pth'):
        (tmp_path / name).touch()
    assert newest_checkpoint(tmp_path).name == 'epoch_10.pth'
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    assert newest_checkpoint(tmp_path).name == 'epoch_2.pth'


@pytest.mark.parametrize(
    'note', [b'', b'/nowhere/epoch_9.pth', bytes(range(256)), b'\xff\xfe\x00', b'x' * 5000]
)
def test_a_damaged_note_does_not_lose_the_checkpoints(tmp_path, note):
    (tmp_path / 'iter_500.pth').touch()
    (tmp_path / 'last_checkpoint').write_bytes(note)
    assert newest_checkpoint(tmp_path).name == 'iter_500.pth'


def test_a_folder_that_was_moved_keeps_its_note(tmp_path):
    for name in ('epoch_2.pth', 'epoch_3.pth'):
        (tmp_path / name).touch()
    (tmp_path / 'last_checkpoint').write_text('/where/it/was/epoch_2.pth')
    assert newest_checkpoint(tmp_path) == tmp_path / 'epoch_2.pth'


def test_no_checkpoint_at_all(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    assert newest_checkpoint(tmp_path / 'absent') is None


def test_atomic_write_replaces_only_when_done(tmp_path):
    target = tmp_path / 'folder' / 'file'
    with atomic_write(target) as file:
        file.write(b'one')
        assert not target.exists()
    assert target.read_bytes() == b'one'
    with pytest.raises(OSError, match='disk full'), atomic_write(target) as file:
        file.write(b'half of tw')
        raise OSError('disk full')
    assert target.read_bytes() == b'one'
    assert [p.name for p in target.parent.iterdir()] == ['file']


def test_two_writers_of_a_file_do_not_meet(tmp_path):
    target = tmp_path / 'file'
    with atomic_write(target) as one:
        one.write(b'one, which is longer')
        with atomic_write(target) as two:
            two.write(b'two')
        assert target.read_bytes() == b'two'
    assert target.read_bytes() == b'one, which is longer'
    assert [p.name for p in tmp_path.iterdir()] == ['file']


def test_other_content_is_refused(tmp_path):
    torch.save(torch.zeros(3), tmp_path / 'tensor.pth')
    with pytest.raises(ValueError, match='holds a Tensor, not a dictionary'):
        read_checkpoint(tmp_path / 'tensor.pth')
    (tmp_path / 'text.pth').write_text('<html>404</html>')
    with pytest.raises(ValueError, match=r'text.pth \(16 bytes\) cannot be read'):
        read_checkpoint(tmp_path / 'text.pth')
    (tmp_path / 'empty.pth').touch()
    with pytest.raises(ValueError, match=r'\(0 bytes\)'):
        read_checkpoint(tmp_path / 'empty.pth')


@pytest.mark.parametrize('content', [b'text', b'torch', b'', b'\x80\x02K\x01.', b'((((', b'PK\x03'])
def test_what_is_no_checkpoint_gives_one_kind_of_error(tmp_path, content):
    path = tmp_path / 'file.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='cannot be read as a PyTorch checkpoint'):
        read_checkpoint(path)


def test_scores_of_all_hosts_can_be_read(tmp_path):
    """The best score of mmseg is a float32 of numpy, the others have 64 bits."""
    path = tmp_path / 'scores.pth'
    scores = dict(a=np.float32(0.5), b=np.float64(0.25), c=0.125)
    torch.save(dict(message_hub=scores), path)
    assert read_training_checkpoint(path)['message_hub'] == scores


@pytest.mark.parametrize('read', [read_checkpoint, read_training_checkpoint])
@pytest.mark.parametrize('write', HOSTILE, ids=lambda write: write.__name__)
@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_hostile_files_are_refused_by_what_they_want(tmp_path, write, read):
    path, marker = tmp_path / 'hostile.pth', tmp_path / 'marker'
    write(path, marker)
    with pytest.raises(UnsafeCheckpointError, match='was refused, and nothing in it was run') as e:
        read(path)
    names = HOSTILE[write] if read is read_training_checkpoint else HOSTILE[write][:1]
    for name in names:
        assert name in str(e.value)
    assert 'damaged' not in str(e.value)
    assert not marker.exists()


def test_the_allowance_for_log_histories_is_a_way_out_of_torch_alone(tmp_path):
    """Shows that the file of the test above does what it says where mmengine's list is used."""
    path, marker = tmp_path / 'hostile.pth', tmp_path / 'marker'
    through_getattr(path, marker)
    with torch.serialization.safe_globals(get_torch_safe_globals()):
        torch.load(path, weights_only=True)
    assert marker.exists()


def test_log_histories_are_read(tmp_path):
    path = tmp_path / 'history.pth'
    torch.save(dict(message_hub=dict(loss=HistoryBuffer([1.0, 3.0], [1, 1]))), path)
    assert read_training_checkpoint(path)['message_hub']['loss'].mean() == 2


def test_a_truncated_checkpoint_is_damaged_and_not_refused(tmp_path):
    path = tmp_path / 'torn.pth'
    torch.save(dict(state_dict=dict(a=torch.zeros(1000)), seen={1, 2}), path)
    whole = path.read_bytes()
    for size in (100, 1000, len(whole) - 10):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match='damaged') as error:
            read_checkpoint(path)
        assert not isinstance(error.value, UnsafeCheckpointError)


def test_readers_of_several_threads_do_not_disturb_each_other(tmp_path):
    path = tmp_path / 'history.pth'
    torch.save(dict(loss=HistoryBuffer([1.0], [1])), path)
    errors = []

    def read():
        try:
            for _ in range(20):
                read_training_checkpoint(path)
        except ValueError as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_code_in_checkpoints_can_be_forbidden_for_every_loader(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '')  # restored afterwards
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD')
    path = tmp_path / 'file.pth'
    torch.save(dict(meta=print), path)
    assert torch.load(path, weights_only=False)['meta'] is print
    forbid_code_in_checkpoints()
    with pytest.raises(pickle.UnpicklingError, match='print was not an allowed global'):
        torch.load(path, weights_only=False)
