"""Whether an exported network takes images of any size and any number.

Some layers make plain numbers of the sizes of their input, and an export keeps these numbers.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from mmspike.ann2snn.quantise import replace_modules
from mmspike.layers.window_grid import WindowGrid

# Attention within windows, here and in the hosts: how a map is cut depends on its size.
WINDOWS = ('SpikeWindowAttention', 'ShiftWindowMSA')


def needs_fixed_size(model: nn.Module) -> bool:
    """Whether a network's operators depend on the size of the image: windows, pools into a grid."""
    return any(type(m).__name__ in WINDOWS or _pools_into_grid(m) for m in model.modules())


def _pools_into_grid(module: nn.Module) -> bool:
    if not isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        return False
    return module.output_size not in (1, (1, 1))


def free_sizes(model: nn.Module) -> None:
    """Let layers of the hosts that make plain numbers of sizes compute the same without.

    Args:
        model: Changed in place: mmseg's ``Upsample`` and mmpretrain's windows.
    """
    found: dict[nn.Module, nn.Module] = {}
    for module in model.modules():
        layer: Any = module
        match type(module).__module__.partition('.')[0], type(module).__name__:
            case 'mmseg', 'Upsample' if layer.size is None:
                options = dict(mode=layer.mode, align_corners=layer.align_corners)
                found[module] = nn.Upsample(scale_factor=layer.scale_factor, **options)
            case 'mmpretrain', 'ShiftWindowMSA':
                layer.window_reverse = _merge_windows
    replace_modules(model, found)


def _merge_windows(windows: Tensor, height: int, width: int, size: int) -> Tensor:
    """``(N * windows, h, w, C)`` to ``(N, H, W, C)``."""
    grid = WindowGrid(height, width, size)
    return grid.merge(windows.unflatten(0, (-1, *grid.counts)))


def fixed_sizes(program: Any, places: Iterable[int]) -> set[int]:
    """The places of sizes that a layer made a plain number of.

    Args:
        program: Of ``torch.export``, with one input.
        places: Sizes of the input that were to be free.
    """
    (name,) = program.graph_signature.user_inputs
    shape = next(node for node in program.graph.nodes if node.name == name).meta['val'].shape
    sizes = {place: shape[place] for place in places}
    return {place for place, size in sizes.items() if str(size).isdigit() or _is_cut(size.node)}


def _is_cut(size: Any) -> bool:
    """Whether a size went through a float and ``int()``, after which torch calls it free."""
    guards = (guard.expr for guard in size.shape_env.guards)
    return any('TruncToInt' in str(expr) and size.expr in expr.free_symbols for expr in guards)
