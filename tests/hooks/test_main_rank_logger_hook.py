import json

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import TensorDataset


class Toy(BaseModel):
    def forward(self, x, mode='tensor'):
        return [x.sum().item()]


class Score(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(score=float(len(results)))


@pytest.mark.parametrize('main', [True, False], ids=['main', 'other'])
def test_the_main_process_alone_writes_the_results(tmp_path, monkeypatch, main):
    monkeypatch.setattr('mmspike.hooks.main_rank_logger_hook.is_main_process', lambda: main)
    runner = Runner(
        Toy(),
        str(tmp_path),
        test_dataloader=dict(
            dataset=TensorDataset(torch.rand(4, 2)),
            batch_size=1,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        ),
        test_evaluator=[Score()],
        test_cfg=dict(),
        default_hooks=dict(logger=dict(type='mmspike.MainRankLoggerHook')),
        default_scope='mmengine',
        experiment_name=f'logger_{main}',
    )
    assert runner.test()['score'] == 4
    written = [json.loads(file.read_text())['score'] for file in tmp_path.glob('*/*.json')]
    assert written == [4] * main
