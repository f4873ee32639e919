"""What is exact in files of 8 bits: scales of spikes, values of neurons; and what is rounded."""

import numpy as np
import onnx_ir as ir
import pytest
import torch

from mmspike.deploy import export_onnx
from mmspike.deploy.agreement import WatchedFile, layer_inputs
from mmspike.deploy.graph_builder import GraphBuilder
from mmspike.deploy.int8_weights import quantise_weights
from mmspike.deploy.lowering import lower_neurons
from mmspike.deploy.onnx_files import read_onnx
from mmspike.deploy.rounding import nearest, scales
from mmspike.neurons import SFA
from support.onnx_graphs import model_of, neuron_node, value, weights

random = np.random.default_rng(0)


@pytest.mark.parametrize('shape', [(8, 4, 3, 3), (6, 5), (1, 1)])
@pytest.mark.parametrize('axis', [0, 1])
def test_weights_are_within_half_a_scale(shape, axis):
    weight = random.normal(size=shape).astype(np.float32)
    weight.swapaxes(0, axis)[0] = 0  # a channel of nothing
    scale = scales(weight, axis)
    integers = nearest(weight, scale, axis)
    assert integers.dtype == np.int8
    assert scale.shape == (shape[axis],)
    steps = scale.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    assert np.all(np.abs(integers * steps - weight) <= steps / 2 * (1 + 1e-5))
    largest = np.abs(integers).swapaxes(0, axis).reshape(shape[axis], -1).max(1)
    assert set(largest[1:]) <= {127}
    assert largest[0] == 0


def test_scales_are_those_of_the_neurons(exported_int8):
    graph = ir.load(exported_int8.file).graph
    spikes = [
        node
        for node in graph
        if node.op_type == 'DequantizeLinear' and node.inputs[0].producer() is not None
    ]
    _, metadata = read_onnx(exported_int8.file)
    assert {node.outputs[0].name for node in spikes} >= set(metadata.neurons)
    for node in spikes:  # LIF: a spike is worth 1; nothing is calibrated
        assert node.inputs[1].const_value.numpy() == 1
        assert node.inputs[2].const_value.numpy() == 0
        assert node.inputs[0].producer().inputs[1].const_value.numpy() == 1


@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
def test_neurons_put_out_whole_multiples(runtime, exported_int8):
    x = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    _, fired = WatchedFile(exported_int8.file, runtime, 1).run(x)
    assert all(set(np.unique(values)) <= {0.0, 1.0} for values in fired.values())
    assert np.mean([values.any() for values in fired.values()]) > 0.9


def test_first_layer_and_read_out_are_not_rounded(exported, exported_int8):
    layers = list(layer_inputs(exported_int8.file))
    assert [layer.weights for layer in layers if layer.takes == 'the input'] == ['float32']
    kept = [layer.layer for layer in layers if layer.weights == 'float32']
    assert kept == [layers[0].layer, 'head.fc']
    assert {layer.weights for layer in layer_inputs(exported.file)} == {'float32'}


def planted(between):
    """Neuron - first layer - something - second layer."""
    x = value('x', 'batch', 8, 4, 4)
    neuron = neuron_node(SFA(D=4), x)
    arrays = [
        random.normal(size=shape).astype(np.float32) for shape in ((8, 1, 1, 1), (8, 8, 1, 1))
    ]
    first, second = (weights(f'{n}.weight', a) for n, a in zip(('one', 'two'), arrays, strict=True))
    depthwise = ir.node('Conv', [neuron.outputs[0], first], attributes=dict(group=8))
    depthwise.outputs[0].name = 'middle'
    nodes, tip = [neuron, depthwise], depthwise.outputs[0]
    if between == 'neuron':
        nodes.append(neuron_node(SFA(D=2), tip, 'second'))
    elif between == 'average':
        nodes[1:] = [
            ir.node('AveragePool', [neuron.outputs[0]], attributes=dict(kernel_shape=[2, 2]))
        ]
    if nodes[-1].outputs[0].name is None:
        nodes[-1].outputs[0].name = 'between'
    tip = nodes[-1].outputs[0]
    nodes.append(ir.node('Conv', [tip, second]))
    constants = (second,) if between == 'average' else (first, second)
    model = model_of([x], [nodes[-1].outputs[0]], nodes, constants)
    neurons = lower_neurons(model, quantise=True)
    return model, quantise_weights(model, set(neurons.values()), None, {}, 'nearest')


@pytest.mark.parametrize(
    ('between', 'takes', 'rounded'),
    [
        ('nothing', ['0..4', 'real numbers'], ['one']),  # SDT v2: pointwise behind depthwise
        ('neuron', ['0..4', '0..2'], ['one', 'two']),
        ('average', ['real numbers'], []),
    ],
)
def test_real_numbers_are_found(between, takes, rounded, tmp_path):
    model, names = planted(between)
    assert names == rounded
    ir.save(model, tmp_path / 'model.onnx')
    layers = list(layer_inputs(tmp_path / 'model.onnx'))
    assert [layer.takes for layer in layers] == takes
    assert [layer.layer for layer in layers if layer.weights == 'int8'] == rounded


def test_the_image_in_8_bits(exported, tmp_path):
    batches = [dict(inputs=[torch.full((3, 32, 32), level, dtype=torch.uint8)]) for level in (0, 9)]
    file, *_ = export_onnx(
        exported.cfg, exported.model, tmp_path / 'x.onnx', size=(32, 32), precision='int8',
        int8_input=True, calibration=batches,
    )  # fmt: skip
    (first, *_) = layer_inputs(file)
    assert (first.takes, first.weights) == ('0..255', 'int8')
    high = exported.model.data_preprocessor(batches[1], False)['inputs'].max().item()
    graph = ir.load(file).graph
    first_conv = next(node for node in graph if node.op_type == 'Conv')
    rounding = first_conv.inputs[0].producer().inputs[0].producer()
    assert rounding.op_type == 'QuantizeLinear'
    scale, zero = (rounding.inputs[i].const_value.numpy().item() for i in (1, 2))
    assert (scale, zero) == (pytest.approx(high / 255), 0)


def test_a_range_with_zero_inside():
    x = value('x', 1, 3)
    builder = GraphBuilder(ir.Graph([x], [], nodes=[]))
    out = builder.rounded(x, -1.0, 3.0)
    scale, zero = (out.producer().inputs[i].const_value.numpy().item() for i in (1, 2))
    assert scale == pytest.approx(4 / 255)
    assert zero == 64  # 0 is one of the levels


def test_the_image_in_8_bits_needs_them_and_images(exported, tmp_path):
    options = dict(size=(32, 32), int8_input=True)
    with pytest.raises(ValueError, match="int8_input needs precision='int8', got 'float32'"):
        export_onnx(exported.cfg, exported.model, tmp_path / 'x.onnx', **options)
    with pytest.raises(ValueError, match='there is no batch'):
        export_onnx(exported.cfg, exported.model, tmp_path / 'x.onnx', precision='int8', **options)
    assert not list(tmp_path.iterdir())
