"""Neurons as standard ONNX operators.

Each kind of :mod:`mmspike.deploy.settings` computes what :mod:`mmspike.neurons.reference` computes,
operation by operation, so that both round alike. T steps are unrolled: a folded input
``(T*B, ...)`` is split into T parts ``(B, ...)``.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from mmspike.deploy.graph_builder import GraphBuilder
from mmspike.deploy.marker import DOMAIN, NAME
from mmspike.neurons.reference import INITIAL_CHARGE

# A Q/DQ pair holds integers of 8 bits without a sign.
LARGEST = 255


def lower_neurons(model: Any, *, quantise: bool) -> dict[str, Any]:
    """Replace every marked neuron of an ONNX model by standard operators.

    Args:
        model: An ``onnx_ir.Model``; changed in place.
        quantise: Carry the integers in 8 bits, in a QuantizeLinear-DequantizeLinear pair with the
            exact scale. Neurons of more than 255 spikes stay float32.

    Returns:
        Name to output of every neuron. A neuron that is called several times has a name for each.
    """
    graph = model.graph
    outputs: dict[str, Any] = {}
    calls: dict[str, int] = {}
    for node in [node for node in graph if (node.domain, node.op_type) == (DOMAIN, NAME)]:
        settings = json.loads(node.attributes['settings'].as_string())
        builder = GraphBuilder(graph)
        counts = _KINDS[settings['kind']](builder, node.inputs[0], settings)
        worth = settings['spike_value']
        if quantise and settings['max_spikes'] <= LARGEST:
            out = builder.quantised(counts, 1.0, worth)
        else:
            out = _float(builder, counts, settings)
        times = calls[settings['name']] = calls.get(settings['name'], 0) + 1
        out.type, out.shape = node.outputs[0].type, node.outputs[0].shape
        _put(graph, node, builder.nodes, out)
        out.name = settings['name'] + (f':{times}' if times > 1 else '')
        outputs[out.name] = out
    model.opset_imports.pop(DOMAIN, None)
    return outputs


def _put(graph: Any, node: Any, nodes: list[Any], out: Any) -> None:
    from onnx_ir import convenience

    convenience.replace_nodes_and_values(graph, node, [node], nodes, [node.outputs[0]], [out])


def _float(builder: GraphBuilder, counts: Any, settings: dict[str, Any]) -> Any:
    """The neuron's output in float32."""
    if settings['spike_value'] == 1 and settings['kind'] != 'clip_floor':
        return counts
    if 'norm' in settings:  # a division, as in the reference
        return builder.op('Div', counts, settings['norm'])
    if settings['kind'] == 'clip_floor':  # k / L * L is not always k
        counts = builder.op('Div', counts, float(settings['max_spikes']))
    return builder.op('Mul', counts, settings['threshold'])


# Each kind returns the spikes of every step, from 0 to `max_spikes`, in float32.


def _round(builder: GraphBuilder, x: Any, D: int, half_up: bool) -> Any:
    x = builder.op('Clip', x, 0.0, float(D))
    return builder.op('Floor', builder.op('Add', x, 0.5)) if half_up else builder.op('Round', x)


def _integer(builder: GraphBuilder, x: Any, settings: dict[str, Any]) -> Any:
    return _round(builder, x, settings['max_spikes'], settings['half_up'])


def _clip_floor(builder: GraphBuilder, x: Any, settings: dict[str, Any]) -> Any:
    levels = settings['max_spikes']
    x = builder.op('Mul', builder.op('Div', x, settings['threshold']), float(levels))
    return _round(builder, x, levels, half_up=True)


def _integer_lif(builder: GraphBuilder, x: Any, settings: dict[str, Any]) -> Any:
    fired, v = [], None
    for current in _steps(builder, x, settings['timesteps']):
        if v is not None:
            current = builder.op('Add', builder.op('Mul', v, settings['decay']), current)
        counts = _round(builder, current, settings['max_spikes'], settings['half_up'])
        v = builder.op('Sub', current, counts)
        fired.append(counts)
    return _folded(builder, fired)


