import pytest
import torch

from mmspike.backbones import MetaSpikformer, SDTV3Large
from mmspike.files import UnsafeCheckpointError
from mmspike.heads.cls import SpikeLinearClsHead
from mmspike.neurons import SFA
from mmspike.pretrained import check_pretrained_files
from support.hostile_files import HOSTILE

ARCH = dict(embed_dims=(4, 4, 8, 8, 8), depths=(1, 1, 1, 1, 1), num_heads=2, stem_stride=2)
LARGE_ARCH = dict(
    embed_dims=(4, 4, 8, 8), depths=(1, 1, 1, 1), num_heads=2, stem_stride=2, rep_expansion=None
)


def pretrained(path, **options):
    return dict(type='Pretrained', checkpoint=str(path), **options)


def backbone(path, **options):
    return MetaSpikformer(ARCH, init_cfg=dict(type='Pretrained', checkpoint=str(path), **options))


def head(path, **options):
    return SpikeLinearClsHead(num_classes=3, in_channels=8, init_cfg=pretrained(path, **options))


@pytest.mark.parametrize('build', [backbone, head])
@pytest.mark.parametrize('prefix', [dict(), dict(prefix='backbone.')], ids=['whole', 'prefix'])
@pytest.mark.parametrize('write', HOSTILE, ids=lambda write: write.__name__)
@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_hostile_weights_are_never_run(tmp_path, write, prefix, build):
    path, marker = tmp_path / 'hostile.pth', tmp_path / 'marker'
    write(path, marker)
    with pytest.raises(UnsafeCheckpointError, match=HOSTILE[write][0]):
        build(path, **prefix).init_weights()
    assert not marker.exists()


@pytest.mark.parametrize('prefix', [None, 'backbone', 'backbone.'])
def test_weights_are_taken(tmp_path, prefix):
    path = tmp_path / 'weights.pth'
    source = MetaSpikformer(ARCH)
    holder = source if prefix is None else torch.nn.ModuleDict(dict(backbone=source))
    torch.save(dict(state_dict=holder.state_dict()), path)
    model = backbone(path, prefix=prefix)
    model.init_weights()
    for name, value in source.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_a_forgotten_prefix_is_told(tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(torch.nn.ModuleDict(dict(backbone=MetaSpikformer(ARCH))).state_dict(), path)
    with pytest.raises(ValueError, match=r'no weight of the MetaSpikformer .*keys are backbone\.'):
        backbone(path).init_weights()


@pytest.mark.parametrize(
    ('own', 'others'), [(MetaSpikformer, SDTV3Large), (SDTV3Large, MetaSpikformer)]
)
def test_weights_of_another_network_are_told(tmp_path, own, others):
    """Both have these stages, and mmengine would take what fits."""
    arch = {MetaSpikformer: ARCH, SDTV3Large: LARGE_ARCH}
    path = tmp_path / 'weights.pth'
    torch.save(others(arch[others]).state_dict(), path)
    model = own(arch[own], init_cfg=pretrained(path))
    name = r'stages\.3\.blocks\.0\.attn\.v\.bn\.weight'
    with pytest.raises(ValueError, match=f'another network: its {name} .* the {own.__name__} has'):
        model.init_weights()


def test_a_single_number_may_have_a_dimension_or_not(tmp_path):
    path = tmp_path / 'weights.pth'
    neuron = dict(type='mmspike.PLIF')
    weights = MetaSpikformer(ARCH, neuron_cfg=neuron).state_dict()
    torch.save({k: v[0] if v.shape == (1,) else v for k, v in weights.items()}, path)
    MetaSpikformer(ARCH, neuron_cfg=neuron, init_cfg=pretrained(path)).init_weights()


def test_the_record_of_a_neuron_is_no_weight(tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save({f'neuron.{key}': value for key, value in SFA().state_dict().items()}, path)
    with pytest.raises(ValueError, match='no weight of the SpikeLinearClsHead'):
        head(path).init_weights()


def test_addresses_that_cannot_be_looked_at_are_refused():
    with pytest.raises(ValueError, match='download it first'):
        backbone('s3://bucket/weights.pth').init_weights()


def test_a_file_from_an_address_is_looked_at_too(tmp_path, monkeypatch):
    """Mmengine takes it from where it was downloaded to."""
    marker = tmp_path / 'marker'
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))

    def download(url, path):
        next(iter(HOSTILE))(path, marker)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    with pytest.raises(UnsafeCheckpointError, match='open'):
        backbone('https://example.org/weights.pth').init_weights()
    assert not marker.exists()


@pytest.mark.parametrize(
    ('name', 'origin'),
    [
        ('metaspikformer-medium-sfa-t1d4_in1k.pth', 'convert.py V3_10.0M_1x4.pth checkpoints/'),
        ('mst-tiny-qcfs16-t1_in1k.pth', 'convert.py imagenet_checkpoint.pth'),
        ('metaspikformer-digits-sfa-t1d4.pth', 'make demo'),
        ('other.pth', 'a converted one'),
    ],
)
def test_a_missing_file_says_where_it_is_from_and_how_to_go_without(
    monkeypatch, tmp_path, name, origin
):
    monkeypatch.chdir(tmp_path)  # make demo leaves such a file in the repository
    path = f'checkpoints/{name}'
    init_cfg = dict(type='Pretrained', checkpoint=path, prefix='backbone.')
    with pytest.raises(FileNotFoundError) as error:
        check_pretrained_files(dict(type='X', backbone=dict(type='Y', init_cfg=[init_cfg])))
    text = str(error.value)
    assert f'there is no file {path}, which model.backbone.init_cfg.0 names' in text
    assert origin in text
    assert '--cfg-options model.backbone.init_cfg.0=None' in text
    with pytest.raises(FileNotFoundError, match='set init_cfg=None'):
        backbone(path).init_weights()


def test_a_missing_file_of_a_training_names_the_training(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    name = 'smae-digits-sfa-t1d4_1xb32-coslr-30e_digits'
    wanted = rf'`python tools/train\.py configs/selfsup/smae/{name}\.py` writes it'
    with pytest.raises(FileNotFoundError, match=wanted):
        backbone(f'work_dirs/{name}/epoch_30.pth').init_weights()


def test_a_missing_teacher_is_told():
    with pytest.raises(FileNotFoundError, match=r'model\.teacher_checkpoint names') as error:
        check_pretrained_files(dict(type='X', teacher_checkpoint='t.pth'))
    assert 'None' not in str(error.value)


def test_damaged_files_of_a_config_are_told(tmp_path):
    (tmp_path / 'torn.pth').write_bytes(b'torn')
    cfg = dict(
        backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'torn.pth')))
    )
    with pytest.raises(ValueError, match='damaged'):
        check_pretrained_files(cfg)
