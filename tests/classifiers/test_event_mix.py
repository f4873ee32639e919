import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch.nn.functional import avg_pool2d, mse_loss, one_hot

from mmspike.classifiers import event_mix
from mmspike.classifiers.event_mix import (
    EventMix,
    mixture_masks,
    weights_by_distance,
    weights_by_events,
)
from mmspike.seeding import seed_all
from support.paths import ROOT

LABELS = ['events', 'distance']


@pytest.fixture(autouse=True)
def _seed():
    seed_all(0)


@pytest.fixture
def fixed_ratio(monkeypatch):
    """Makes the ratio that is drawn a given one."""

    def fix(*ratios):
        monkeypatch.setattr(np.random, 'beta', lambda a, b, size: np.resize(ratios, size))

    return fix


def counts(*shape):
    return torch.poisson(torch.full(shape, 0.4))


def numbered(number, channels=6, size=(7, 9)):
    """A batch in which every value of sample i is i + 1."""
    return torch.arange(1.0, number + 1).view(-1, 1, 1, 1).expand(number, channels, *size).clone()


def scores(number):
    return one_hot(torch.arange(number), number)


# The mask


@pytest.mark.parametrize('size', [(3, 7, 9), (1, 4, 5), (4, 1, 1), (1, 1, 1)])
def test_share_of_a_mask_is_the_ratio(size):
    ratios = torch.tensor([0.0, 0.013, 0.31, 0.5, 0.77, 1.0], dtype=torch.float64)
    masks = mixture_masks(ratios, size, (2, 4))
    assert masks.shape == (6, *size)
    assert masks.dtype == torch.bool
    cells = np.prod(size)
    assert masks.flatten(1).sum(1).tolist() == [round(r * cells) for r in ratios.tolist()]


def test_share_where_all_cells_are_at_one_level(monkeypatch):
    monkeypatch.setattr(event_mix, 'SPREAD', (1e12, 1e12))
    masks = mixture_masks(torch.tensor([0.25, 0.6]), (2, 5, 10), (1, 3))
    assert masks.flatten(1).sum(1).tolist() == [25, 60]


def runs(line):
    """How many pieces of True a row of booleans has."""
    padded = np.diff(np.pad(line.astype(int), (1, 0)))
    return int((padded == 1).sum())


def most_runs(region):
    return max(
        runs(line)
        for axis in range(3)
        for line in np.moveaxis(region, axis, -1).reshape(-1, region.shape[axis])
    )


def test_one_gaussian_cuts_out_one_convex_region_and_more_of_them_other_shapes():
    ratios = torch.full((20,), 0.7)
    one = ~mixture_masks(ratios, (6, 16, 16), (1, 1)).numpy()
    assert {most_runs(region) for region in one} == {1}
    four = ~mixture_masks(ratios, (6, 16, 16), (4, 4)).numpy()
    assert max(most_runs(region) for region in four) > 1


def test_regions_are_where_the_gaussian_is_highest_and_change_over_time(monkeypatch):
    monkeypatch.setattr(event_mix, 'SPREAD', (0.1, 0.1))
    for region in ~mixture_masks(torch.full((10,), 0.99), (10, 20, 30), (1, 1)).numpy():
        # As long along each axis, measured by the length of the axis: 0.1 of it is its spread.
        extents = [np.ptp(where) + 1 for where in region.nonzero()]
        assert extents[0] <= extents[1] <= extents[2]
        steps = region.any((1, 2))
        assert not steps.all()


def test_far_from_a_narrow_gaussian_there_is_still_an_order(monkeypatch):
    monkeypatch.setattr(event_mix, 'SPREAD', (0.05, 0.05))
    for ratio in (0.01, 0.1):
        regions = ~mixture_masks(torch.full((10,), ratio), (8, 16, 16), (1, 1)).numpy()
        assert {most_runs(region) for region in regions} == {1}


def test_numbers_and_weights_of_the_gaussians_are_drawn(monkeypatch):
    seen = []
    einsum = torch.einsum

    def record(equation, weights, *profiles):
        seen.extend(weights)
        return einsum(equation, weights, *profiles)

    monkeypatch.setattr(torch, 'einsum', record)
    mixture_masks(torch.rand(200), (1, 2, 2), (2, 4))
    assert {int((weights > 0).sum()) for weights in seen} == {2, 3, 4}
    drawn = torch.cat([weights[weights > 0] for weights in seen])
    assert drawn.max() < 1
    assert len(drawn.unique()) == len(drawn)


