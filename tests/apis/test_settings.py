import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmspike import get_timesteps
from mmspike.apis.config import load_config
from mmspike.apis.settings import apply_settings
from mmspike.neurons.integer import IntegerNeuron, integer_neurons
from support.paths import ROOT
from support.small_runs import CONFIGS

IN_TIME = [path for path in CONFIGS if 'timesteps' in str(Config.fromfile(path).model)]
DETECTION = ROOT / (
    'configs/detection/metaspikformer/mask-rcnn_metaspikformer-medium-sfa-t1d4_fpn_2xb4-1x_coco.py'
)
EVENTS = ROOT / (
    'configs/classification/sdt/sdt-2-256-lif-t10_1xb16-amp-coslr-210e_dvs128-gesture.py'
)


@pytest.mark.slow
@pytest.mark.parametrize('path', IN_TIME, ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_every_config_is_built_with_the_steps_of_its_top_level(path):
    cfg = load_config(path, dict(timesteps=3))
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    assert get_timesteps(model) == 3
    for step in cfg.train_dataloader.dataset.get('pipeline', ()):
        assert step.get('timesteps', 3) == 3


def test_a_child_sets_t_and_d_in_one_place_each(tmp_path):
    child = tmp_path / 'child.py'
    child.write_text(f"_base_ = '{DETECTION}'\ntimesteps = 2\nD = 8\n")
    cfg = load_config(child)
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model)
    assert get_timesteps(model) == 2
    found = {(neuron.D, neuron.norm) for neuron in integer_neurons(model)}
    # The backbone divides by D, the heads read integers.
    assert found == {(8, 8.0), (8, 1.0)}


def test_what_changed_is_told_and_a_second_time_changes_nothing():
    cfg = Config.fromfile(EVENTS)
    cfg.timesteps = 5
    changed = apply_settings(cfg)
    assert changed['model.backbone.timesteps'] == (10, 5)
    assert changed['model.head.timesteps'] == (10, 5)
    for part in ('train', 'val', 'test'):
        assert changed[f'{part}_dataloader.dataset.pipeline.1.timesteps'] == (10, 5)
    assert len(changed) == 5
    assert apply_settings(cfg) == {}


def test_integer_neurons_that_name_no_d_get_one():
    cfg = Config(
        dict(
            model=dict(
                a=dict(type='mmspike.SFA'),
                b=[dict(type='ILIF', norm=1)],
                c=dict(type='mmspike.LIF'),
            ),
            D=2,
        )
    )
    assert apply_settings(cfg) == {'model.a.D': (None, 2), 'model.b.0.D': (None, 2)}
    assert 'D' not in cfg.model.c
    for neuron, norm in ((cfg.model.a, 2), (cfg.model.b[0], 1)):
        built = MODELS.build(dict(neuron, type=f'mmspike.{neuron.type.split(".")[-1]}'))
        assert isinstance(built, IntegerNeuron)
        assert (built.D, built.norm) == (2, norm)


def test_an_image_of_all_events_has_no_steps():
    step = dict(type='mmspike.IntegrateEvents', timesteps=None)
    cfg = Config(dict(train_dataloader=dict(dataset=dict(pipeline=[step])), timesteps=4))
    assert apply_settings(cfg) == {}


@pytest.mark.parametrize('path', sorted(set(CONFIGS) - set(IN_TIME)), ids=lambda path: path.stem)
def test_a_network_without_steps_refuses_them(path):
    assert '-qcfs' in path.stem or '-relu' in path.stem or '-t' not in path.stem
    with pytest.raises(ValueError, match=r'timesteps=3 .* no part of the model has timesteps'):
        load_config(path, dict(timesteps=3))


@pytest.mark.parametrize(
    ('setting', 'error', 'words'),
    [
        (dict(timesteps=0), ValueError, 'timesteps must be at least 1, got 0'),
        (dict(timesteps='4'), TypeError, "timesteps must be an int, got '4'"),
        (dict(D=2.5), TypeError, 'D must be an int, got 2.5'),
    ],
)
def test_settings_are_positive_integers(setting, error, words):
    with pytest.raises(error, match=words):
        apply_settings(Config(setting))
