"""Write nuclei of cells for detection and segmentation, in COCO's and ADE20K's layout.

One image with 125 nuclei comes from the archive of the package stardist. It is cut into tiles that
overlap; training is on its left half, validation on the right one.
"""

from mmspike.apis.packaged_data import arguments, convert
from mmspike.datasets.nuclei import ARCHIVE, write_nuclei


def main() -> None:
    parser = arguments(__doc__, 'data/nuclei', ARCHIVE)
    parser.add_argument('--size', type=int, default=128, help='of a tile, in pixels; default 128')
    parser.add_argument('--overlap', type=int, default=64, help='of tiles; default 64')
    args = parser.parse_args()
    convert(
        'nuclei.py',
        lambda: write_nuclei(
            args.out, ARCHIVE.fetch(args.archive), size=args.size, overlap=args.overlap
        ),
        args.out,
    )


if __name__ == '__main__':
    main()