# The frames


@pytest.mark.parametrize('channels', [6, 2])
@pytest.mark.parametrize('label', LABELS)
def test_every_cell_is_of_one_of_two_samples_in_the_drawn_share(fixed_ratio, label, channels):
    drawn = [0.1, 0.35, 0.5, 0.8, 0.99, 0.6]
    fixed_ratio(*drawn)
    inputs = numbered(6, channels)
    mixed, labels = EventMix(label=label)(inputs, scores(6))
    assert mixed.shape == inputs.shape
    frames = mixed.unflatten(1, (-1, 2))
    assert torch.equal(frames[:, :, 0], frames[:, :, 1])
    cells = frames[:, :, 0].flatten(1)
    mixed_at_all = 0
    for i in range(6):
        own = cells[i] == i + 1
        others = cells[i][~own].unique()
        partners = labels[i].nonzero().flatten().tolist()
        if len(partners) == 1:  # its own partner
            assert own.all()
            continue
        mixed_at_all += 1
        (partner,) = set(partners) - {i}
        assert others.tolist() == [partner + 1]
        assert own.sum() == round(drawn[i] * len(own))
    assert mixed_at_all >= 3


def test_samples_of_a_batch_get_ratios_and_masks_of_their_own(fixed_ratio):
    inputs = numbered(6)
    kept = EventMix()(inputs, scores(6))[0] == inputs
    assert len({int(own.sum()) for own in kept}) > 3
    fixed_ratio(0.5)
    kept = EventMix()(inputs, scores(6))[0] == inputs
    assert len({own.numpy().tobytes() for own in kept if not own.all()}) > 3


def test_the_seed_decides():
    inputs, labels = counts(5, 8, 6, 6), scores(5)
    seed_all(3)
    first = EventMix()(inputs, labels)
    again = EventMix()(inputs, labels)
    seed_all(3)
    same = EventMix()(inputs, labels)
    assert all(map(torch.equal, first, same))
    assert not torch.equal(first[0], again[0])


@pytest.mark.parametrize('label', LABELS)
def test_the_given_batch_is_not_changed(label):
    inputs, labels = counts(4, 4, 6, 6), scores(4).float()
    kept = inputs.clone(), labels.clone()
    mixed, _ = EventMix(label=label)(inputs, labels)
    assert not torch.equal(mixed, inputs)
    assert torch.equal(inputs, kept[0])
    assert torch.equal(labels, kept[1])


# The labels


def by_hand(first, second, mask):
    """The share of either's own events that is left, event by event."""
    left, total = [0.0, 0.0], [0.0, 0.0]
    for t, p, h, w in np.ndindex(*first.shape):
        for which, frames in enumerate((first, second)):
            total[which] += float(frames[t, p, h, w])
            if bool(mask[t, 0, h, w]) == (which == 0):
                left[which] += float(frames[t, p, h, w])
    one, two = left[0] / total[0], left[1] / total[1]
    return one / (one + two)


def test_weights_by_events():
    first, second = counts(3, 4, 2, 5, 6), 3 * counts(3, 4, 2, 5, 6)
    mask = mixture_masks(torch.tensor([0.2, 0.5, 0.9]), (4, 5, 6), (2, 4)).unsqueeze(2)
    wanted = [by_hand(*sample) for sample in zip(first, second, mask, strict=True)]
    weights = weights_by_events(first, second, mask)
    assert weights.tolist() == pytest.approx(wanted, rel=1e-5)
    assert len(set(wanted)) == 3


def test_busier_recordings_do_not_weigh_more(fixed_ratio):
    """Constant frames: the share of events is that of the cells, whatever the constant."""
    fixed_ratio(2 / 9)
    inputs = torch.cat((torch.full((1, 6, 6, 9), 1.0), torch.full((1, 6, 6, 9), 50.0)))
    while True:
        mixed, labels = EventMix(label='events')(inputs, scores(2))
        if not torch.equal(mixed, inputs):
            break
    assert labels.tolist() == pytest.approx(np.array([[2 / 9, 7 / 9], [7 / 9, 2 / 9]]))


