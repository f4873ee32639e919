"""Registries of mmspike, children of mmengine's.

``type='mmspike.LIF'`` works from a config of any OpenMMLab library: asked for the scope
``mmspike``, mmengine imports this module and then the locations given here. This module itself
imports nothing but mmengine, because mmengine hides an ``ImportError`` raised while it looks for
a scope's registry.

Some parts extend a class of one host library (a classification head needs mmpretrain, for
instance). They are imported only when a name is not among the parts that need no host, so that a
detection user never pays for mmpretrain, or has to install it.
"""

import sys
from importlib import import_module
from importlib.util import find_spec

from mmengine import Registry as MMEngineRegistry
from mmengine import registry as root

# host library -> the command that installs it
HOSTS = {
    'mmpretrain': 'pip install onedl-mmpretrain',
    'mmdet': 'pip install onedl-mmdetection',
    'mmseg': 'pip install onedl-mmsegmentation',
}


class Registry(MMEngineRegistry):
    """A registry that also knows which of its modules need a host library.

    Args:
        name: Name of the parent registry, for example ``'model'``.
        hosted: Maps a host library to the modules of ours that import it.
        **kwargs: Passed on to :class:`mmengine.Registry`.
    """

    def __init__(self, name: str, *, hosted: dict[str, list[str]] | None = None, **kwargs) -> None:
        super().__init__(name, scope='mmspike', **kwargs)
        self._hosted = dict(hosted or {})

    def get(self, key: str):
        """Return the class registered as ``key``, or None.

        Raises:
            ImportError: The name is unknown and parts could not be searched because their host
                library is not installed.
        """
        found = super().get(key)
        if found is not None:
            return found
        missing = []
        # A host that the process has loaded already is the likeliest owner: try it first.
        for host in sorted(self._hosted, key=lambda host: host not in sys.modules):
            if find_spec(host) is None:
                missing.append(host)
                continue
            for module in self._hosted[host]:
                import_module(module)
            del self._hosted[host]
            found = super().get(key)
            if found is not None:
                return found
        if missing:
            hints = '; '.join(f'{host} ({HOSTS[host]})' for host in missing)
            raise ImportError(
                f"mmspike has no {self.name} named '{key}' among the parts it can import here. "
                f'Parts that need a library which is not installed were not searched: {hints}.'
            )
        return None


MODELS = Registry(
    'model',
    parent=root.MODELS,
    locations=[
        'mmspike.neurons',
        'mmspike.layers',
        'mmspike.backbones',
        'mmspike.necks',
        'mmspike.conversion.builders',
    ],
    hosted={
        'mmpretrain': [
            'mmspike.heads.cls',
            'mmspike.classifiers',
            'mmspike.datasets.event_preprocessor',
        ],
        'mmdet': ['mmspike.heads.det'],
        'mmseg': ['mmspike.heads.seg'],
    },
)
DATASETS = Registry(
    'dataset',
    parent=root.DATASETS,
    hosted={
        'mmpretrain': [
            'mmspike.datasets.handwritten_digits',
            'mmspike.datasets.event_digits',
            'mmspike.datasets.event_recordings',
        ]
    },
)
TRANSFORMS = Registry(
    'transform',
    parent=root.TRANSFORMS,
    hosted={'mmpretrain': ['mmspike.datasets.transforms.event_frames']},
)
HOOKS = Registry('hook', parent=root.HOOKS, locations=['mmspike.hooks'])
METRICS = Registry('metric', parent=root.METRICS, locations=['mmspike.evaluation'])


def __getattr__(name: str) -> Registry:
    """Make ``BATCH_AUGMENTS`` when it is first asked for.

    mmengine has no such registry. Ours is a child of mmpretrain's, which exists only once
    mmpretrain is loaded.
    """
    if name != 'BATCH_AUGMENTS':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    host = import_module('mmpretrain.registry')
    child = Registry(
        'batch augment', parent=host.BATCH_AUGMENTS, locations=['mmspike.datasets.event_mix']
    )
    return globals().setdefault(name, child)


if 'mmpretrain.registry' in sys.modules:
    # mmpretrain's registry may be what imports this module, to look for a child afterwards.
    __getattr__('BATCH_AUGMENTS')
