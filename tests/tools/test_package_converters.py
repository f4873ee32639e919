"""The converters of packaged data, as a user runs them, without network."""

import subprocess

import pytest

from mmspike.datasets import fashion_mnist


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(
        subprocess, 'run', lambda command, **options:
        subprocess.CompletedProcess(command, 1, '', 'no network'),
    )  # fmt: skip


@pytest.mark.parametrize('name', ['trees', 'nuclei', 'fashion_mnist'])
def test_without_network_it_says_what_to_fetch(name, run_tool, tmp_path):
    status, _ = run_tool(f'dataset_converters/{name}.py')
    assert str(status).startswith(f'{name}.py: ')
    assert 'cannot be fetched (no network)' in str(status)
    assert '--archive FILE' in str(status)
    assert not list(tmp_path.rglob('*.json'))


@pytest.mark.parametrize('name', ['trees', 'nuclei', 'fashion_mnist'])
def test_another_file_is_refused(name, run_tool, tmp_path):
    (tmp_path / 'file').write_bytes(b'other')
    status, _ = run_tool(f'dataset_converters/{name}.py', '--archive', 'file')
    assert 'its SHA-256 is' in str(status)
    status, _ = run_tool(f'dataset_converters/{name}.py', '--archive', 'absent')
    assert 'there is no archive absent' in str(status)


def test_a_folder_of_idx_files(run_tool, tmp_path):
    for split in fashion_mnist.SPLITS:
        for kind, sizes in (('images', (2, 3, 3)), ('labels', (2,))):
            header = b'\0\0\x08' + bytes([len(sizes)])
            header += b''.join(size.to_bytes(4, 'big') for size in sizes)
            count = 18 if kind == 'images' else 2
            (tmp_path / f'{split}-{kind}-idx{len(sizes)}-ubyte').write_bytes(header + bytes(count))
    status, out = run_tool('dataset_converters/fashion_mnist.py', '--idx', '.', '--out', 'out')
    assert status == 0
    assert 'train' in out
    assert len(list((tmp_path / 'out').iterdir())) == 4
