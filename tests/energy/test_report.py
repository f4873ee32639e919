"""From counts to energy, by hand, and what is written of it."""

import csv
import io
import json
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
import torch
from rich.cells import cell_len
from rich.console import Console
from torch import nn

from mmspike import set_timesteps
from mmspike.energy import (
    EnergyCounter,
    EnergyCounts,
    EnergyReport,
    LayerCount,
    NeuronCount,
    Origin,
    write_report,
)
from mmspike.energy.html import energy_page
from mmspike.energy.origin import RANDOM
from mmspike.energy.page import SCRIPT
from mmspike.energy.plots import energy_png
from mmspike.energy.report import REGIONS_NOTE
from mmspike.energy.rows import stage_of
from mmspike.energy.tables import energy_table
from mmspike.neurons import LIF, SFA


def layer(kind, calls, macs, analog_macs, macs_once, inputs=0, spikes=0.0, sops=0.0):
    return LayerCount(
        kind=kind, calls=calls, macs=macs, analog_macs=analog_macs, macs_once=macs_once,
        inputs=inputs, spikes=spikes, sops=sops,
    )  # fmt: skip


def neuron(max_spikes, outputs_once, updates, spikes, active):
    return NeuronCount(
        max_spikes=max_spikes, outputs_once=outputs_once, updates=updates, spikes=spikes,
        active=active,
    )  # fmt: skip


# Two images. The spiking layer ran at T=4: a quarter of its MACs are what an ANN does.
COUNTS = EnergyCounts(
    samples=2,
    layers={
        'backbone.stages.0.conv': layer('conv2d', 1, 1000, 1000, 250.0),
        'backbone.stages.1.conv': layer(
            'conv2d',
            1,
            4000,
            0,
            1000.0,
            100,
            20.0,
            700.0,
        ),
        'backbone.stages.1.attn: product 1': layer(
            'product',
            1,
            400,
            0,
            100.0,
            50,
            10.0,
            80.0,
        ),
        'head.fc': layer(
            'linear',
            2,
            60,
            20,
            60.0,
            10,
            5.0,
            20.0,
        ),
    },
    neurons={
        'backbone.stages.1.neuron': neuron(1, 25, 100, 20.0, 20.0),
        'backbone.stages.2.neuron': neuron(1, 2500, 10000, 9.0, 9.0),
        'backbone.stages.3.neuron': neuron(4, 25, 100, 390.0, 90.0),
        'backbone.stages.4.neuron': neuron(4, 25, 100, 96.0, 96.0),
        'backbone.stages.5.neuron': neuron(4, 0, 0, 0.0, 0.0),
    },
    uncounted={'neck: einsum': 2},
    never_called=['backbone.aux'],
)


@pytest.fixture
def report():
    return EnergyReport(COUNTS, name='a <small> net')


def test_energy_by_hand(report):
    first, conv, product, head = report.layers
    assert (first.input, first.rate, first.macs, first.flops) == ('analog', None, 500, 125)
    assert first.energy_pj == first.energy_published_pj == pytest.approx(500 * 4.6)
    assert first.ann_pj == pytest.approx(125 * 4.6)
    assert (conv.input, conv.rate, conv.sops, conv.sops_published) == ('spikes', 0.2, 350, 400)
    assert conv.energy_pj == pytest.approx(350 * 0.9)
    assert conv.energy_published_pj == pytest.approx(400 * 0.9)
    assert conv.ann_pj == pytest.approx(500 * 4.6)
    assert product.sops == product.sops_published == 40
    assert (head.input, head.rate) == ('both', 0.5)
    assert head.energy_pj == pytest.approx((20 * 0.9 + 20 * 4.6) / 2)
    totals = report.totals
    assert totals.energy_mj == pytest.approx(sum(row.energy_pj for row in report.layers) / 1e9)
    assert totals.ratio == pytest.approx(totals.ann_mj / totals.energy_mj)
    assert list(report.stages()) == ['stage 0', 'stage 1', 'head']
    assert report.stages()['stage 1'].sops == 390


def test_other_costs():
    report = EnergyReport(COUNTS, dict(mac_pj=1.0, ac_pj=2.0))
    assert report.totals.energy_mj == pytest.approx((400 * 2 + 510) / 1e9)


