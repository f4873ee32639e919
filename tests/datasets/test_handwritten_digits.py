from collections import Counter

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS
from sklearn.datasets import load_digits

from mmspike.datasets.handwritten_digits import HandwrittenDigits


def items(split, **options):
    dataset = HandwrittenDigits(split, **options)
    return [dataset.get_data_info(i) for i in range(len(dataset))]


@pytest.mark.slow
def test_the_splits_are_the_whole_set_once():
    train, test = items('train'), items('test')
    assert (len(train), len(test)) == (1437, 360)
    images, labels = load_digits(return_X_y=True)
    whole = Counter(
        (np.round(image * 255 / 16).astype(np.uint8).tobytes(), label)
        for image, label in zip(images, labels, strict=True)
    )
    assert whole == Counter((i['img'][..., 0].tobytes(), i['gt_label']) for i in train + test)


def test_classes_are_stratified():
    share = Counter(i['gt_label'] for i in items('test'))
    assert sorted(share) == list(range(10))
    assert max(share.values()) - min(share.values()) <= 2


@pytest.mark.slow
def test_the_split_is_the_same_every_time():
    a, b = items('test'), items('test')
    assert all(np.array_equal(x['img'], y['img']) for x, y in zip(a, b, strict=True))
    assert [x['gt_label'] for x in a[:5]] == [y['gt_label'] for y in b[:5]]


def test_images_are_grey_in_three_channels():
    image = items('test')[0]['img']
    assert image.shape == (8, 8, 3)
    assert image.dtype == np.uint8
    assert (image == image[..., :1]).all()
    assert image.max() == 255


def test_goes_through_a_pipeline_of_the_host():
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(
        dict(
            type='mmspike.HandwrittenDigits',
            split='test',
            indices=5,
            pipeline=[dict(type='Resize', scale=32), dict(type='PackInputs')],
        )
    )
    assert len(dataset) == 5
    sample = dataset[3]
    assert sample['inputs'].shape == (3, 32, 32)
    assert dataset.metainfo['classes'] == tuple('0123456789')


def test_unknown_split():
    with pytest.raises(ValueError, match="got 'val'"):
        HandwrittenDigits('val')


def contents(split, **options):
    return [(item['gt_label'], item['img'].tobytes()) for item in items(split, **options)]


def test_a_share_of_the_training_images_is_stratified():
    few = contents('train', share=0.1)
    assert len(few) == 142
    assert set(Counter(label for label, _ in few).values()) <= {14, 15}
    # It is a part of the split, in its order.
    everything = iter(contents('train'))
    assert all(one in everything for one in few)


def test_a_seed_draws_the_same_share_every_time_and_another_seed_another():
    a, b = (contents('train', share=0.1, seed=seed) for seed in (0, 1))
    assert a == contents('train', share=0.1)
    assert len(set(a) & set(b)) < 40  # 14 are expected by chance


def test_no_class_is_left_out():
    assert sorted(label for label, _ in contents('train', share=1e-6)) == list(range(10))


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(share=0), ValueError, 'share must be finite and above 0 and at most 1, got 0'),
        (dict(share=1.5), ValueError, 'share must be .* at most 1, got 1.5'),
        (dict(share='10 %'), TypeError, "share must be a number, got '10 %'"),
        (dict(seed=-1), ValueError, 'seed must be at least 0, got -1'),
        (dict(seed=0.5), TypeError, 'seed must be an int, got 0.5'),
    ],
)
def test_bad_shares(options, error, message):
    with pytest.raises(error, match=message):
        HandwrittenDigits('train', **options)
