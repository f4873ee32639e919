"""A classifier on its whole test set: on integers, and on binary spikes with the same weights."""

import argparse

import torch
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, load_checkpoint
from rich.console import Console
from rich.progress import track
from torch import Tensor

from mmspike.execution import LayerDifference, check_spike_driven, compare_executions, set_execution
from mmspike.utils.config import load_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a classifier')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--double', action='store_true', help='compute in float64')
    parser.add_argument('--batches', type=int, help='stop after so many batches')
    args = parser.parse_args()

    cfg = load_config(args.config)
    init_default_scope(cfg.default_scope)
    preprocessor = cfg.model.get('data_preprocessor') or cfg.data_preprocessor
    model = MODELS.build(dict(cfg.model, data_preprocessor=preprocessor)).eval()
    load_checkpoint(model, args.checkpoint, map_location='cpu')
    dtype = torch.float64 if args.double else torch.float32
    model.to(dtype)

    layers: list[LayerDifference] = []
    answers: list[tuple[Tensor, Tensor]] = []
    labels = []
    for i, batch in enumerate(track(Runner.build_dataloader(cfg.test_dataloader), transient=True)):
        if i == args.batches:
            break
        inputs = model.data_preprocessor(batch, False)['inputs'].to(dtype)
        both: list[Tensor] = []
        layers += compare_executions(model, lambda x=inputs, out=both: out.append(model(x)))
        answers.append(tuple(both))
        labels += [sample.gt_label for sample in batch['data_samples']]
    set_execution(model, 'spike')
    taken = check_spike_driven(model, lambda: model(inputs))

    integer, spike = (torch.cat(one) for one in zip(*answers, strict=True))
    neurons = [one for one in layers if one.spikes is not None]
    labels = torch.cat(labels)
    analog = [one.layer for one in taken if not one.binary]
    show = Console().print
    show(f'{len(labels)} images, {dtype}')
    for name, logits in (('integers', integer), ('spikes', spike)):
        show(f'accuracy on {name}: {100 * (logits.argmax(1) == labels).float().mean():.2f} %')
    show(f'predictions that differ: {int((integer.argmax(1) != spike.argmax(1)).sum())}')
    gaps = (integer - spike).abs().amax(1)
    show(f'largest difference of a logit: {gaps.max():.2g}')
    show(f'images with a logit that differs by more than 0.001: {int((gaps > 1e-3).sum())}')
    show(f'neuron outputs: {sum(one.outputs for one in neurons):,}')
    show(f'neuron outputs that differ: {sum(one.spikes for one in neurons):,}')
    show(f'layers with weights, and attentions, on binary inputs: {len(taken) - len(analog)}')
    show(f'analog: {", ".join(analog)}')


if __name__ == '__main__':
    main()