def row(*values):
    """Frames of one step and one row of pixels, without OFF events."""
    frames = torch.zeros(1, 1, 2, 1, len(values))
    frames[0, 0, 1, 0] = torch.tensor(values)
    return frames


def test_weights_by_distance_by_hand():
    mask = torch.tensor([True, True, False, False]).view(1, 1, 1, 1, 4)
    # The mixed row is 9 0 18 9. It differs from the first one by 0 0 18 9, in averages over 9
    # pixels 0 2 3 3, squares 22; from the second one by 9 0 0 0, in averages 1 1 0 0, squares 2.
    weights = weights_by_distance(row(9.0, 0, 0, 0), row(0.0, 0, 18, 9), mask)
    assert weights.tolist() == pytest.approx([2**2 / (22**2 + 2**2)])


def test_weights_by_distance_are_those_of_the_definition():
    first, second = counts(3, 4, 2, 5, 6), counts(3, 4, 2, 5, 6)
    mask = mixture_masks(torch.tensor([0.2, 0.5, 0.9]), (4, 5, 6), (2, 4)).unsqueeze(2)
    for i, weight in enumerate(weights_by_distance(first, second, mask).tolist()):
        mixed = torch.where(mask[i], first[i], second[i])
        one, two, mixed = (avg_pool2d(x.double(), 3, 1, 1) for x in (first[i], second[i], mixed))
        d1, d2 = float(mse_loss(one, mixed)), float(mse_loss(two, mixed))
        assert weight == pytest.approx(d2**2 / (d1**2 + d2**2), rel=1e-4)


def test_distances_of_any_scale():
    mask = torch.tensor([True, True, False, False]).view(1, 1, 1, 1, 4)
    one, two = row(9.0, 0, 0, 0), row(0.0, 0, 18, 9)
    wanted = weights_by_distance(one, two, mask).item()
    for scale in (1e-12, 1e12):
        assert weights_by_distance(one * scale, two * scale, mask).item() == pytest.approx(wanted)


@pytest.mark.parametrize('label', LABELS)
def test_mixed_labels_sum_to_one_and_are_of_the_two_samples(label):
    soft = torch.rand(6, 5).softmax(1)
    _, labels = EventMix(label=label)(counts(6, 4, 8, 8), soft)
    assert labels.dtype == torch.float32
    assert labels.sum(1).tolist() == pytest.approx([1] * 6)
    assert not torch.equal(labels, soft)
    # On the line between its own label and that of another sample.
    for mixed, own in zip(labels, soft, strict=True):
        away, others = mixed - own, soft - own
        across = (away @ others.T) ** 2 - (away @ away) * others.square().sum(1)
        assert across[others.any(1)].abs().min() < 1e-7


# Samples and ratios at the edge


def test_samples_without_events():
    mask = mixture_masks(torch.tensor([0.25] * 3), (2, 4, 6), (2, 4)).unsqueeze(2)
    some, none = torch.ones(1, 2, 2, 4, 6), torch.zeros(1, 2, 2, 4, 6)
    first, second = torch.cat((none, some, none)), torch.cat((some, none, none))
    assert weights_by_events(first, second, mask).tolist() == [0, 1, 0.25]
    # Nothing against something: as near as there are events missing or too many.
    near = weights_by_distance(first, second, mask)
    assert near[2] == 0.25
    assert 0 < near[0] < 0.5
    assert 0 < near[1] < 0.5


def test_no_event_of_either_sample_is_left():
    mask = torch.tensor([True, False, False, False]).view(1, 1, 1, 1, 4)
    assert weights_by_events(row(0.0, 2, 0, 0), row(3.0, 0, 0, 0), mask).tolist() == [0.25]


def test_values_below_zero():
    """As a bicubic Resize makes them beside bright pixels."""
    mask = torch.tensor([True, True, False, False]).view(1, 1, 1, 1, 4)
    # Left of the first 3 of 4, of the second 2 of 8.
    weights = weights_by_events(row(2.0, -1, 1, 0), row(-1.0, 5, -2, 0), mask)
    assert weights.tolist() == pytest.approx([0.75 / (0.75 + 0.25)])


