"""Write the README's tables of models and model-index.yml from the metafiles of the configs.

Between the markers `<!-- models: TASK ... -->` and `<!-- models end -->` of README.md stands a row
per entry of the metafiles below configs/TASK. model-index.yml lists all metafiles, in the order of
the tables; it can be changed by hand. --check writes nothing and fails where a file is out of date.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
# Training data of a metafile -> what the tables call it, where they have a shorter name.
DATA = {
    'COCO 2017': 'COCO',
    'PASCAL VOC 2012 aug': 'VOC 2012 aug',
    'Scenes of UCI handwritten digits': 'digit scenes',
    'UCI handwritten digits': 'digits',
    'event digits (simulated)': 'event digits',
}
NEURONS = {'sfa': 'SFA', 'lif': 'LIF', 'ilif': 'I-LIF', 'qcfs': 'QCFS', 'relu': 'ReLU'}
# The metrics that the tables show; AP50, for instance, they do not.
SHOWN = ('Top 1 Accuracy', 'box AP', 'mask AP', 'mIoU')
HEADER = (
    '| Config | Data | Neuron | T x D | Parameters | Published | Measured |\n'
    '|---|---|---|---|--:|--:|--:|\n'
)
TABLE = re.compile(
    r'(?P<begin><!-- models: (?P<tasks>[\w ]+?); .*? -->\n).*?(?P<end><!-- models end -->)',
    re.DOTALL,
)


def neuron_and_steps(name: str) -> tuple[str, str]:
    """The neuron of a config and its T x D, as the config's name says them.

    ``...-sfa-t1d4_...`` has SFA and 1x4, ``...-qcfs32-spiking-t64_...`` SpikingQCFS and 64x1. A
    network whose name has no neuron has ReLU.
    """
    found = re.search(
        rf'-(?P<kind>{"|".join(NEURONS)})(?P<levels>\d*)(?P<spiking>-spiking)?'
        r'-t(?P<T>\d+)(d(?P<D>\d+))?[-_]',
        name,
    )
    if found is None or found['kind'] == 'relu':
        return 'ReLU', '1'
    neuron = NEURONS[found['kind']]
    if found['spiking']:
        return f'Spiking{neuron}', f'{found["T"]}x1'
    return neuron, f'{found["T"]}x{found["D"] or found["levels"] or 1}'


def row(model: dict) -> str:
    """A line of a table for an entry of a metafile."""
    metadata = model['Metadata']
    data = metadata['Training Data']
    neuron, steps = neuron_and_steps(model['Name'])
    measured = [
        f'{result["Metrics"][metric]:.1f}'
        for metric in SHOWN for result in model['Results'] if metric in result['Metrics']
    ]  # fmt: skip
    cells = [
        f'[{metadata["Label"]}]({model["Config"]})',
        DATA.get(data, data),
        neuron,
        steps,
        f'{metadata["Parameters"]:,}',
        metadata.get('Published', '-'),
        ' / '.join(measured) or '-',
    ]
    return f'| {" | ".join(cells)} |\n'


def index(listed: Sequence[str]) -> list[str]:
    """All metafiles: those that are listed in their order, then new ones."""
    there = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob('configs/*/*/metafile.yml'))
    return [path for path in listed if path in there] + [
        path for path in there if path not in listed
    ]


def fresh() -> dict[Path, str]:
    """The files that follow from the metafiles, and what they should hold."""
    index_file, readme = ROOT / 'model-index.yml', ROOT / 'README.md'
    metafiles = index(yaml.safe_load(index_file.read_text())['Import'])

    def table(found: re.Match) -> str:
        folders = tuple(f'configs/{task}/' for task in found['tasks'].split())
        rows = [
            row(model)
            for path in metafiles if path.startswith(folders)
            for model in yaml.safe_load((ROOT / path).read_text())['Models']
        ]  # fmt: skip
        return f'{found["begin"]}{HEADER}{"".join(rows)}{found["end"]}'

    return {
        index_file: 'Import:\n' + ''.join(f'  - {path}\n' for path in metafiles),
        readme: TABLE.sub(table, readme.read_text()),
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
