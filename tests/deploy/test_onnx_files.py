"""What cannot be exported, or read, is one clear error, and nothing half-written stays."""

import copy
import json
import re

import onnx
import onnx_ir as ir
import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmspike.deploy import export_onnx, load
from mmspike.deploy.onnx_files import read_onnx
from mmspike.execution import set_execution
from mmspike.masking import set_masking
from mmspike.neurons import set_stateful
from support.small_runs import CONFIGS, small_config

# --- Writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('model.pth', {}, 'must end in .onnx, got .*model.pth'),
        ('model', {}, 'must end in .onnx'),
        ('model.onnx', dict(precision='int4'), "one of .*'float32', 'int8'.*got 'int4'"),
        ('model.onnx', dict(size=(32,)), r'size must be height and width, got \(32,\)'),
        ('model.onnx', dict(size=(0, 32)), r'size must be height and width, got \(0, 32\)'),
    ],
)
def test_bad_options(name, options, message, exported, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_onnx(exported.cfg, exported.model, tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (set_stateful, r'carries its state from call to call.*set_stateful\(model, False\)'),
        (
            lambda model: set_masking(model, dict(all=0.25)),
            r'drops 25% of its spikes.*set_masking\(model, dict\(all=0\)\)',
        ),
    ],
)
def test_neurons_that_do_not_repeat_their_answers(change, message, exported, tmp_path):
    model = copy.deepcopy(exported.model)
    change(model)
    with pytest.raises(ValueError, match=message):
        export_onnx(exported.cfg, model, tmp_path / 'model.onnx')
    assert not list(tmp_path.iterdir())


def test_a_config_without_test_data(exported, tmp_path):
    cfg = copy.deepcopy(exported.cfg)
    cfg.pop('test_dataloader')
    with pytest.raises(ValueError, match='test_dataloader'):
        export_onnx(cfg, exported.model, tmp_path / 'model.onnx')


def test_pre_training_has_no_answers_to_export(tmp_path):
    from mmengine.registry import MODELS, init_default_scope

    cfg = small_config(next(p for p in CONFIGS if p.name.startswith('smae-digits')), tmp_path)
    init_default_scope('mmpretrain')
    model = MODELS.build(cfg.model)
    with pytest.raises(ValueError, match='test_dataloader'):
        export_onnx(cfg, model, tmp_path / 'model.onnx')


def test_a_folder_in_the_place_of_the_file(exported, tmp_path, monkeypatch):
    (tmp_path / 'model.onnx').mkdir()
    monkeypatch.setattr('mmspike.deploy.onnx_files.export_parts', lambda *args, **kwargs: 1 / 0)
    with pytest.raises(IsADirectoryError, match=r'model\.onnx'):
        export_onnx(exported.cfg, exported.model, tmp_path / 'model.onnx')


@pytest.mark.slow
def test_an_export_changes_nothing_in_the_model(exported, tmp_path):
    model = copy.deepcopy(exported.model).train()
    set_execution(model, 'spike')
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modules = [(name, type(module), module.training) for name, module in model.named_modules()]
    export_onnx(exported.cfg, model, tmp_path / 'model.onnx')
    after = [(name, type(module), module.training) for name, module in model.named_modules()]
    assert after == modules
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    # Neither training nor execution by spikes is in the file.
    ours, theirs = (ir.load(path) for path in (exported.file, tmp_path / 'model.onnx'))
    assert [node.op_type for node in ours.graph] == [node.op_type for node in theirs.graph]


# --- Reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize('share', [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_truncated_files(share, exported, tmp_path):
    content = exported.file.read_bytes()
    path = tmp_path / 'cut.onnx'
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r'cut.onnx'):
        load(path)


def test_other_kinds_of_files(exported, tmp_path):
    with pytest.raises(ValueError, match=r'weights\.pth.*another kind of file'):
        load(exported.checkpoint)
    with pytest.raises(IsADirectoryError, match=r'is a directory: name an \.onnx file in it'):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'there is no file .*nothing\.onnx'):
        load(tmp_path / 'nothing.onnx')


@pytest.mark.slow
def test_a_file_of_someone_else(tmp_path):
    torch.onnx.export(
        nn.Linear(2, 2), (torch.rand(1, 2),), tmp_path / 'linear.onnx', dynamo=True, verbose=False
    )
    with pytest.raises(ValueError, match=r'is no file that mmspike exported.*export_onnx.py'):
        load(tmp_path / 'linear.onnx')


def with_property(exported, path, name, change):
    """A copy of a file in which one of its properties is another."""
    model = onnx.load(exported.file)
    for one in model.metadata_props:
        if one.key == f'mmspike.{name}':
            one.value = change(one.value)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize('text', ['', '{', 'null', '[]', '3', '"a"', '{"a": NaN}', '[' * 100_000])
@pytest.mark.parametrize('name', ['config', 'parts', 'outputs'])
def test_damaged_properties(name, text, exported, tmp_path):
    path = with_property(exported, tmp_path / 'damaged.onnx', name, lambda old: text)
    with pytest.raises(ValueError, match=r'damaged\.onnx'):
        load(path)


def test_properties_of_the_export(exported):
    _, metadata = read_onnx(exported.file)
    assert (metadata.family, metadata.task) == ('SDT', 'classification')
    assert (metadata.timesteps, metadata.D) == (4, None)
    assert metadata.classes == list('0123456789')
    assert json.loads(metadata.properties()['mmspike.precision']) == 'float32'
    assert Config(metadata.config).model.backbone.type == 'mmspike.ExportedNetwork'


HOSTILE = ['os.system', 'planted.SDT', 'mmengine.load', 'builtins.eval', 'mmengine.fileio.load',
           'a.b.SDT', 'torch.nn.Linear', 'subprocess.Popen', 'system', '.', '',
           '__import__("os").system("true")']  # fmt: skip


@pytest.mark.parametrize('name', HOSTILE)
@pytest.mark.parametrize('deep', [False, True])
def test_hostile_types_are_not_built(name, deep, exported, tmp_path):
    def change(text):
        config = json.loads(text)
        bad = dict(type=name, a=f'touch {tmp_path}/done', command=f'touch {tmp_path}/done')
        pipeline = config['test_dataloader']['dataset']['pipeline']
        pipeline.append(dict(type='RandomApply', transforms=[[bad]]) if deep else bad)
        config['model']['head'] = bad if not deep else config['model']['head']
        return json.dumps(config)

    path = with_property(exported, tmp_path / 'hostile.onnx', 'config', change)
    with pytest.raises(ValueError, match=rf'hostile\.onnx was refused.*{re.escape(name)}'):
        load(path)
    assert not (tmp_path / 'done').exists()


@pytest.mark.parametrize('key', ['custom_imports', '_base_', 'custom_hooks'])
def test_keys_that_no_export_writes(key, exported, tmp_path):
    """A config could have modules imported, before any type is built."""
    (tmp_path / 'planted.py').write_text(f'open({str(tmp_path / "done")!r}, "w")')

    def change(text):
        return json.dumps(dict(json.loads(text), **{key: dict(imports=['planted'])}))

    path = with_property(exported, tmp_path / 'hostile.onnx', 'config', change)
    with pytest.raises(ValueError, match=rf'hostile\.onnx was refused.*{key}'):
        load(path)
    assert not (tmp_path / 'done').exists()


def test_another_scope(exported, tmp_path):
    def change(text):
        return json.dumps(dict(json.loads(text), default_scope='os'))

    path = with_property(exported, tmp_path / 'hostile.onnx', 'config', change)
    with pytest.raises(ValueError, match="default_scope is 'os'"):
        load(path)
