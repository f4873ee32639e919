"""The rows of the tables of models."""

import re

# Training data of a metafile -> its shorter name in the tables.
DATA = {
    'COCO 2017': 'COCO',
    'PASCAL VOC 2012 aug': 'VOC 2012 aug',
    'Scenes of UCI handwritten digits': 'digit scenes',
    'UCI handwritten digits': 'digits',
    'event digits (simulated)': 'event digits',
}
NEURONS = {'sfa': 'SFA', 'lif': 'LIF', 'ilif': 'I-LIF', 'qcfs': 'QCFS', 'relu': 'ReLU'}
# The metrics that the tables show. They omit AP50, for example.
SHOWN = ('Top 1 Accuracy', 'box AP', 'mask AP', 'mIoU')
HEADER = (
    '| Config | Data | Neuron | T x D | Parameters | Published | Measured |\n'
    '|---|---|---|---|--:|--:|--:|\n'
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


def model_row(model: dict, up: str = '') -> str:
    """A line of a table for an entry of a metafile.

    Args:
        model: The entry.
        up: Path from the page to the root of the repository.
    """
    metadata = model['Metadata']
    data = metadata['Training Data']
    neuron, steps = neuron_and_steps(model['Name'])
    measured = [
        f'{result["Metrics"][metric]:.1f}'
        for metric in SHOWN for result in model['Results'] if metric in result['Metrics']
    ]  # fmt: skip
    cells = [
        f'[{metadata["Label"]}]({up}{model["Config"]})',
        DATA.get(data, data),
        neuron,
        steps,
        f'{metadata["Parameters"]:,}',
        metadata.get('Published', '-'),
        ' / '.join(measured) or '-',
    ]
    return f'| {" | ".join(cells)} |\n'
