import pytest
import torch

from mmspike.apis.resume import newest_good_checkpoint


def save(path, value=0.0):
    torch.save(dict(state_dict=dict(w=torch.full((100,), value))), path)


@pytest.fixture
def folder(tmp_path):
    for epoch in (1, 2, 3):
        save(tmp_path / f'epoch_{epoch}.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_3.pth'))
    return tmp_path


def test_the_newest_is_taken_without_a_word(folder):
    assert newest_good_checkpoint(folder) == (folder / 'epoch_3.pth', [])


def test_what_cannot_be_read_or_holds_nan_is_passed_over(folder):
    newest = folder / 'epoch_3.pth'
    newest.write_bytes(newest.read_bytes()[:800])
    save(folder / 'epoch_2.pth', float('nan'))
    found, (first, second) = newest_good_checkpoint(folder)
    assert found == folder / 'epoch_1.pth'
    assert str(newest) in first
    assert 'damaged' in first
    assert second == f'{folder / "epoch_2.pth"} holds NaN in w'


def test_infinity_may_be_a_mask(folder):
    save(folder / 'epoch_3.pth', -float('inf'))
    assert newest_good_checkpoint(folder)[0].name == 'epoch_3.pth'


@pytest.mark.parametrize(
    ('note', 'fault'),
    [
        (bytes(range(128, 256)), 'last_checkpoint is damaged: it holds no file name'),
        (b'/gone/epoch_7.pth', 'last_checkpoint names /gone/epoch_7.pth, which is not there'),
    ],
)
def test_a_note_that_leads_nowhere_is_told(folder, note, fault):
    (folder / 'last_checkpoint').write_bytes(note)
    found, faults = newest_good_checkpoint(folder)
    assert found.name == 'epoch_3.pth'
    assert faults == [f'{folder}/{fault}']


def test_nothing_good(folder):
    for path in folder.glob('*.pth'):
        path.write_bytes(b'torn')
    found, faults = newest_good_checkpoint(folder)
    assert found is None
    assert len(faults) == 3


def test_nothing_at_all(tmp_path):
    assert newest_good_checkpoint(tmp_path / 'absent') == (None, [])
