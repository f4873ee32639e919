"""From NIR to modules."""

import os
from collections import Counter
from pathlib import Path

from torch import nn

from mmspike.checks import check_number
from mmspike.deploy.nir import dynamics, layers
from mmspike.deploy.nir.library import nir
from mmspike.deploy.nir.network import Network, RecurrentNetwork
from mmspike.deploy.nir.numbers import DT
from mmspike.deploy.nir.order import closing_edges, execution_order
from mmspike.deploy.nir.soft_reset import read_soft_reset
from mmspike.wording import some_of

# Kinds of nodes that can be run, beside graphs within graphs.
KINDS = ('Input', 'Output', *sorted(x.__name__ for x in (*layers.READERS, *dynamics.READERS)))


def from_nir(graph: 'nir.NIRGraph | str | os.PathLike', *, dt: float = DT) -> nn.Module:
    """Build the network of a NIR graph.

    It takes ``(T*B, ...)`` and returns ``(T*B, ...)``, row ``t*B + b`` being sample b at step t.
    T is 1 until :func:`mmspike.set_timesteps`. A call starts from rest, unless
    :func:`mmspike.neurons.set_stateful` says otherwise. Neurons with numbers of mmspike's own
    become those, with their fused kernels; the others run in plain torch. A graph with loops runs
    step by step. The network is float32, in evaluation mode.

    Args:
        graph: The graph, or the path of a file.
        dt: Length of a time step in seconds, the one that the author of the graph used. NIR files
            do not hold it. sinabs writes files for ``dt=1``.

    Raises:
        FileNotFoundError, IsADirectoryError: There is no such file.
        TypeError: ``graph`` is neither, or ``dt`` no number.
        ValueError: The file is damaged or of another kind; ``dt`` is not positive; or the graph
            holds what cannot be run: the message names the node.

    Example:
        >>> import numpy as np, torch, nir
        >>> affine = nir.Affine(weight=np.eye(2), bias=np.zeros(2))
        >>> net = from_nir(nir.NIRGraph.from_list(affine))
        >>> net(torch.tensor([[1.0, 2.0]]))
        tensor([[1., 2.]], grad_fn=<AddmmBackward0>)
    """
    dt = check_number('dt', dt, above=0)
    if isinstance(graph, str | os.PathLike):
        graph = read_file(graph)
    if not isinstance(graph, nir.NIRGraph):
        raise TypeError(
            f'from_nir takes a nir.NIRGraph or a path, got a {type(graph).__name__}; wrap a single '
            'node with nir.NIRGraph.from_list(node)'
        )
    return _network(graph, dt, 'the graph').eval()


def read_file(path: str | os.PathLike) -> nir.NIRGraph:
    """Read a NIR file: HDF5, of which only numbers, texts and kinds of nodes are taken.

    Raises:
        FileNotFoundError, IsADirectoryError: There is no such file.
        ValueError: It is damaged, or of another kind.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f'{path} is a directory: name a .nir file in it')
    if not path.is_file():
        raise FileNotFoundError(f'there is no file {path}')
    try:
        # nir 1.0.8 takes grouped convolutions for errors when it checks types.
        return nir.read(path, type_check=False)
    except Exception as error:  # h5py and nir raise whatever a damaged byte leads to
        raise ValueError(
            f'{path} ({path.stat().st_size} bytes) cannot be read as a NIR graph; it is damaged, '
            f'incomplete or another kind of file ({type(error).__name__}: {error})'
        ) from error


def _network(graph: nir.NIRGraph, dt: float, where: str) -> Network:
    """The network of a graph, or of a graph within one."""
    entry, leave = (_only(graph, kind, where) for kind in (nir.Input, nir.Output))
    edges = _checked_edges(graph, where)
    order = execution_order(edges, entry)
    unreached = [name for name in graph.nodes if name not in order]
    if unreached:
        raise ValueError(f'no path leads from the input of {where} to {some_of(unreached)}')
    if any(target == entry for _, target in edges):
        raise ValueError(f'an edge leads into the input of {where}')
    sources = {name: tuple(a for a, b in edges if b == name) for name in order}
    inner = [name for name in order if name not in (entry, leave)]
    nodes = {name: _module(graph.nodes[name], dt, f'{name} of {where}') for name in inner}
    parts = (nodes, {name: sources[name] for name in inner}, entry, sources[leave])
    closing = closing_edges(edges, order)
    if not closing:
        return Network(*parts)
    return RecurrentNetwork(*parts, delayed=dict.fromkeys(a for a, _ in closing))


def _only(graph: nir.NIRGraph, kind: type, where: str) -> str:
    names = [name for name, node in graph.nodes.items() if isinstance(node, kind)]
    if len(names) != 1:
        raise ValueError(
            f'{where} must have one {kind.__name__} node, it has {len(names)}'
            + (f' ({some_of(names)})' if names else '')
        )
    return names[0]


def _checked_edges(graph: nir.NIRGraph, where: str) -> list[tuple[str, str]]:
    edges = [(a, b) for a, b in graph.edges]
    for edge, number in Counter(edges).items():
        missing = [name for name in edge if name not in graph.nodes]
        if missing:
            raise ValueError(f'edge {edge} of {where} names {missing[0]}, which is no node')
        if number > 1:
            raise ValueError(f'{where} has the edge {edge} {number} times')
    return edges


def _module(node: nir.NIRNode, dt: float, where: str) -> nn.Module:
    if isinstance(node, nir.NIRGraph):
        return read_soft_reset(node, dt) or _network(node, dt, where)
    kind = type(node)
    try:
        if kind in layers.READERS:
            return layers.READERS[kind](node)
        if kind in dynamics.READERS:
            return dynamics.READERS[kind](node, dt)
    except (ValueError, TypeError) as error:
        raise ValueError(f'{where} ({kind.__name__}): {error}') from error
    raise ValueError(
        f'{where} is a {kind.__name__} node, which mmspike cannot run; it runs {", ".join(KINDS)}'
    )
