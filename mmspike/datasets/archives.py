"""Archives of packages that hold data: fetched, checked by their hash, and never installed."""

import hashlib
import io
import lzma
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mmspike.files import atomic_write

CACHE = Path('data', 'archives')


class ArchiveError(ValueError):
    """An archive cannot be fetched, or is not the one that is meant."""


@dataclass(frozen=True)
class Archive:
    """The archive of a package in one version.

    Attributes:
        package, version: Of the package.
        kind: ``'wheel'``, which pip fetches, or ``'deb'``, which apt fetches. Neither runs code of
            the package, as pip does for the archive of sources.
        sha256: Of the file.
        terms: Licence of what is read from it.
    """

    package: str
    version: str
    kind: Literal['wheel', 'deb']
    sha256: str
    terms: str

    @property
    def command(self) -> list[str]:
        """How to fetch it into the current folder."""
        name = f'{self.package}=={self.version}'
        if self.kind == 'deb':
            return ['apt-get', 'download', f'{self.package}={self.version}']
        pip = ['-m', 'pip', 'download', '--no-deps', '--disable-pip-version-check', name]
        # The same file everywhere, whatever Python and machine this is.
        platform = ['--platform', 'manylinux_2_28_x86_64', '--python-version', '311']
        return ['python', *pip, '--only-binary', ':all:', *platform]

    def fetch(self, given: str | os.PathLike | None = None, cache: Path = CACHE) -> Path:
        """The file, from ``given``, from the cache, or from where packages are.

        Raises:
            ArchiveError: It cannot be fetched, or its hash is another one.
            FileNotFoundError: There is no file ``given``.
        """
        if given is not None:
            if not Path(given).is_file():
                raise FileNotFoundError(f'there is no archive {given}')
            return self._checked(Path(given))
        kept = cache / f'{self.package}-{self.version.replace("~", "-")}.{self.kind}'
        if not kept.exists():
            with tempfile.TemporaryDirectory() as folder:
                content = self._download(Path(folder)).read_bytes()
            with atomic_write(kept) as file:
                file.write(content)
        return self._checked(kept)

    def _download(self, folder: Path) -> Path:
        command = [sys.executable if word == 'python' else word for word in self.command]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            output = done.stderr.strip() or done.stdout.strip()
        except OSError as error:
            output = str(error)
        found = list(folder.iterdir())
        if len(found) != 1:
            last = output.splitlines()[-1] if output else 'nothing came'
            raise ArchiveError(
                f'{self.package} {self.version} cannot be fetched ({last}). On a machine with '
                f'network run `{" ".join(self.command)}`, copy the file here and name it with '
                '--archive FILE'
            )
        return found[0]

    def _checked(self, path: Path) -> Path:
        with open(path, 'rb') as file:
            found = hashlib.file_digest(file, 'sha256').hexdigest()
        if found != self.sha256:
            raise ArchiveError(
                f'{path} is not the {self.kind} of {self.package} {self.version}: its SHA-256 is '
                f'{found}, not {self.sha256}. It is incomplete, or another file; remove it'
            )
        return path


def read_member(path: Path, name: str) -> bytes:
    """One file of an archive.

    Args:
        path: A wheel or a Debian package.
        name: Its path in the archive.

    Raises:
        ArchiveError: The archive has no such file, or is damaged.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return archive.read(name)
        data = path.read_bytes()
        if not data.startswith(b'!<arch>\n'):
            raise ValueError('it is neither a wheel nor a Debian package')
        return _member_of_tar(_data_of_deb(data), f'./{name}')
    except (KeyError, OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
            EOFError, IndexError, ValueError) as error:  # fmt: skip
        raise ArchiveError(f'{path} has no readable {name}: {error}') from error


def _member_of_tar(data: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        member = archive.extractfile(name)
        if member is None:
            raise KeyError(f'{name} is no file')
        return member.read()


def _data_of_deb(data: bytes) -> bytes:
    """The tar with the files of a Debian package, which is an archive of ``ar``."""
    place = 8
    while place < len(data):
        header = data[place : place + 60]
        size = int(header[48:58])
        if place + 60 + size > len(data):
            raise ValueError('it is incomplete')
        if header.startswith(b'data.tar'):
            return data[place + 60 : place + 60 + size]
        place += 60 + size + size % 2
    raise ValueError('there is no data.tar in it')
