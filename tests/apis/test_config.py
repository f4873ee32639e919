import pytest
import torch
from mmengine.config import Config

from mmspike.apis.config import check_keys, leave_amp_out, load_config, replace_sync_bn
from mmspike.apis.launch import adapt_to_devices
from support.small_runs import CONFIGS


@pytest.mark.parametrize(
    ('wrong', 'right'),
    [
        ('train_dataloder', 'train_dataloader'),
        ('optim_wraper', 'optim_wrapper'),
        ('custom_import', 'custom_imports'),
        ('defualt_hooks', 'default_hooks'),
        ('param_schedulers', 'param_scheduler'),
    ],
)
def test_misspelled_keys_are_refused(wrong, right):
    with pytest.raises(ValueError, match=f"'{wrong}'.*did you mean '{right}'"):
        check_keys(Config({wrong: 1}))


@pytest.mark.slow
def test_variables_of_a_config_are_accepted():
    names = (
        *('train_pipeline', 'test_pipeline', 'tta_pipeline', 'train_dataset', 'dataset_type'),
        *('data_root', 'timesteps', 'max_epochs', 'vis_backends', 'backend_args'),
    )
    check_keys(Config(dict.fromkeys(names, 1)))
    for path in CONFIGS:
        load_config(path)


def test_work_dir_comes_from_the_caller_the_config_or_the_name(tmp_path):
    path = tmp_path / 'my_config.py'
    path.write_text('a = 1')
    assert load_config(path).work_dir == 'work_dirs/my_config'
    assert load_config(path, dict(work_dir='x')).work_dir == 'x'
    assert load_config(path, dict(work_dir='x'), 'y').work_dir == 'y'


def test_sync_bn_is_replaced_everywhere():
    norm = dict(type='SyncBN', eps=1e-3)
    cfg = Config(dict(model=dict(a=[dict(norm_cfg=norm), dict(type='Conv')], norm_cfg=dict(norm))))
    replace_sync_bn(cfg)
    assert cfg.model.a[0].norm_cfg == dict(type='BN', eps=1e-3)
    assert cfg.model.norm_cfg.type == 'BN'
    assert cfg.model.a[1].type == 'Conv'


def test_amp_is_left_out_with_its_options():
    cfg = Config(
        dict(optim_wrapper=dict(type='AmpOptimWrapper', loss_scale='dynamic', clip_grad=dict(a=1)))
    )
    leave_amp_out(cfg)
    assert cfg.optim_wrapper == dict(type='OptimWrapper', clip_grad=dict(a=1))


@pytest.mark.skipif(torch.cuda.is_available(), reason='about machines without a GPU')
def test_mpi_needs_gpus():
    with pytest.raises(ValueError, match="launcher 'mpi' needs GPUs"):
        adapt_to_devices(Config({}), 'mpi')


def test_the_name_of_a_config_without_prefix():
    name = 'sdt-digits-lif-t4_1xb32-coslr-15e_digits'
    with pytest.raises(FileNotFoundError, match=f'mmspike::{name} is the config of that name'):
        load_config(name)
    assert load_config(f'mmspike::{name}').work_dir == f'work_dirs/{name}'
