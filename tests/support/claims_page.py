"""The table of docs/claims.md: what is claimed of every family, checked on small networks."""

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from mmpretrain.models import ResNet
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.model.sew_resnet import sew_resnet18
from spikingjelly.activation_based.model.spike_driven_transformer import SpikeDrivenTransformer
from torch import nn

from mmspike.claims import BROKEN, HOLDS, ClaimsReport, check_claims
from mmspike.claims.hosts import claims_of
from support.exported_networks import firing_model
from support.firing_networks import give_statistics
from support.paths import ROOT
from support.small_runs import CONFIGS

PAGE = ROOT / 'docs' / 'claims.md'
_BEGIN, _END = '<!-- claims: begin -->\n', '<!-- claims: end -->\n'
IMAGE, SCENE, EVENTS = (3, 32, 32), (3, 64, 96), (8, 2, 48, 48)

# A row's name: the begin of a config's name, and the shape of one sample.
FAMILIES = {
    'MetaSpikformer, SFA, T=1': ('metaspikformer-digits-sfa-t1d4_1xb32', IMAGE),
    'MetaSpikformer, I-LIF, T=4': ('metaspikformer-digits-ilif-t4d4_1xb32-coslr-15e', IMAGE),
    'MetaSpikformer, LIF, T=4': ('metaspikformer-digits-lif-t4', IMAGE),
    'SDT, LIF, T=4': ('sdt-digits', IMAGE),
    'SDT for events, LIF, T=8': ('sdt-1-64-lif-t8', EVENTS),
    'SDT v2, LIF, T=4': ('sdtv2-digits', IMAGE),
    'SDT v3 large, SFA, T=1': ('sdtv3-digits-sfa-t1d4_1xb32-coslr', IMAGE),
    'MST, QCFS (before conversion)': ('mst-digits-qcfs32-t1_', IMAGE),
    'ResNet-18, QCFS (before conversion)': ('resnet18-w16-qcfs8-t1', IMAGE),
    'Swin, QCFS (before conversion)': ('swin-digits-qcfs16-t1', IMAGE),
    'MetaSpikformer + spiking RetinaNet': ('retinanet_metaspikformer-digits', SCENE),
    'MetaSpikformer + spiking Mask R-CNN': ('mask-rcnn_metaspikformer-digits', SCENE),
    'MetaSpikformer + FCOS of mmdet': ('fcos_', SCENE),
    'MetaSpikformer + spiking semantic FPN': ('semantic-fpn_metaspikformer-digits', SCENE),
    'MetaSpikformer + UPerNet of mmseg': ('upernet_', SCENE),
}


def _sdt_of_spikingjelly() -> nn.Module:
    return SpikeDrivenTransformer(T=4, embed_dims=32, num_heads=2, depths=2, num_classes=5)


def _sew_resnet() -> nn.Module:
    net = sew_resnet18(cnf='ADD', spiking_neuron=neuron.IFNode, num_classes=5)
    functional.set_step_mode(net, 'm')
    return net


def _psn() -> nn.Module:
    return nn.Sequential(
        layer.Conv2d(3, 8, 3, step_mode='m'), layer.BatchNorm2d(8, step_mode='m'),
        neuron.PSN(T=4), layer.Conv2d(8, 8, 3, step_mode='m'),
    )  # fmt: skip


# Those of other projects: how each is made, layout, T.
FOREIGN: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    'SpikeDrivenTransformer of spikingjelly': (_sdt_of_spikingjelly, 'steps', 4),
    'SEW-ResNet-18 of spikingjelly, IF': (_sew_resnet, 'steps', 4),
    'a layer of PSN of spikingjelly': (_psn, 'steps', 4),
    'ResNet-18 of mmpretrain': (lambda: ResNet(18), 'images', 1),
}
NAMES = (*FAMILIES, *FOREIGN)


def reports_of(name: str) -> list[ClaimsReport]:
    """Check the claims of one row, with random weights whose norms were measured."""
    torch.manual_seed(0)
    if name in FOREIGN:
        make, layout, steps = FOREIGN[name]
        model = make()
        x = torch.randn(*((steps, 3) if layout == 'steps' else (3,)), 3, 32, 32)
        give_statistics(model, lambda: model(x))
        return [check_claims(model, x, layout=layout, timesteps=steps, name=name)]
    begin, shape = FAMILIES[name]
    path = next(path for path in CONFIGS if path.name.startswith(begin))
    with tempfile.TemporaryDirectory() as folder:
        _, model = firing_model(path, Path(folder), torch.randn(2, *shape))
        return list(claims_of(model, torch.randn(3, *shape), name))


def rows_of(name: str) -> list[str]:
    """The lines of a table for one network: claim, verdict, finding."""
    lines = []
    for report in reports_of(name):
        cells = [_verdict(claim.verdict) for claim in report.claims]
        where = [
            f'{claim.name}: {len(claim.places)} modules, first `{claim.places[0].layer}`'
            if len(claim.places) > 1
            else f'{claim.name}: {", ".join(f"`{one.layer}`" for one in claim.places)}'
            for claim in report.broken
        ]
        lines.append(f'| {report.name} | {" | ".join(cells)} | {"; ".join(where) or "-"} |')
    return lines


def _verdict(verdict: str) -> str:
    return {HOLDS: 'holds', BROKEN: '**broken**'}.get(verdict, '-')


def read_rows(page: str) -> dict[str, list[str]]:
    """The lines of the table by the network's name."""
    rows: dict[str, list[str]] = {}
    for line in _table(page):
        name = line.split(' | ')[0].removeprefix('| ')
        rows.setdefault(name.split(': roi_head')[0], []).append(line)
    return rows


def _table(page: str) -> Iterator[str]:
    text = page.partition(_BEGIN)[2].partition(_END)[0]
    yield from (line for line in text.splitlines()[2:] if line)


def write(page: str, rows: dict[str, list[str]], claims: list[str]) -> str:
    """The page with this table."""
    head = f'| network | {" | ".join(claims)} | where |\n|---{"|:-:" * len(claims)}|---|\n'
    body = ''.join(f'{line}\n' for name in NAMES for line in rows[name])
    return re.sub(
        f'{re.escape(_BEGIN)}.*{re.escape(_END)}', lambda _: _BEGIN + head + body + _END, page,
        flags=re.S,
    )  # fmt: skip
