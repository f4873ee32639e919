"""Write the generated tables of the documentation, and model-index.yml, from the metafiles.

Between two comments of a page stands a table with a row per entry of the metafiles:

    <!-- models: TASK ... -->  <!-- models end -->      the models below configs/TASK
    <!-- weights -->           <!-- weights end -->     the files that authors published
    <!-- trained -->           <!-- trained end -->     the files that commands write

model-index.yml lists all metafiles, in the order of the tables; it can be changed by hand. --check
writes nothing and fails where a file is out of date.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import model_rows
import weight_rows
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = ('docs/model_zoo.md', 'docs/weights.md')
TABLE = re.compile(
    r'(?P<begin><!-- (?P<kind>models|weights|trained)(?P<tasks>: [\w ]+)?(;.*?)? -->\n)'
    r'.*?(?P<end><!-- (?P=kind) end -->)',
    re.DOTALL,
)


def index(listed: Sequence[str]) -> list[str]:
    """All metafiles: those that are listed in their order, then new ones."""
    there = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob('configs/*/*/metafile.yml'))
    return [path for path in listed if path in there] + [
        path for path in there if path not in listed
    ]


def table(found: re.Match, metafiles: dict[str, dict], up: str) -> str:
    """The text between two comments of a page.

    Args:
        found: A match of :data:`TABLE`.
        metafiles: Path -> content.
        up: Path from the page to the root of the repository.
    """
    if found['kind'] == 'models':
        folders = tuple(f'configs/{task}/' for task in found['tasks'].strip(': ').split())
        rows = [
            model_rows.model_row(model, up)
            for path, content in metafiles.items() if path.startswith(folders)
            for model in content['Models']
        ]  # fmt: skip
        return model_rows.HEADER + ''.join(rows)
    weights = [one for content in metafiles.values() for one in content.get('Weights', ())]
    configs = {one['Name']: one['Config'] for all in metafiles.values() for one in all['Models']}
    if found['kind'] == 'trained':
        rows = [weight_rows.trained_row(one, configs, up) for one in weights if 'Command' in one]
        return weight_rows.TRAINED_HEADER + ''.join(rows)
    rows = [weight_rows.weight_row(one, configs, up) for one in weights if 'Command' not in one]
    return weight_rows.HEADER + ''.join(rows)


def fresh() -> dict[Path, str]:
    """The generated files, and their content according to the metafiles."""
    index_file = ROOT / 'model-index.yml'
    paths = index(yaml.safe_load(index_file.read_text())['Import'])
    metafiles = {path: yaml.safe_load((ROOT / path).read_text()) for path in paths}

    def page(path: str) -> str:
        up = '../' * path.count('/')
        return TABLE.sub(
            lambda found: found['begin'] + table(found, metafiles, up) + found['end'],
            (ROOT / path).read_text(),
        )

    return {
        index_file: 'Import:\n' + ''.join(f'  - {path}\n' for path in paths),
        **{ROOT / path: page(path) for path in PAGES},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='write nothing; fail if out of date')
    args = parser.parse_args()
    stale = {path: text for path, text in fresh().items() if path.read_text() != text}
    if args.check and stale:
        names = ', '.join(path.name for path in stale)
        sys.exit(f'{names}: not what the metafiles say. Refresh with: make docs')
    for path, text in stale.items():
        path.write_text(text)
        print(f'wrote {path.relative_to(ROOT)}')


if __name__ == '__main__':
    main()
