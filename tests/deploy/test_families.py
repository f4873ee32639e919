"""A network of every family and task says the same in its files, in both runtimes."""

import numpy as np
import pytest
import torch

from mmspike.deploy import export_onnx
from mmspike.deploy.agreement import WatchedFile, layer_inputs
from mmspike.deploy.onnx_files import part_path, read_onnx
from mmspike.hosts import NETWORK, head_name, parts_of, region_heads
from support.exported_networks import DENSE, fired_in, firing_model, rounded
from support.small_runs import CONFIGS

DIGITS, EVENTS = (3, 32, 32), (8, 2, 48, 48)
IMAGE = (3, *DENSE)
# Whether free height and width are asked for, and found. A grid of windows or pools has one size.
# To ask takes time, and the backbones of the dense ones are those of the classifiers.
FREE, GRID, FIXED = (True, True), (True, False), (False, False)
# Begin of a config's name: shape of an image, and its sizes.
FAMILIES = {
    'metaspikformer-digits-sfa-t1d4-kd': (DIGITS, FIXED),  # two heads
    'metaspikformer-digits-ilif-t4d4_1xb32-coslr-15e': (DIGITS, FIXED),
    'metaspikformer-digits-lif-t4': (DIGITS, FREE),
    'sdt-digits': (DIGITS, FREE),
    'sdt-1-64-lif-t8': (EVENTS, FREE),
    'sdtv2-digits': (DIGITS, FREE),
    'sdtv3-digits-sfa-t1d4_1xb32-coslr': (DIGITS, FIXED),
    'mst-digits-qcfs32-t1_': (DIGITS, GRID),
    'resnet18-w16-qcfs8-t1': (DIGITS, FREE),
    'swin-digits-qcfs16-t1': (DIGITS, GRID),
    'retinanet_metaspikformer-digits': (IMAGE, FREE),
    'mask-rcnn_metaspikformer-digits': (IMAGE, FREE),
    'cascade-mask-rcnn_metaspikformer-medium-sfa-t1d4_fpn_2xb4-1x': (IMAGE, FREE),
    'fcos_': (IMAGE, FREE),
    'rtmdet_': (IMAGE, FREE),
    'semantic-fpn_metaspikformer-digits': (IMAGE, FREE),
    'upernet_': (IMAGE, GRID),
    'segformer_': (IMAGE, FREE),
    'pspnet_': (IMAGE, GRID),
    'deeplabv3plus_': (IMAGE, FREE),
}


def config_of(name):
    return next(path for path in CONFIGS if path.name.startswith(name))


def check_part(part, model, file, inputs, runtime):
    """Equal integers and outputs.

    A network of random weights makes much of one integer that a sum in another order flips. So the
    first neuron that differs counts, and outputs where none does.
    """
    watched, equal = WatchedFile(file, runtime, 1), []
    for x in inputs:
        outputs, ours = fired_in(part, model, x)
        found, theirs = watched.run(x.numpy())
        assert list(ours) == list(theirs)
        shares = [
            (np.rint(theirs[name] / worth) == np.rint(values / worth)).mean()
            for name, (values, worth) in ours.items()
        ]
        differs = [share for share in shares if share < 1]
        assert not differs or differs[0] >= 0.999
        equal.append(not differs)
        for mine, their in zip(outputs, found, strict=True):
            assert mine.shape == their.shape
            if not differs:
                assert np.abs(mine.numpy() - their).max() <= 1e-4 * mine.abs().max()
    assert any(equal)
    assert any(out.std() > 0 for out in outputs)
    assert not ours or np.mean([values.any() for values, _ in ours.values()]) > 0.9


# In float32 as well: neurons with memory, converted ones, and regions.
BOTH = [
    name
    for name in FAMILIES
    if name.startswith(('metaspikformer-digits-ilif', 'sdt-digits', 'resnet18', 'mask-rcnn'))
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'precision'),
    [*((name, 'int8') for name in FAMILIES), *((name, 'float32') for name in BOTH)],
)
def test_files_agree_with_the_network(name, precision, tmp_path):
    shape, (asked, found) = FAMILIES[name]
    images = torch.randn(3, *shape)
    cfg, model = firing_model(config_of(name), tmp_path, images)
    options = dict(size=shape[-2:], free_size=asked, precision=precision)
    files = export_onnx(cfg, model, tmp_path / 'model.onnx', **options)
    dims = read_onnx(files[0])[0].graph.input[0].type.tensor_type.shape.dim
    takes = [dim.dim_param or dim.dim_value for dim in dims]
    free = ['height', 'width'] if found else list(shape[-2:])
    assert takes == ['batch', *shape[:-2], *free]

    network = rounded(model, images, files)
    parts = list(parts_of(network, images))
    assert [part_path(files[0], part.name) for part in parts] == files
    for part, file in zip(parts, files, strict=True):
        inputs = [torch.randn_like(part.sample)]
        if part.name == NETWORK:
            inputs = [images, images[:1]]
            inputs += [torch.randn(1, *shape[:-2], 64, 96)] if found else []
        for runtime in ('onnxruntime', 'openvino'):
            check_part(part, network, file, inputs, runtime)
    if precision == 'int8':
        check_layers(network, files)


def check_layers(network, files):
    """Layers in front, and read-outs, keep their weights; most others have 8 bits."""
    layers = [layer for file in files for layer in layer_inputs(file)]
    assert {layer.weights for layer in layers if layer.takes == 'the input'} == {'float32'}
    takes_integers = [layer for layer in layers if layer.takes.startswith('0..')]
    assert takes_integers
    heads = tuple(f'{name}.' for name in (head_name(network), *region_heads(network)))
    for layer in takes_integers:
        if not layer.layer.startswith(heads):
            assert layer.weights == ('float32' if layer.takes == '0..' else 'int8'), layer