def test_warnings(report):
    assert report.dead == ['backbone.stages.2.neuron']
    assert report.saturated == ['backbone.stages.3.neuron', 'backbone.stages.4.neuron']
    text = '\n'.join(report.warnings())
    for words in ('dead neurons (rate below 0.1%): backbone.stages.2', 'neck: einsum',
                  'never ran: backbone.aux', '95% of the most): backbone.stages.3'):  # fmt: skip
        assert words in text
    assert EnergyReport(EnergyCounts(samples=1)).warnings() == []


@pytest.mark.parametrize(('dead', 'most'), [(1, False), (2, False), (3, True), (4, True)])
def test_the_ratio_of_a_network_that_hardly_fires_says_little(dead, most):
    neurons = {f'layer{i}': neuron(1, 2500, 10000, 5000, 5000) for i in range(dead, 4)}
    neurons |= {f'dead{i}': neuron(1, 2500, 10000, 0.0, 0.0) for i in range(dead)}
    report = EnergyReport(EnergyCounts(samples=1, neurons=neurons))
    (warning,) = report.warnings()
    assert ('the ratio to the ANN says little: dead0' in warning) is most
    assert ('says little' in energy_page([report])) is most


def test_what_an_approximation_misses():
    """Spikes in corners, where connections are few; steps count, not more than once."""
    net = nn.Sequential(LIF(tau=1.0, decay_input=False), nn.Conv2d(1, 1, 3, padding=1))
    set_timesteps(net[0], 2)
    x = torch.zeros(2, 1, 4, 4)
    x[:, :, 0, 0] = 1
    with EnergyCounter(net) as counter, torch.no_grad():
        net(x)
    counter.samples = 1
    (layer,) = EnergyReport(counter).layers
    assert layer.sops == 2 * 4
    assert layer.sops_published == 2 * 9
    assert layer.flops == 16 * 9
    assert layer.rate == 1 / 16
    # The formula as it is written: rate x T x MACs of one step.
    assert layer.sops_published == layer.rate * 2 * layer.flops


def test_no_samples():
    with pytest.raises(ValueError, match='no samples were counted'):
        EnergyReport(EnergyCounter(nn.Sequential(SFA())))


def test_a_network_that_did_nothing(tmp_path):
    report = EnergyReport(EnergyCounts(samples=1))
    assert report.totals.ratio is None
    assert [path.name for path in write_report(report, tmp_path)] == [
        'energy.json', 'energy.csv', 'energy.png', 'papers.csv', 'papers.tex'
    ]  # fmt: skip
    assert 'per image' in energy_page([report])


def test_files(report, tmp_path):
    files = write_report(report, tmp_path / 'new' / 'folder')
    assert sorted(path.name for path in files) == [
        'energy.csv', 'energy.json', 'energy.png', 'papers.csv', 'papers.tex', 'rates.png'
    ]  # fmt: skip
    assert sorted(path.name for path in files[0].parent.iterdir()) == sorted(p.name for p in files)
    found = json.loads(files[0].read_text())
    assert found == json.loads(json.dumps(report.to_dict()))
    assert found['units']['energy'].startswith('pJ per image')
    assert found['costs']['mac_pj'] == 4.6
    assert found['timesteps'] == 4
    assert any('D virtual steps are in the rate and not in T' in note for note in found['notes'])
    lines = files[1].read_text().splitlines()
    assert '# network: a <small> net' in lines
    rows = list(csv.DictReader(line for line in lines if not line.startswith('#')))
    assert [row['name'] for row in rows] == list(COUNTS.layers)
    assert float(rows[1]['sops']) == 350
    assert rows[0]['rate'] == ''
    for path in (path for path in files if path.suffix == '.png'):
        pixels = cv2.imread(str(path))
        assert pixels.shape[1] > 1000
        assert pixels.std() > 10


