"""Optimiser construction for mmengine's Runner."""

from mmspike.moved import moved_names

_NAME = 'LayerDecayOptimWrapperConstructor'
__getattr__ = moved_names(__name__, {_NAME: f'optim.layer_decay:{_NAME}'})
