"""The order in which the nodes of a graph run, and the edges that close its loops."""

from collections.abc import Mapping, Sequence

Edge = tuple[str, str]


def execution_order(edges: Sequence[Edge], entry: str) -> list[str]:
    """The nodes that can be reached from ``entry``: each after all nodes that it takes, but loops.

    Args:
        edges: Pairs of names, from and to.
        entry: The first node.
    """
    targets: dict[str, list[str]] = {}
    for source, target in edges:
        targets.setdefault(source, []).append(target)
    # Depth first without recursion: files may be deeper than Python's stack.
    finished: list[str] = []
    seen, path = {entry}, [(entry, iter(targets.get(entry, ())))]
    while path:
        name, rest = path[-1]
        following = next((target for target in rest if target not in seen), None)
        if following is None:
            finished.append(name)
            path.pop()
        else:
            seen.add(following)
            path.append((following, iter(targets.get(following, ()))))
    return finished[::-1]


def closing_edges(edges: Sequence[Edge], order: Sequence[str]) -> list[Edge]:
    """Edges from a node to itself or to one before it."""
    place: Mapping[str, int] = {name: i for i, name in enumerate(order)}
    return [(a, b) for a, b in edges if place[a] >= place[b]]
