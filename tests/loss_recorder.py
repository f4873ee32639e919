"""A hook for distributed runs: writes the loss of every iteration, averaged over processes."""

import json
from pathlib import Path

from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook

from mmspike.registry import HOOKS


@HOOKS.register_module()
class LossRecorder(Hook):
    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        loss = outputs['loss'].detach().clone()
        all_reduce(loss, 'mean')
        if is_main_process():
            with open(self.path, 'a') as file:
                file.write(json.dumps(loss.item()) + '\n')
