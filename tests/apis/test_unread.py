import pytest
from mmengine.config import Config

from mmspike.apis.unread import unread_settings
from support.paths import ROOT
from support.small_runs import CONFIGS, DIGITS

SEGMENTOR = ROOT / (
    'configs/segmentation/digit-scenes/'
    'semantic-fpn_metaspikformer-digits-sfa-t1d4_1xb8-1500_digit-scenes.py'
)


@pytest.fixture
def base(tmp_path):
    (tmp_path / 'base.py').write_text(
        "data_root = 'a/'\n"
        'rate, start = 0.1, 0.2\n'
        'steps = [dict(n=i) for i in range(2)]\n'
        'hint = 3\n'
        'train_dataloader = dict(dataset=dict(data_root=data_root, steps=steps))\n'
        'optim_wrapper = dict(optimizer=dict(lr=rate), start=start)\n'
    )

    def child(text: str, **options) -> dict:
        (tmp_path / 'child.py').write_text(f"_base_ = './base.py'\n{text}\n")
        cfg = Config.fromfile(tmp_path / 'child.py')
        cfg.merge_from_dict(options)
        return unread_settings(cfg)

    return child


def test_a_childs_value_for_a_name_that_only_the_base_reads(base):
    found = base("data_root = 'mine/'\nrate = 0.5\nhint2 = _base_.hint")
    assert found == {
        'data_root': ['train_dataloader.dataset.data_root'],
        'rate': [],
        'hint2': [],
    }


def test_what_the_child_uses_is_read(base):
    assert base('x = _base_.hint\noptim_wrapper = dict(optimizer=dict(lr=x))') == {}


def test_a_variable_of_the_base_that_nothing_uses(base):
    assert base('model = dict(a=1)') == {'hint': []}


def test_the_command_line(base):
    text = 'x = _base_.hint\nmodel = dict(a=x)'
    found = base(text, data_root='mine/', model=dict(a=2), timesteps=4, time=1)
    assert found == {'data_root': ['train_dataloader.dataset.data_root'], 'time': []}


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_shipped_configs_have_none(path):
    assert unread_settings(Config.fromfile(path)) == {}


def test_a_config_without_a_file():
    assert unread_settings(Config(dict(data_root='a'))) == {}


def test_visualizer_backends_are_set_where_they_act(tmp_path):
    child = tmp_path / 'child.py'
    child.write_text(f"_base_ = '{DIGITS}'\nvis_backends = [dict(type='TensorboardVisBackend')]\n")
    found = unread_settings(Config.fromfile(child))
    assert found == {'vis_backends': ['visualizer.vis_backends']}


def test_a_preprocessor_beside_that_of_the_model(tmp_path):
    child = tmp_path / 'child.py'
    child.write_text(
        f"_base_ = '{SEGMENTOR}'\nmodel = dict(data_preprocessor=dict(mean=[1.0] * 3))\n"
    )
    found = unread_settings(Config.fromfile(child))
    assert found == {'data_preprocessor': ['model.data_preprocessor']}


def test_base_that_is_an_expression(tmp_path):
    """As mmengine takes it; a config outside of the project names one of mmspike so."""
    (tmp_path / 'base.py').write_text('width = 3\n')
    child = tmp_path / 'child.py'
    child.write_text("_base_ = ''.join(['base', '.py'])\nwidth = 4\n")
    assert list(unread_settings(Config.fromfile(child))) == ['width']