def test_a_failed_write_leaves_the_old_file(report, tmp_path, monkeypatch):
    write_report(report, tmp_path)
    before = (tmp_path / 'energy.json').read_bytes()

    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr('os.fsync', interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_report(EnergyReport(COUNTS, name='other'), tmp_path)
    assert (tmp_path / 'energy.json').read_bytes() == before
    assert not list(tmp_path.glob('.*partial'))


def printed(report, top):
    out = io.StringIO()
    Console(file=out, width=160).print(energy_table(report, top))
    return out.getvalue()


def test_table(report):
    text = printed(report, None)
    for name in ('stages.0.conv', 'stages.1.attn: product 1', 'head.fc', 'total'):
        assert name in text
    assert 'a <small> net: energy per image, 45nm costs, 2 images' in text
    assert 'dead neurons' in text
    text = printed(report, 1)
    assert 'stage 1' in text
    assert 'stages.0.conv' in text
    assert 'head.fc' not in text


class Page(HTMLParser):
    """Collects what a page is made of, and fails on tags that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.cells, self.rows = [], [], 0, []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ('src', 'href')]
        if tag == 'tr':
            self.rows.append(0)
        if tag in ('td', 'th'):
            self.rows[-1] += 1
        if tag not in ('meta', 'img', 'input'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize('number', [1, 2])
def test_page_stands_alone(report, number):
    other = EnergyReport(
        EnergyCounts(
            samples=1,
            layers={'fc': layer('linear', 1, 10, 10, 10.0)},
        ),
        name='ANN',
    )
    text = energy_page([report, other][:number])
    page = Page(text)
    assert len(page.links) == (2 if number == 1 else 3)
    assert all(link.startswith('data:image/png;base64,') for link in page.links)
    # Its own script is all that it runs, and it loads nothing.
    assert len(re.findall('<script', text)) == text.count(f'<script>{SCRIPT}</script>') == 1
    assert not re.search(r'https?://|@import|url\(|fetch|XMLHttpRequest|import\(', text)
    assert 'a &lt;small&gt; net' in text
    assert '<small>' not in text
    assert 'stages.1.attn: product 1' in text
    assert '4.6 pJ per MAC' in text
    assert ('Side by side' in text) == (number == 2)
    assert min(page.rows) >= 2


def test_page_of_nothing():
    with pytest.raises(ValueError, match='no report'):
        energy_page([])


def test_stages():
    assert stage_of('stages.2.blocks.1.conv') == 'stage 2'
    assert stage_of('backbone.stem.0') == 'stem'
    assert stage_of('rpn_head.conv') == 'rpn_head'
    assert stage_of('(model): product 1') == '(model)'
    assert stage_of('neck') == 'neck'


def test_plots_touch_no_global_state(report, tmp_path):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    write_report(report, tmp_path)
    assert plt.get_fignums() == before


def test_rates_of_json_are_those_of_the_counts(report):
    rates = [row['rate'] for row in report.to_dict()['neurons']]
    assert np.allclose(rates, [one.rate for one in COUNTS.neurons.values()])


ORIGIN = Origin(
    config='configs/net.py',
    weights='net.pth',
    checkpoint_sha256='0' * 64,
    images='test data of the config: HandwrittenDigits(split=test)',
    versions=dict(mmspike='0.1', torch='2.9', mmpretrain='1.3'),
    date='2024-02-03T04:05:06+00:00',
    command='python energy_report.py configs/net.py "net.pth"',
)


def test_every_file_says_what_it_was_made_from(tmp_path):
    counts = EnergyCounts(**{
        **vars(COUNTS), 'input_shapes': {'3x8x8': 2}, 'neuron_kinds': {'LIF(tau=2.0)': 5}
    })  # fmt: skip
    report = EnergyReport(counts, name='net', origin=ORIGIN)
    said = {
        'network: net', 'config: configs/net.py', 'weights: net.pth',
        f'SHA-256 of the checkpoint: {"0" * 64}', f'images: {ORIGIN.images}',
        'number of images: 2', 'shape of an image (images): 3x8x8 (2)', 'T: 4', 'D: 4',
        'neuron layers: 5 LIF(tau=2.0)', 'versions: mmspike 0.1, torch 2.9, mmpretrain 1.3',
        f'date: {ORIGIN.date}', f'command: {ORIGIN.command}',
    }  # fmt: skip
    write_report(report, tmp_path)
    lines = (tmp_path / 'energy.csv').read_text().splitlines()
    assert {f'# {line}' for line in said} <= set(lines)
    found = json.loads((tmp_path / 'energy.json').read_text())['origin']
    assert found['weights'] == 'net.pth'
    assert found['checkpoint_sha256'] == '0' * 64
    assert found['versions']['torch'] == '2.9'
    assert found['input_shapes'] == {'3x8x8': 2}
    assert (found['D'], found['random']) == (4, [])
    page = energy_page([report])
    for line in said:
        what, _, value = line.partition(': ')
        assert f'<dt>{what}</dt><dd>{escape(value)}</dd>' in page


def test_a_report_without_an_origin_says_versions_date_and_command(report):
    made_from = report.made_from()
    assert made_from['weights'] == made_from['images'] == 'not stated'
    assert 'torch' in made_from['versions']
    assert made_from['command']


@pytest.mark.slow
@pytest.mark.parametrize('what', ['weights', 'images'])
def test_what_is_random_looks_so_everywhere(what):
    plain, report = (
        EnergyReport(COUNTS, name='net', origin=origin)
        for origin in (ORIGIN, replace(ORIGIN, **{what: RANDOM}))
    )
    banner = f'RANDOM {what.upper()}: '
    assert report.csv().startswith(f'# {banner}')
    assert report.to_dict()['banner'].startswith(banner)
    assert plain.to_dict()['banner'] is None
    ratio = f'{plain.totals.ratio:.2f}'
    for show in (lambda one: energy_page([one]), lambda one: printed(one, None)):
        assert banner in show(report)
        assert 'RANDOM' not in show(plain)
        assert ratio in show(plain)
        assert ratio not in re.sub('base64,[^"]*', '', show(report))
    red = [
        (cv2.imdecode(np.frombuffer(energy_png(one), np.uint8), 1)[:90] == (43, 57, 192)).all(-1)
        for one in (plain, report)
    ]
    assert red[0].sum() < 100 < 10000 < red[1].sum()
    assert 'times the first' not in energy_page([plain, report])
    assert 'times the first' in energy_page([plain, plain])


def test_many_dead_layers_are_folded():
    neurons = {f'layer{i}': neuron(1, 2500, 10000, 0.0, 0.0) for i in range(102)}
    report = EnergyReport(EnergyCounts(samples=1, neurons=neurons))
    (warning,) = report.warnings()
    assert warning.endswith('layer0, layer1, layer2, layer3, layer4 and 97 more')
    assert 'layer5' not in printed(report, None)
    assert len(report.to_dict()['dead']) == 102
    page = energy_page([report])
    folded = re.search('<details><summary>(.*?)</summary>(.*?)</details>', page)
    assert folded[1] == warning
    assert folded[2] == '102 layers: ' + ', '.join(neurons)


@pytest.mark.parametrize('top', [None, 2])
@pytest.mark.parametrize('memory', [False, True])
@pytest.mark.parametrize('terminal', [False, True])
@pytest.mark.parametrize('width', [80, 200])
def test_tables_fit(width, terminal, memory, top):
    layers = {
        f'backbone.stages.{i}.blocks.11.attention.projection.conv': layer(
            'conv2d',
            1,
            10**12,
            0,
            10.0**12,
            100,
            20.0,
            1e12,
        )
        for i in range(4)
    }
    report = EnergyReport(
        EnergyCounts(samples=2, layers=layers, neurons=COUNTS.neurons), memory=memory
    )
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, legacy_windows=False)
    console.print(energy_table(report, top))
    lines = re.sub('\x1b\\[[0-9;]*m', '', out.getvalue()).splitlines()
    assert max(map(cell_len, lines)) <= width
    text = ''.join(lines)
    assert '\N{HORIZONTAL ELLIPSIS}' not in text
    assert '450000.000' in text  # energy, which is never left out
    assert ('not shown, the terminal is too narrow' in text) == (width < 200)
    assert any(
        'MSOPs*' in line and '\N{BOX DRAWINGS HEAVY VERTICAL}' in line for line in lines
    ) == (width == 200)


def test_networks_with_regions_have_a_footnote():
    layers = {'roi_head.bbox_head.fc_cls': layer('linear', 1, 10, 10, 10.0)}
    assert REGIONS_NOTE in EnergyReport(EnergyCounts(samples=1, layers=layers)).notes()
    assert REGIONS_NOTE not in EnergyReport(COUNTS).notes()


def test_the_old_way_to_write_says_the_new_one(report, tmp_path):
    with pytest.warns(DeprecationWarning, match=r'mmspike\.energy\.write_report'):
        files = report.write(tmp_path)
    assert [path.name for path in files][:2] == ['energy.json', 'energy.csv']
