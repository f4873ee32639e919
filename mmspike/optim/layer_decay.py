"""Layer-wise learning-rate decay for any model with a backbone."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from mmspike.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmspike.versions import check_version

check_version('mmpretrain')

from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor  # noqa: E402


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(LearningRateDecayOptimWrapperConstructor):
    """mmpretrain's layer-wise learning-rate decay, also for detectors and segmentors.

    mmpretrain asks the model for the depth of a parameter, which only its classifiers answer. The
    constructors of mmdet and mmseg know the names of a few backbones of their own. This one asks
    the backbone. All that is no part of the backbone keeps the full learning rate.

    Options of ``paramwise_cfg`` are those of
    ``mmpretrain.engine.optimizers.LearningRateDecayOptimWrapperConstructor``, such as
    ``layer_decay_rate``.
    """

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        get_layer_depth: Callable[[str], tuple[int, int]] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add a group for each parameter of a model.

        Args:
            params: List of groups, to which groups are added.
            module: A model with a ``backbone``, or a part of it.
            prefix: What the names of the module's parameters begin with in the model.
            get_layer_depth: Returns the depth of a parameter and the number of depths; None asks
                the backbone of ``module``.

        Raises:
            TypeError: The model has no backbone with ``get_layer_depth``.
        """
        if get_layer_depth is None:
            backbone: Any = getattr(module, 'backbone', None)
            if not hasattr(backbone, 'get_layer_depth'):
                raise TypeError(
                    'layer-wise learning rates need a model whose backbone has the method '
                    f'get_layer_depth, got {type(module).__name__} with the backbone '
                    f'{type(backbone).__name__}'
                )
            get_layer_depth = partial(backbone.get_layer_depth, prefix='backbone.')
        super().add_params(params, module, prefix, get_layer_depth, **kwargs)
