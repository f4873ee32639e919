"""Hooks that say what happens in distributed runs."""

import json
from pathlib import Path

import torch
from mmengine.dist import all_gather, all_reduce, is_main_process
from mmengine.hooks import Hook

from mmspike.registry import HOOKS


@HOOKS.register_module()
class LossRecorder(Hook):
    """Writes the loss of every iteration, averaged over processes."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        loss = outputs['loss'].detach().clone()
        all_reduce(loss, 'mean')
        if is_main_process():
            with open(self.path, 'a') as file:
                file.write(json.dumps(loss.item()) + '\n')


@HOOKS.register_module()
class SameWeightsOnAllRanks(Hook):
    """Writes how many ranks ended with the same parameters."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def after_train(self, runner) -> None:
        own = torch.cat([p.detach().flatten() for p in runner.model.parameters()])
        ranks = all_gather(own)
        assert own.isfinite().all()
        for other in ranks:
            assert torch.equal(other, own)
        if is_main_process():
            self.path.write_text(f'{len(ranks)} ranks agree')
