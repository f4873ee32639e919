"""Slots, spikes, synaptic operations and energy of the encodings of integers.

    python benchmarks/slots.py                      # random weights, D of 1 to 15
    python benchmarks/slots.py CONFIG CHECKPOINT    # a trained network with its own D

One pass over the images counts all encodings, because the spikes of each follow from the integers.
Of random weights, the numbers show how encodings compare where neurons use their whole range.
"""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice

import torch
from mmengine.registry import init_default_scope
from torch import nn

from mmspike.apis.config import load_config
from mmspike.apis.evaluation import build_test_loader
from mmspike.apis.launch import adapt_to_devices
from mmspike.apis.model import build_model
from mmspike.backbones import MetaSpikformer
from mmspike.energy import EnergyCounter, EnergyCounts, EnergyReport
from mmspike.execution.encodings import ENCODINGS

LARGEST = (1, 2, 4, 8, 15)
HEADER = (
    '| D | encoding | slots | spikes per value, uniform 0..D | spikes per value | MSOPs '
    '| M shifts | µJ on spikes | µJ with memory |\n|--:|---' + '|--:' * 7 + '|'
)


def random_network(D: int) -> nn.Module:
    """MetaSpikformer tiny, with random weights; membranes have mean 0 and deviation D/2."""
    net = MetaSpikformer('tiny', neuron_cfg=dict(type='mmspike.SFA', D=D))
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.constant_(norm.weight, D / 2)
        norm.momentum = 1.0
    net.train()
    with torch.no_grad():
        net(torch.rand(8, 3, 64, 64))  # statistics
    return net.eval()


def counts_of(model: nn.Module, run: Callable[[], None]) -> dict[str, EnergyCounts]:
    """Counts of one run by encoding."""
    with ExitStack() as stack, torch.no_grad():
        counters = {
            name: stack.enter_context(EnergyCounter(model, encoding=name)) for name in ENCODINGS
        }
        run()
    return {name: counter.counts() for name, counter in counters.items()}


def rows(counts: dict[str, EnergyCounts]) -> list[str]:
    """Lines of the table, one per encoding."""
    lines = []
    for name, one in counts.items():
        report, encoding = EnergyReport(one, memory=True), ENCODINGS[name]
        D, n = report.max_spikes, one.samples
        uniform = encoding.spikes(torch.arange(D + 1.0), D).mean().item()
        shifts = sum(layer.shifts for layer in one.layers.values())
        analog = report.totals.macs * report.costs.mac_pj
        lines.append(
            f'| {D} | {name} | {len(encoding.weights(D))} | {uniform:.2f} | {one.mean_rate:.3f} '
            f'| {report.totals.sops / 1e6:.3f} | {shifts / n / 1e6:.3f} '
            f'| {report.totals.energy_mj * 1e3 - analog / 1e6:.3f} '
            f'| {report.totals.total_mj * 1e3:.1f} |'
        )
    return lines


def trained(config: str, checkpoint: str | None, images: int) -> dict[str, EnergyCounts]:
    """Counts of a config's model on its first test images, in whole batches."""
    cfg = load_config(config)
    adapt_to_devices(cfg, 'none')
    init_default_scope(cfg.default_scope)
    model = build_model(cfg, checkpoint)
    batches = build_test_loader(cfg)
    number = -(-images // batches.batch_size)

    def run() -> None:
        for batch in islice(batches, number):
            model.test_step(batch)

    return counts_of(model, run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('config', nargs='?', help='config; without, random weights of every D')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file; without, random weights')
    parser.add_argument('--images', type=int, default=32, help='number of images; default 32')
    parser.add_argument('--D', type=int, nargs='+', default=LARGEST, help='of random weights')
    args = parser.parse_args()
    torch.manual_seed(0)
    weights = 'trained weights' if args.checkpoint else 'RANDOM WEIGHTS'
    if args.config:
        lines = rows(trained(args.config, args.checkpoint, args.images))
    else:
        images = torch.rand(args.images, 3, 64, 64)
        lines = []
        for D in args.D:
            net = random_network(D)
            lines += rows(counts_of(net, lambda net=net: net(images)))
    print('\n'.join([f'Per image, {weights}:\n', HEADER, *lines]))  # whole, after what is logged


if __name__ == '__main__':
    main()
