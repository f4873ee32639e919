"""The effect of torch's functions on spikes, by their names."""

from collections.abc import Callable

from mmspike.execution.spike_train import SpikeTrain

# Functions that move or select values and make no new ones (but zeros), by name. Spikes are not
# negative, so that a ReLU is one of them.
_NAMES_OF_MOVING = (
    'adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d adjoint alias amax as_strided '
    'atleast_1d atleast_2d atleast_3d bfloat16 broadcast_to channel_shuffle chunk clone contiguous '
    'cpu cuda detach diagonal double dsplit expand expand_as flatten flip fliplr flipud float '
    'gather getitem half hsplit index_select iter masked_select max_pool1d max_pool2d max_pool3d '
    'max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices movedim '
    'moveaxis narrow native_channel_shuffle permute pixel_shuffle pixel_unshuffle ravel '
    'relu repeat repeat_interleave requires_grad reshape reshape_as roll rot90 select split '
    'split_with_sizes squeeze swapaxes swapdims t take take_along_dim tensor_split tile to '
    'transpose type type_as unbind unflatten unfold unsqueeze view view_as vsplit'
)
_MOVING = frozenset(_NAMES_OF_MOVING.split())
# They move values as well, but only with certain arguments, or for several tensors.
_JOINING = frozenset(
    ('cat', 'concat', 'concatenate', 'stack', 'hstack', 'vstack', 'dstack', 'column_stack')
)
# These ask for a shape or a flag only, and no flow sees them. They are half of all calls.
ASKING = frozenset(
    ('__len__', '_set_grad_enabled', 'dim', 'is_contiguous', 'is_floating_point', 'ndimension',
     'numel', 'size', 'storage_offset', 'stride')
)  # fmt: skip
_VIEW_PROPERTIES = frozenset(('T', 'mT', 'H', 'mH', 'data'))
# Layers with weights: the spikes come first, then the weights, then the bias if there is one.
WEIGHT_LAYERS = frozenset(
    ('conv1d', 'conv2d', 'conv3d', 'conv_transpose1d', 'conv_transpose2d', 'conv_transpose3d',
     'linear')
)  # fmt: skip
PRODUCTS = frozenset(('matmul', 'bmm', 'mm', '__matmul__', '__rmatmul__'))
# Products element by element, by which binary spikes mask each other.
MASKS = frozenset(('mul', 'multiply', '__mul__', '__rmul__'))
# What the first arguments are called where they are given by name.
_FIRST = {
    **dict.fromkeys(WEIGHT_LAYERS, (('input',), ('weight',), ('bias',))),
    **dict.fromkeys(PRODUCTS | MASKS, (('input',), ('other', 'mat2'))),
    'sum': (('input',), ('dim',)),
    **dict.fromkeys(_MOVING | _JOINING, (('input', 'tensors'),)),
}


def by_position(called: str, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """Move keyword arguments to their positions."""
    kwargs = dict(kwargs)
    for names in _FIRST.get(called, ())[len(args) :]:
        name = next((name for name in names if name in kwargs), None)
        if name is None:
            break
        args = (*args, kwargs.pop(name))
    return args, kwargs


def moves(func: Callable, called: str, args: tuple, kwargs: dict, trains: list[SpikeTrain]) -> bool:
    """Whether a call only moves values of ``trains``, so that spikes come out."""
    if called == '__get__':
        return getattr(getattr(func, '__self__', None), '__name__', '') in _VIEW_PROPERTIES
    name = called.strip('_')
    if name in _JOINING:
        return len(trains) == len(args[0]) and len({x.spike_value for x in trains}) == 1
    if not args or not isinstance(args[0], SpikeTrain):
        return False
    if name == 'pad':
        mode, value = ([*args[2:], None, None])[:2]
        mode, value = kwargs.get('mode', mode), kwargs.get('value', value)
        return mode not in (None, 'constant') or not value
    if name == 'interpolate':
        return kwargs.get('mode', 'nearest') in ('nearest', 'nearest-exact')
    if name in ('dropout', 'dropout1d', 'dropout2d', 'dropout3d'):
        return not kwargs.get('training', args[2] if len(args) > 2 else True)
    return name in _MOVING