def test_equal_samples():
    mask = torch.tensor([True, False, False, False]).view(1, 1, 1, 1, 4)
    same = row(1.0, 2, 0, 4)
    assert weights_by_distance(same, same, mask).tolist() == [0.25]


@pytest.mark.parametrize('label', LABELS)
def test_ratios_at_the_ends(fixed_ratio, label):
    inputs, labels = counts(5, 4, 6, 6), scores(5).float()
    fixed_ratio(1.0)
    mixed = EventMix(label=label)(inputs, labels)
    assert torch.equal(mixed[0], inputs)
    assert torch.equal(mixed[1], labels)
    fixed_ratio(0.0)
    frames, swapped = EventMix(label=label)(inputs, labels)
    partners = swapped.argmax(1)
    assert torch.equal(swapped, labels[partners])
    assert torch.equal(frames, inputs[partners])
    assert partners.tolist() != list(range(5))


@pytest.mark.parametrize('label', LABELS)
def test_a_batch_of_one(label):
    inputs, labels = counts(1, 4, 6, 6), torch.tensor([[0.3, 0.7]])
    mixed = EventMix(label=label)(inputs, labels)
    assert torch.equal(mixed[0], inputs)
    assert torch.equal(mixed[1], labels)


@pytest.mark.parametrize('label', LABELS)
def test_half_precision_and_integers(label):
    inputs, labels = 40 * counts(6, 4, 64, 64), scores(6)  # sums beyond what float16 can hold
    made = []
    for dtype in (torch.float32, torch.float16, torch.uint8):
        seed_all(1)
        made.append(EventMix(label=label)(inputs.to(dtype), labels))
        assert made[-1][0].dtype == dtype
        assert torch.equal(made[-1][0].float(), made[0][0])
        assert torch.equal(made[-1][1], made[0][1])
    assert (made[0][1].amax(1) < 1).sum() >= 4


# What cannot be


@pytest.mark.parametrize(
    ('arguments', 'error', 'match'),
    [
        (dict(alpha=0), ValueError, 'alpha must be finite and above 0, got 0'),
        (dict(alpha=float('inf')), ValueError, 'alpha must be finite'),
        (dict(alpha='1'), TypeError, 'alpha must be a number'),
        (dict(num_gaussians=0), ValueError, 'num_gaussians must be at least 1, got 0'),
        (dict(num_gaussians=2.5), TypeError, 'num_gaussians must be an int, got 2.5'),
        (dict(num_gaussians=(4, 2)), ValueError, 'larger of num_gaussians must be at least 4'),
        (dict(num_gaussians=(1, 2, 3)), TypeError, r'num_gaussians must be an int, got \(1, 2, 3'),
        (dict(label='area'), ValueError, "label must be 'distance' or 'events', got 'area'"),
    ],
)
def test_arguments(arguments, error, match):
    with pytest.raises(error, match=match):
        EventMix(**arguments)


def test_numbers_of_gaussians_that_are_fine():
    assert EventMix(num_gaussians=3).num_gaussians == (3, 3)
    assert EventMix(num_gaussians=[1, 5]).num_gaussians == (1, 5)


@pytest.mark.parametrize('shape', [(2, 3, 8, 8), (2, 4, 2, 8, 8), (2, 0, 8, 8)])
def test_shapes_that_are_no_frames(shape):
    with pytest.raises(ValueError, match=re.escape(f'as channels, got {shape}')):
        EventMix()(torch.zeros(shape), scores(2))


def test_as_many_labels_as_samples():
    with pytest.raises(ValueError, match='3 samples have 2 labels'):
        EventMix()(counts(3, 4, 8, 8), scores(2))


# In mmpretrain


def preprocessor(kind='mmspike.EventDataPreprocessor', **augments):
    init_default_scope('mmpretrain')
    return MODELS.build(dict(type=kind, num_classes=4, batch_augments=augments))


def batch(*shape, number=4):
    return dict(
        inputs=[counts(*shape) for _ in range(number)],
        data_samples=[DataSample().set_gt_label(i) for i in range(number)],
    )


