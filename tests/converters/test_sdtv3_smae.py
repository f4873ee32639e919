import pytest
import torch

from mmspike.backbones import SDTV3Large
from mmspike.converters import convert_file, convert_sdtv3_large, convert_sdtv3_smae
from support.reference_cases import Case
from support.weights_alone import weights_alone

ARCH = dict(
    embed_dims=(8, 16, 32, 64), depths=(1, 1, 2, 2), num_heads=8, stem_stride=2, rep_expansion=None
)


@pytest.fixture(scope='module')
def weights():
    return Case.load('sdtv3_spikmae').weights()


def test_every_key_has_a_place(weights):
    conversion = convert_sdtv3_smae(weights)
    assert conversion.arch == ARCH
    assert conversion.missing == []
    assert conversion.unexpected == []
    assert conversion.unused == ['pos_embed']
    assert set(conversion.renamed) == set(weights) - {'pos_embed'}
    assert sorted(conversion.renamed.values()) == sorted(weights_alone(conversion.state_dict))


def test_the_encoder_of_a_file_begins_a_classifier(tmp_path, weights):
    torch.save(dict(model=weights, epoch=199), tmp_path / 'published.pth')
    target = tmp_path / 'converted.pth'
    convert_file(tmp_path / 'published.pth', target, D=8)
    meta = torch.load(target, weights_only=True)['meta']['mmspike']
    assert meta['arch'] == ARCH
    assert meta['neuron'] == dict(type='SFA', D=8, norm=8.0, rounding='half_up')
    net = SDTV3Large(
        ARCH,
        neuron_cfg=dict(type='mmspike.SFA', D=8, rounding='half_up', grad_window='strict'),
        init_cfg=dict(type='Pretrained', checkpoint=str(target), prefix='backbone.'),
    )
    net.init_weights()
    expected = weights['block3.1.mlp.fc1_conv.weight'].unsqueeze(-1)
    assert torch.equal(net.stages[3].blocks[1].mlp.fc1.conv.weight, expected)
    mean = weights['ConvBlock2_1.0.conv1.0.1.running_mean']
    assert torch.equal(net.stages[2].blocks[0].conv1.bn.running_mean, mean)
    assert net.stages[3].blocks[1].scale1.weight.tolist() == pytest.approx([1e-6] * 64)


def test_incomplete_files_are_refused(tmp_path, weights):
    without = {key: value for key, value in weights.items() if key != 'decoder_pred.weight'}
    with pytest.raises(ValueError, match=r'incomplete: no tensor becomes neck\.decoder_pred'):
        convert_sdtv3_smae(without)
    lacking = {
        key: value for key, value in weights.items() if key != 'decoder_blocks.1.attn.qkv.weight'
    }
    torch.save(lacking, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'lacks 1 tensors .*neck\.decoder_blocks\.1\.attn\.qkv'):
        convert_file(tmp_path / 'a.pth', tmp_path / 'b.pth')


def test_another_model_is_refused_by_name(weights):
    classifier = Case.load('sdtv3_spikformer_large').weights()
    with pytest.raises(ValueError, match=r'masked-autoencoder .* an SDT v3 large classifier'):
        convert_sdtv3_smae(classifier)
    with pytest.raises(ValueError, match=r'large classifier, .* masked-autoencoder'):
        convert_sdtv3_large(weights)
