import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS

from mmspike.datasets.event_recordings import CIFAR10DVS
from mmspike.events import MalformedEventsError, read_events
from support import event_files as ef

PIPELINE = [
    dict(type='mmspike.LoadEvents'),
    dict(type='mmspike.IntegrateEvents', timesteps=3),
    dict(type='mmspike.PackEventFrames'),
]
CLASSES = {
    'mmspike.CIFAR10DVS': 10,
    'mmspike.NCaltech101': 3,
    'mmspike.NCars': 2,
    'mmspike.HARDVS': 300,
    'mmspike.DVS128Gesture': 11,
}


def build(kind, root, **options):
    init_default_scope('mmpretrain')
    options.setdefault('pipeline', PIPELINE)
    return DATASETS.build(dict(type=kind, data_root=str(root), **options))


def infos(dataset):
    return [dataset.get_data_info(i) for i in range(len(dataset))]


@pytest.fixture
def root(tmp_path):
    return tmp_path / 'data'


@pytest.mark.parametrize(
    ('kind', 'options', 'numbers'),
    [
        ('mmspike.CIFAR10DVS', dict(), (100, 10)),
        ('mmspike.NCaltech101', dict(train_ratio=0.5), (18, 15)),
        ('mmspike.NCars', dict(), (6, 4)),
        ('mmspike.HARDVS', dict(), (2, 2)),
        ('mmspike.DVS128Gesture', dict(), (2, 2)),
    ],
)
def test_both_splits_load(root, kind, options, numbers):
    ef.EVENT_DATASETS[kind](root)
    seen = []
    for split, number in zip(('train', 'test'), numbers, strict=True):
        dataset = build(kind, root, split=split, **options)
        assert len(dataset) == number
        assert len(dataset.metainfo['classes']) == CLASSES[kind]
        sample = dataset[number - 1]
        assert sample['inputs'].shape == (3, 2, *dataset.sensor_size)
        last = infos(dataset)[-1]
        events = read_events(last['img_path'], dataset.sensor_size, last.get('window'))
        assert sample['inputs'].sum() == len(events.t)
        assert sample['data_samples'].gt_label.item() == CLASSES[kind] - 1 == last['gt_label']
        seen += [(one['img_path'], one.get('window')) for one in infos(dataset)]
    assert len(set(seen)) == sum(numbers)


def test_har_dvs_also_has_a_validation_split(root):
    ef.make_har_dvs(root)
    dataset = build('mmspike.HARDVS', root, split='val')
    assert [one['gt_label'] for one in infos(dataset)] == [0, 299]


def test_the_split_of_cifar10_dvs_is_that_of_the_reference(root):
    """The first 90 % of each class in alphabetical order, 10 before 2, as spikingjelly has it."""
    for name in CIFAR10DVS.METAINFO['classes']:
        (root / name).mkdir(parents=True)
        for i in range(21):
            (root / name / f'cifar10_{name}_{i}.npz').touch()
    train = build('mmspike.CIFAR10DVS', root)
    test = build('mmspike.CIFAR10DVS', root, split='test')
    every = sorted(
        (str(file), label)
        for label, name in enumerate(CIFAR10DVS.METAINFO['classes'])
        for file in (root / name).iterdir()
    )
    halves = ef.spikingjelly_datasets('utils').split_to_train_test_set(0.9, every, 10)
    for dataset, expected in zip((train, test), halves, strict=True):
        assert [(one['img_path'], one['gt_label']) for one in infos(dataset)] == list(expected)
    assert (len(train), len(test)) == (190, 20)
    names = [one['img_path'].rpartition('_')[2] for one in infos(test)][:2]
    assert names == ['8.npz', '9.npz']


