"""Optimiser construction for mmengine's Runner."""

from mmspike.versions import check_version

check_version('mmpretrain')

from mmspike.optim.layer_decay import LayerDecayOptimWrapperConstructor  # noqa: E402

__all__ = ['LayerDecayOptimWrapperConstructor']