def _binary(
    builder: GraphBuilder,
    x: Any,
    settings: dict[str, Any],
    charge: Callable[[Any, Any], Any],
    first: Callable[[Any], Any],
) -> Any:
    """Charge, fire, reset, step by step.

    Args:
        builder: Of the graph.
        x: Input ``(T*B, ...)``.
        settings: Of the neuron.
        charge: The membrane that ``charge(v, x[t])`` comes to.
        first: The same at rest: ``first(x[0])``.
    """
    threshold, v_reset = settings['threshold'], settings['v_reset']
    fired, v = [], None
    for current in _steps(builder, x, settings['timesteps']):
        v = first(current) if v is None else charge(v, current)
        at = builder.op('GreaterOrEqual', v, threshold)
        spikes = builder.cast(at)
        fired.append(spikes)
        if v_reset is None:
            lost = spikes if threshold == 1 else builder.op('Mul', spikes, threshold)
            v = builder.op('Sub', v, lost)
        else:
            v = builder.op('Where', at, v_reset, v)
    return _folded(builder, fired)


def _integrate_and_fire(builder: GraphBuilder, x: Any, settings: dict[str, Any]) -> Any:
    return _integrating(builder, x, settings, settings['v_reset'] or 0.0)


def _spiking_clip_floor(builder: GraphBuilder, x: Any, settings: dict[str, Any]) -> Any:
    x = builder.op('Div', x, settings['threshold'])
    return _integrating(builder, x, dict(settings, threshold=1.0, v_reset=None), INITIAL_CHARGE)


def _integrating(builder: GraphBuilder, x: Any, settings: dict[str, Any], rest: float) -> Any:
    def charge(v: Any, current: Any) -> Any:
        return builder.op('Add', v, current)

    return _binary(builder, x, settings, charge, lambda current: _plus(builder, current, rest))


def _leaky(builder: GraphBuilder, x: Any, settings: dict[str, Any]) -> Any:
    return _leaking(builder, x, settings, lambda d: builder.op('Div', d, settings['tau']))


def _parametric_leaky(builder: GraphBuilder, x: Any, settings: dict[str, Any]) -> Any:
    return _leaking(builder, x, settings, lambda d: builder.op('Mul', d, settings['decay']))


def _leaking(
    builder: GraphBuilder, x: Any, settings: dict[str, Any], leak: Callable[[Any], Any]
) -> Any:
    rest = settings['v_reset'] or 0.0

    def charge(v: Any, current: Any) -> Any:
        above = _plus(builder, v, -rest)
        if settings['decay_input']:
            return builder.op('Add', v, leak(builder.op('Sub', current, above)))
        return builder.op('Add', builder.op('Sub', v, leak(above)), current)

    def first(current: Any) -> Any:
        return _plus(builder, leak(current) if settings['decay_input'] else current, rest)

    return _binary(builder, x, settings, charge, first)


def _plus(builder: GraphBuilder, x: Any, number: float) -> Any:
    return builder.op('Add', x, number) if number else x


def _steps(builder: GraphBuilder, x: Any, timesteps: int) -> Iterator[Any]:
    """The steps ``(B, ...)`` of ``(T*B, ...)``."""
    if timesteps == 1:
        yield x
    else:
        yield from builder.ops('Split', x, count=timesteps, axis=0, num_outputs=timesteps)


def _folded(builder: GraphBuilder, steps: list[Any]) -> Any:
    return steps[0] if len(steps) == 1 else builder.op('Concat', *steps, axis=0)


_KINDS: dict[str, Callable[[GraphBuilder, Any, dict[str, Any]], Any]] = {
    'integer': _integer,
    'integer_lif': _integer_lif,
    'clip_floor': _clip_floor,
    'integrate_and_fire': _integrate_and_fire,
    'leaky': _leaky,
    'parametric_leaky': _parametric_leaky,
    'spiking_clip_floor': _spiking_clip_floor,
}