def test_gestures_are_cut_out_as_spikingjelly_does(root, tmp_path):
    ef.make_dvs128_gesture(root)
    for label in range(11):
        (tmp_path / 'npz' / str(label)).mkdir(parents=True)
    user = 'user01_led'
    ef.spikingjelly_datasets('dvs128_gesture')._split_aedat_files_to_np(
        user, root / f'{user}.aedat', root / f'{user}_labels.csv', tmp_path / 'npz'
    )
    for one, file in zip(
        infos(build('mmspike.DVS128Gesture', root)),
        (tmp_path / f'npz/0/{user}_0.npz', tmp_path / f'npz/10/{user}_0.npz'),
        strict=True,
    ):
        events = read_events(one['img_path'], (128, 128), one['window'])
        with np.load(file) as expected:
            assert all(np.array_equal(expected[n], v) for n, v in events._asdict().items())
        assert one['gt_label'] == int(file.parent.name)


@pytest.mark.parametrize(
    'line', ['12,0,5', '0,0,5', '1,5,5', '1,-1,5', '1,9', 'class,start,end', '1,0,x']
)
def test_a_line_of_gestures_that_makes_no_sense(root, line):
    ef.make_dvs128_gesture(root)
    path = root / 'user01_led_labels.csv'
    path.write_text(path.read_text() + line + '\n')
    with pytest.raises(ValueError, match=f'user01_led_labels.csv: line 4 .*{line}'):
        build('mmspike.DVS128Gesture', root)


def test_a_line_of_har_dvs_that_makes_no_sense(root):
    ef.make_har_dvs(root)
    for line in ('action_301/x 3', 'action_000/x 3', 'action_1/x 3', 'x'):
        (root / 'train_label.txt').write_text(f'\n{line}\n')
        with pytest.raises(ValueError, match=f'train_label.txt: line 2 .*{line}'):
            build('mmspike.HARDVS', root)


@pytest.mark.parametrize('kind', CLASSES)
def test_missing_files_say_where_they_are_and_how_they_should_lie(root, kind):
    with pytest.raises(FileNotFoundError, match=f'data_root={root}') as error:
        build(kind, root)
    assert 'The files are at https://' in str(error.value)
    assert 'docs/events.md' in str(error.value)
    assert kind.partition('.')[2] in str(error.value)


@pytest.mark.parametrize(
    ('kind', 'file'),
    [
        ('mmspike.HARDVS', 'action_300/dvSave-2021_10_15_train.npz'),
        ('mmspike.DVS128Gesture', 'user01_led.aedat'),
        ('mmspike.DVS128Gesture', 'user01_led_labels.csv'),
    ],
)
def test_a_listed_file_that_is_missing(root, kind, file):
    ef.EVENT_DATASETS[kind](root)
    (root / file).unlink()
    with pytest.raises(FileNotFoundError, match=file):
        build(kind, root)


def test_a_class_that_is_missing(root):
    ef.make_cifar10_dvs(root, 1)
    for file in (root / 'frog').iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError, match='data/frog'):
        build('mmspike.CIFAR10DVS', root)


def test_recordings_of_two_formats_are_not_counted_twice(root):
    ef.make_cifar10_dvs(root, 1)
    ef.write_npz(root / 'frog' / 'cifar10_frog_0.npz', ef.some_events((128, 128)))
    with pytest.raises(ValueError, match=r'several formats \(\.aedat, \.npz\)'):
        build('mmspike.CIFAR10DVS', root)


def damage(root):
    """Three of the training files of N-Cars: truncated, empty of events, backwards in time."""
    folder = root / 'n-cars_train'
    events = ef.some_events((100, 120))
    path = folder / 'cars/obj_000000_td.dat'
    path.write_bytes(path.read_bytes()[:-1])
    ef.write_dat(folder / 'cars/obj_000002_td.dat', events.part(slice(0, 0)))
    ef.write_dat(folder / 'background/obj_000001_td.dat', events._replace(t=events.t[::-1]))


def test_malformed_files_are_errors_when_loaded(root):
    ef.make_n_cars(root)
    damage(root)
    dataset = build('mmspike.NCars', root)
    assert len(dataset) == 6
    assert dataset[0]['inputs'].any()
    for i, message in ((1, 'event 1 '), (3, 'truncated'), (5, 'no events')):
        with pytest.raises(MalformedEventsError, match=message):
            dataset[i]


