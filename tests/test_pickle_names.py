import io
import pickle

import pytest
import torch

from mmspike.pickle_names import foreign_names
from support.hostile_files import HOSTILE


@pytest.mark.parametrize('write', HOSTILE, ids=lambda write: write.__name__)
def test_names_are_found_and_nothing_runs(tmp_path, write):
    path, marker = tmp_path / 'hostile.pth', tmp_path / 'marker'
    write(path, marker)
    (name,) = foreign_names(path)
    assert name.endswith(HOSTILE[write][0])
    assert not marker.exists()


def test_tensors_name_nothing_of_others(tmp_path):
    content = dict(a=torch.zeros(3), b={1, 2}, c=1j, d=bytearray(b'x'), e=b'y')
    for new in (True, False):
        torch.save(content, tmp_path / 'a.pth', _use_new_zipfile_serialization=new)
        assert foreign_names(tmp_path / 'a.pth') == []


def test_memorised_names_of_protocol_4(tmp_path):
    """The second use of a module's name is read from the pickle's memory."""
    content = pickle.dumps((io.BytesIO, io.StringIO), protocol=4)
    (tmp_path / 'a.pth').write_bytes(content)
    assert foreign_names(tmp_path / 'a.pth') == ['_io.BytesIO', '_io.StringIO']


@pytest.mark.parametrize('content', [b'', b'<html>', b'checkpoint\nfoo\n', b'PK\x03\x04', b'\x80'])
def test_other_files_name_nothing(tmp_path, content):
    (tmp_path / 'a.pth').write_bytes(content)
    assert foreign_names(tmp_path / 'a.pth') == []
