import json

import pytest
import torch

from mmspike.classifiers import AccuracyOverTime
from mmspike.registry import METRICS


def sample(best, label, **fields):
    """A data sample whose best class after each step is ``best``."""
    scores = torch.nn.functional.one_hot(torch.tensor(best), 3).float()
    return dict(scores_over_time=scores, gt_label=torch.tensor([label]), **fields)


def run(samples, **options):
    metric = AccuracyOverTime(**options)
    metric.process(None, samples[:1])
    metric.process(None, samples[1:])
    return metric, metric.evaluate(len(samples))


def test_worked_by_hand(tmp_path):
    samples = [sample([0, 1, 1, 1, 1], 1), sample([2, 2, 2, 0, 2], 2)]
    metric, out = run(samples, out_file=str(tmp_path / 'new' / 'curve.json'))
    assert metric.curve.tolist() == [50, 100, 100, 50, 100]
    assert out == {
        'accuracy/top1@1': 50, 'accuracy/top1@2': 100, 'accuracy/top1@4': 50,
        'accuracy/top1@5': 100,
    }  # fmt: skip
    content = json.loads((tmp_path / 'new' / 'curve.json').read_text())
    assert content['top1'] == metric.curve.tolist()
    assert content['samples'] == 2


def test_samples_that_stopped_early_keep_their_last_answer():
    samples = [sample([0, 1], 1, exit_step=2), sample([1, 1, 1, 0], 0, exit_step=4)]
    metric, out = run(samples)
    assert metric.curve.tolist() == [0, 50, 50, 100]
    assert out['accuracy/exit_step'] == 3


def test_what_was_computed_for_others_of_the_batch_does_not_count():
    """Another answer after its exit changes nothing: it was given already."""
    samples = [sample([1, 1, 0, 0], 1, exit_step=2), sample([0, 0, 1, 1], 1, exit_step=4)]
    metric, out = run(samples)
    assert metric.curve.tolist() == [50, 50, 100, 100]
    assert out['accuracy/exit_step'] == 3


def test_samples_without_scores():
    with pytest.raises(ValueError, match='needs scores_module'):
        AccuracyOverTime().process(None, [dict(gt_label=torch.tensor([1]))])


def test_registered():
    assert isinstance(METRICS.build(dict(type='mmspike.AccuracyOverTime')), AccuracyOverTime)
