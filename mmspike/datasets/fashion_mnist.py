"""Fashion-MNIST from the archive of its Debian package, for mmpretrain's own dataset class.

70,000 pictures of clothes, 28x28 grey levels: H. Xiao et al., Fashion-MNIST, arXiv 1708.07747.
"""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmspike.datasets.archives import Archive, ArchiveError, read_member
from mmspike.files import atomic_write

ARCHIVE = Archive(
    'dataset-fashion-mnist',
    '0.0~git20200523.55506a9-1',
    'deb',
    '39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0',
    'MIT',
)
# Images of each split.
SPLITS = {'train': 60_000, 't10k': 10_000}


def write_fashion_mnist(
    folder: str | os.PathLike,
    archive: Path | None,
    source: Path | None = None,
    on_file: Callable[[str], None] = lambda name: None,
) -> dict[str, int]:
    """Write the four IDX files, unpacked.

    Args:
        folder: Where to write.
        archive: The Debian package; None reads ``source``.
        source: A folder with the four files, with or without ``.gz``; of any data in this format
            (MNIST, KMNIST, EMNIST).
        on_file: Called before each file.

    Returns:
        The number of images of each split.

    Raises:
        ArchiveError: A file is missing or damaged, or images and labels do not belong together.
    """
    folder, found = Path(folder), {}
    for split in SPLITS:
        contents = {}
        for kind, dims in (('images', 3), ('labels', 1)):
            name = f'{split}-{kind}-idx{dims}-ubyte'
            on_file(name)
            contents[name] = _content(name, archive, source)
            found[f'{split} {kind}'] = len(read_idx(contents[name], name, dims))
        images, labels = found.pop(f'{split} images'), found.pop(f'{split} labels')
        if images != labels:
            raise ArchiveError(f'{split} has {images} images, but {labels} labels')
        if archive is not None and images != SPLITS[split]:
            raise ArchiveError(f'{split} has {images} images, not {SPLITS[split]}')
        for name, content in contents.items():
            with atomic_write(folder / name) as target:
                target.write(content)
        found[split] = images
    return found


def _content(name: str, archive: Path | None, source: Path | None) -> bytes:
    if archive is not None:
        packed = read_member(archive, f'usr/share/datasets/fashion-mnist/{name}.gz')
    else:
        paths = [Path(source or '.', f'{name}{end}') for end in ('', '.gz')]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise ArchiveError(f'neither {paths[0]} nor {paths[1].name} is there')
        packed = path.read_bytes()
    try:
        return gzip.decompress(packed) if packed.startswith(b'\x1f\x8b') else packed
    except (OSError, EOFError, ValueError) as error:
        raise ArchiveError(f'{name}.gz cannot be unpacked: {error}') from error


def read_idx(content: bytes, name: str, dims: int) -> np.ndarray:
    """The numbers of an IDX file of bytes.

    Args:
        content: Of the file.
        name: Of the file, for messages.
        dims: Dimensions that it must have.

    Raises:
        ArchiveError: It is no such file, or another size than it says.
    """
    if content[:3] != b'\x00\x00\x08' or content[3:4] != bytes([dims]):
        raise ArchiveError(f'{name} is no IDX file of bytes with {dims} dimensions')
    begin = 4 + 4 * dims
    if len(content) < begin:
        raise ArchiveError(f'{name} ends in its first {begin} bytes: it is incomplete')
    sizes = np.frombuffer(content[4:begin], '>u4').astype(np.int64)
    if len(content) != begin + sizes.prod():
        raise ArchiveError(
            f'{name} should hold {"x".join(map(str, sizes))} numbers, but holds '
            f'{len(content) - begin}: it is damaged or incomplete'
        )
    return np.frombuffer(content, np.uint8, offset=begin).reshape(sizes)
