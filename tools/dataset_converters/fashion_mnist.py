"""Write Fashion-MNIST as mmpretrain's dataset class reads it.

All 70,000 pictures come from the archive of a Debian package. --idx takes a folder of IDX files
instead, which may be of other data in this format (MNIST, KMNIST, EMNIST).
"""

from pathlib import Path

from mmspike.apis.packaged_data import arguments, convert
from mmspike.datasets.fashion_mnist import ARCHIVE, write_fashion_mnist


def main() -> None:
    parser = arguments(__doc__, 'data/fashion-mnist', ARCHIVE)
    parser.add_argument('--idx', type=Path, metavar='FOLDER', help='IDX files, also with .gz')
    args = parser.parse_args()
    convert(
        'fashion_mnist.py',
        lambda: write_fashion_mnist(
            args.out, None if args.idx else ARCHIVE.fetch(args.archive), args.idx
        ),
        args.out,
    )


if __name__ == '__main__':
    main()
