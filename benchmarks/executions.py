"""A model on its whole test set: on integers, and on binary spikes with the same weights.

It takes configs of mmpretrain, mmdet and mmseg, and prints the host's metrics in both executions,
and for how many images the answers are equal.
"""

import argparse
import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import METRICS, init_default_scope
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from mmspike.apis.config import load_config
from mmspike.apis.evaluation import build_test_loader
from mmspike.apis.launch import adapt_to_devices
from mmspike.apis.model import build_model
from mmspike.execution import EXECUTIONS, ROUNDING_NOTE, check_spike_driven, set_execution
from mmspike.neurons import BaseNeuron

# Real numbers further apart than this, in pixels, scores or logits, are not equal.
TOLERANCE = 1e-4


def answers(sample: Any) -> dict[str, Tensor]:
    """The parts of what a host's data sample answers; those of integers are equal or are not."""
    if hasattr(sample, 'pred_instances'):
        found = sample.pred_instances
        return {key: getattr(found, key) for key in ('labels', 'bboxes', 'scores', 'masks')
                if key in found}  # fmt: skip
    if hasattr(sample, 'pred_sem_seg'):
        return dict(label_map=sample.pred_sem_seg.data, logits=sample.seg_logits.data)
    return dict(label=sample.pred_label, scores=sample.pred_score)


@dataclass
class Comparison:
    """Sums over images; parts of an answer are those of :func:`answers`.

    Attributes:
        images: Number of images.
        same: Images where a part is equal, and where all parts are.
        largest: Largest difference of parts of real numbers, over images with as many numbers.
        differ: Elements of the other parts that differ, over the same images.
    """

    images: int = 0
    same: dict[str, int] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    differ: dict[str, int] = field(default_factory=dict)

    def add(self, one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
        """Compare the answers for one image."""
        self.images += 1
        equal = {part: self._equal(part, one[part], other[part]) for part in one}
        equal['everything'] = all(equal.values())
        for part, yes in equal.items():
            self.same[part] = self.same.get(part, 0) + yes

    def _equal(self, part: str, a: Tensor, b: Tensor) -> bool:
        if a.shape != b.shape:
            return False
        if not a.is_floating_point():
            differ = int((a != b).sum())
            self.differ[part] = self.differ.get(part, 0) + differ
            return not differ
        gap = (a - b).abs().max().item() if a.numel() else 0.0
        self.largest[part] = max(self.largest.get(part, 0.0), gap)
        return gap <= TOLERANCE

    def lines(self) -> Iterator[str]:
        """What is equal, in words."""
        for part, images in self.same.items():
            line = f'{part} equal: {images} of {self.images} images'
            if part in self.largest:
                line += f', largest difference {self.largest[part]:.2g}'
            elif part in self.differ:
                line += f', {self.differ[part]:,} elements differ'
            yield line


class Spikes:
    """Compares what neurons fire in one run with what they fired in the run before.

    Neurons that see regions of a detector are left out: rounding may put regions in another order.
    """

    def __init__(self, model: nn.Module) -> None:
        self.outputs = self.fired = self.differ = 0
        self._model = model
        self._kept: list[Tensor] = []

    @contextmanager
    def keep(self) -> Iterator[None]:
        """Run a block on integers."""
        self._kept.clear()
        with self._hooks(lambda module, inputs, out: self._kept.append(out.detach().clone())):
            yield

    @contextmanager
    def compare(self) -> Iterator[None]:
        """Run the same block on spikes."""
        kept = iter(self._kept)

        def hook(module: nn.Module, inputs: tuple, out: Tensor) -> None:
            before, now = next(kept), out.as_subclass(Tensor)
            self.outputs += now.numel()
            self.fired += int(before.count_nonzero())
            self.differ += int((before != now).sum())

        with self._hooks(hook):
            yield

    @contextmanager
    def _hooks(self, hook: Any) -> Iterator[None]:
        handles = [
            module.register_forward_hook(hook)
            for name, module in self._model.named_modules()
            if isinstance(module, BaseNeuron) and not name.startswith('roi_head')
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def build(cfg: Config, checkpoint: str | None, double: bool) -> nn.Module:
    """The config's model in evaluation mode, which computes in float64 with ``double``."""
    model = build_model(cfg, checkpoint)
    if double:
        model.double()
        model.data_preprocessor.register_forward_hook(
            lambda module, inputs, out: dict(out, inputs=out['inputs'].double())
        )
        if cfg.default_scope == 'mmdet':
            finish_in_float32()
    return model


def finish_in_float32() -> None:
    """Let the last steps of a detector, which have no kernels for float64, take float64.

    They are mmcv's suppression of boxes and mmdet's pasting of masks, behind all layers.
    """
    # The package mmcv.ops has a function of the same name.
    extension = import_module('mmcv.ops.nms').ext_module
    mask_head = import_module('mmdet.models.roi_heads.mask_heads.fcn_mask_head')
    suppress, paste = extension.nms, mask_head._do_paste_mask
    extension.nms = lambda boxes, scores, **options: suppress(
        boxes.float(), scores.float(), **options
    )
    mask_head._do_paste_mask = lambda masks, boxes, *rest, **options: paste(
        masks, boxes.float(), *rest, **options
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file of mmpretrain, mmdet or mmseg')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file; without, random weights')
    parser.add_argument('--double', action='store_true', help='compute in float64')
    parser.add_argument(
        '--execution', choices=EXECUTIONS[1:], default='spike', help='spikes; default spike'
    )
    args = parser.parse_args()

    cfg = load_config(args.config)
    adapt_to_devices(cfg, 'none')
    init_default_scope(cfg.default_scope)
    model = build(cfg, args.checkpoint, args.double)
    loader = build_test_loader(cfg)
    metrics = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    evaluators = {}
    executions = (EXECUTIONS[0], args.execution)
    for execution in executions:
        evaluators[execution] = Evaluator([METRICS.build(dict(metric)) for metric in metrics])
        evaluators[execution].dataset_meta = loader.dataset.metainfo

    comparison, spikes = Comparison(), Spikes(model)
    for batch in track(loader, transient=True):
        both = []
        for execution, watch in zip(executions, (spikes.keep, spikes.compare), strict=True):
            set_execution(model, execution)
            with torch.no_grad(), watch():
                samples = model.test_step(batch)
            both.append([answers(sample) for sample in samples])
            evaluators[execution].process(samples, batch)
        for one, other in zip(*both, strict=True):
            comparison.add(one, other)
    taken = check_spike_driven(model, lambda: model.test_step(batch))

    show = Console(highlight=False, soft_wrap=True).print
    show(f'{comparison.images} images, {"float64" if args.double else "float32"}')
    for execution, evaluator in evaluators.items():
        with redirect_stdout(io.StringIO()):  # COCO's evaluation prints tables
            found = evaluator.evaluate(len(loader.dataset))
        numbers = ', '.join(f'{name} {value:.6g}' for name, value in found.items())
        show(f'{execution}: {numbers}')
    for line in comparison.lines():
        show(line)
    rate = spikes.fired / spikes.outputs
    show(f'neuron outputs: {spikes.outputs:,}, {rate:.1%} of them not 0')
    show(f'neuron outputs that differ: {spikes.differ:,}')
    if spikes.differ:
        show(ROUNDING_NOTE)
    analog = [one.layer for one in taken if not one.spikes]
    show(f'layers with weights, and attentions, on spikes: {len(taken) - len(analog)}')
    show(f'analog: {", ".join(analog)}')


if __name__ == '__main__':
    main()
