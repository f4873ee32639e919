"""Write trees on aerial photos for detection, in COCO's layout.

Four photos with 951 boxes come from the archive of the package deepforest. They are cut into tiles
that overlap; training, validation and a far test are on different photos.
"""

from mmspike.apis.packaged_data import arguments, convert
from mmspike.datasets.tree_photos import ARCHIVE, write_trees


def main() -> None:
    parser = arguments(__doc__, 'data/trees', ARCHIVE)
    parser.add_argument('--size', type=int, default=256, help='of a tile, in pixels; default 256')
    parser.add_argument('--overlap', type=int, default=64, help='of tiles; default 64')
    args = parser.parse_args()
    convert(
        'trees.py',
        lambda: write_trees(
            args.out, ARCHIVE.fetch(args.archive), size=args.size, overlap=args.overlap
        ),
        args.out,
    )


if __name__ == '__main__':
    main()