@pytest.mark.parametrize('label', LABELS)
def test_in_the_preprocessor_the_mask_is_in_time_and_not_in_polarity(fixed_ratio, label):
    fixed_ratio(0.5)
    prepare = preprocessor(augments=dict(type='mmspike.EventMix', label=label))
    data = batch(3, 2, 8, 10)
    data['inputs'] = [torch.full((3, 2, 8, 10), float(i + 1)) for i in range(4)]
    out = prepare(data, training=True)
    assert out['inputs'].shape == (4, 3, 2, 8, 10)
    assert torch.equal(out['inputs'][:, :, 0], out['inputs'][:, :, 1])
    own = out['inputs'][:, :, 0] == torch.arange(1, 5).view(-1, 1, 1, 1)
    mixed = [i for i in range(4) if not own[i].all()]
    assert len(mixed) >= 2
    for i in mixed:
        assert own[i].sum() == 3 * 8 * 10 / 2
        assert 0 < out['data_samples'][i].gt_score[i] < 1
    assert any(not torch.equal(own[i, 0], own[i, 2]) for i in mixed)


def test_not_in_evaluation():
    data = batch(3, 2, 8, 10)
    before = torch.stack(data['inputs'])
    out = preprocessor(augments=dict(type='mmspike.EventMix'))(data)
    assert torch.equal(out['inputs'], before)
    assert [sample.gt_score.argmax().item() for sample in out['data_samples']] == [0, 1, 2, 3]
    assert all(sample.gt_score.max() == 1 for sample in out['data_samples'])


def test_beside_mixup_and_cutmix(monkeypatch):
    prepare = preprocessor(
        augments=[
            dict(type='Mixup', alpha=0.2),
            dict(type='mmspike.EventMix', label='events'),
            dict(type='CutMix', alpha=1.0),
        ],
        probs=[0.2, 0.5, 0.2],
    )
    chosen = prepare.batch_augments.augments[1]
    assert isinstance(chosen, EventMix)
    calls = []
    monkeypatch.setattr(chosen, 'mix', lambda *a: calls.append(1) or EventMix.mix(chosen, *a))
    for _ in range(40):
        out = prepare(batch(2, 2, 4, 4), training=True)
        total = torch.stack([sample.gt_score for sample in out['data_samples']]).sum(1)
        assert total.tolist() == pytest.approx([1] * 4)
    assert 5 < len(calls) < 35


def test_frames_without_time_in_the_stock_preprocessor():
    prepare = preprocessor(
        'ClsDataPreprocessor', augments=dict(type='mmspike.classifiers.event_mix.EventMix')
    )
    data = batch(2, 8, 10)
    data['inputs'] = [torch.full((2, 8, 10), float(i + 1)) for i in range(4)]
    out = prepare(data, training=True)['inputs']
    assert out.shape == (4, 2, 8, 10)
    assert torch.equal(out[:, 0], out[:, 1])
    assert max(len(sample.unique()) for sample in out) == 2


def test_the_config_of_the_docs_trains():
    """One step of the recipe that the page builds on, with the lines that the page adds."""
    text = (ROOT / 'docs' / 'events.md').read_text()
    (code,) = (s for s in re.findall(r'```python\n(.*?)```', text, re.DOTALL) if 'EventMix' in s)
    added = {}
    exec(code, {}, added)
    (recipe,) = [added.pop('_base_')]
    cfg = Config.fromfile(ROOT / 'configs' / 'classification' / 'sdt' / recipe)
    cfg.merge_from_dict(added)
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    augments = model.data_preprocessor.batch_augments.augments
    (chosen,) = (one for one in augments if isinstance(one, EventMix))
    model.data_preprocessor.batch_augments.augments = [chosen]
    model.data_preprocessor.batch_augments.probs = None
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    data = batch(8, 2, 16, 16)
    losses = model.train().train_step(data, optimizer)
    assert torch.isfinite(losses['loss'])
    assert any(0 < sample.gt_score.max() < 1 for sample in data['data_samples'])
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.slow
def test_mmpretrain_finds_it_with_nothing_imported(run_python):
    code = """
import sys
from mmpretrain.registry import BATCH_AUGMENTS
assert 'mmspike' not in sys.modules
print(BATCH_AUGMENTS.build(dict(type='mmspike.EventMix', alpha=0.5)).alpha)
"""
    assert run_python('-c', code).stdout.split()[-1] == '0.5'