def test_malformed_files_are_skipped_on_demand_and_counted(root, monkeypatch):
    from mmengine.logging import MMLogger

    lines = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'warning', lines.append)
    monkeypatch.setattr(logger, 'info', lines.append)
    ef.make_n_cars(root)
    assert len(build('mmspike.NCars', root, on_error='skip')) == 6
    assert lines == ['NCars: 0 of 6 recordings are malformed']
    damage(root)
    dataset = build('mmspike.NCars', root, on_error='skip')
    kept = [one['img_path'].rpartition('n-cars_train/')[2] for one in infos(dataset)]
    assert kept == [
        'background/obj_000000_td.dat', 'background/obj_000002_td.dat', 'cars/obj_000001_td.dat',
    ]  # fmt: skip
    assert '3 of 6 recordings are malformed and left out' in lines[1]
    assert 'obj_000000_td.dat is truncated' in lines[1]
    assert all(dataset[i]['inputs'].any() for i in range(3))


def test_what_the_pipeline_sorts_is_not_malformed(root):
    ef.make_n_cars(root)
    damage(root)
    sort = [dict(type='mmspike.LoadEvents', sort=True), *PIPELINE[1:]]
    dataset = build('mmspike.NCars', root, on_error='skip', pipeline=sort)
    assert len(dataset) == 4
    kept = [one['img_path'].rpartition('n-cars_train/')[2] for one in infos(dataset)]
    assert kept[1] == 'background/obj_000001_td.dat'
    assert dataset[1]['inputs'].any()


def test_nothing_is_left_when_all_files_are_malformed(root):
    ef.make_n_cars(root)
    for file in root.glob('n-cars_train/*/*'):
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(MalformedEventsError, match=r'6 of 6 .* none is left:\n.*_td.dat is trunca'):
        build('mmspike.NCars', root, on_error='skip')


def test_labels_of_the_splits_agree(root):
    for name in ('train/left', 'train/up', 'test/right', 'test/up'):
        (root / name).mkdir(parents=True)
        ef.write_npz(root / name / '0.npz', ef.some_events((48, 64)))
    for split, labels in (('train', [0, 2]), ('test', [1, 2])):
        dataset = build(
            'mmspike.EventFolders', root, split=split, sensor_size=(48, 64), train_ratio=None
        )
        assert dataset.metainfo['classes'] == ('left', 'right', 'up')
        assert [one['gt_label'] for one in infos(dataset)] == labels


def test_own_data(root):
    for name in ('left', 'right'):
        (root / name).mkdir(parents=True)
        for i in range(3):
            ef.write_npz(root / name / f'{i}.npz', ef.some_events((48, 64), seed=i))
    (root / 'left' / 'notes.txt').touch()
    dataset = build('mmspike.EventFolders', root, sensor_size=(48, 64), train_ratio=0.6)
    assert dataset.metainfo['classes'] == ('left', 'right')
    assert [one['gt_label'] for one in infos(dataset)] == [0, 0, 1, 1]
    assert dataset[3]['inputs'].shape == (3, 2, 48, 64)
    (root / 'test').mkdir()
    for name in ('left', 'right'):
        (root / name).rename(root / 'test' / name)
    dataset = build(
        'mmspike.EventFolders', root, sensor_size=(48, 64), train_ratio=None, split='test'
    )
    assert len(dataset) == 6


@pytest.mark.parametrize(
    ('kind', 'options', 'message'),
    [
        ('NCars', dict(split='val'), "must be one of train, test, got 'val'"),
        ('NCars', dict(on_error='ignore'), "got 'ignore'"),
        ('CIFAR10DVS', dict(train_ratio=1.0), 'got 1.0'),
        ('EventFolders', dict(), r'sensor_size=\(height, width\)'),
    ],
)
def test_unknown_arguments(root, kind, options, message):
    with pytest.raises(ValueError, match=message):
        build(f'mmspike.{kind}', root, **options)
