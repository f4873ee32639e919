"""Registries of mmspike, children of mmengine's.

``type='mmspike.LIF'`` works from a config of any OpenMMLab library: asked for the scope
``mmspike``, mmengine imports this module and then the locations given here. This module itself
imports nothing but mmengine, because mmengine hides an ``ImportError`` raised while it looks for
a scope's registry.

Some parts extend a class of one host library (a classification head needs mmpretrain, for
instance). They are imported only when a name is not among the parts that need no host, so that a
detection user never pays for mmpretrain, or has to install it.
"""

import difflib
import sys
from importlib import import_module
from importlib.util import find_spec

from mmengine import Registry as MMEngineRegistry
from mmengine import registry as root

from mmspike.versions import install_command


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
            KeyError: The name is unknown, and close to one that exists.
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
        close = self._close_to(key)
        meant = f" Did you mean '{close}'?" if close else ''
        if missing:
            hints = '; '.join(f'{host} ({install_command(host, missing=True)})' for host in missing)
            raise ImportError(
                f"mmspike has no {self.name} named '{key}' among the parts it can import here."
                f'{meant} Parts that need a library which is not installed were not searched: '
                f'{hints}.'
            )
        if close:
            raise KeyError(f"mmspike has no {self.name} named '{key}'.{meant}")
        return None

    def import_parts(self, host: str) -> None:
        """Import everything that needs no host library, or this one."""
        self.import_from_location()
        for module in self._hosted.pop(host, []):
            import_module(module)

    def build(self, cfg: dict, *args, **kwargs):
        """As :meth:`mmengine.Registry.build`, after :meth:`check_type`."""
        self.check_type(cfg)
        return super().build(cfg, *args, **kwargs)

    def check_type(self, cfg: dict | None) -> None:
        """Help with a ``type`` that lacks the prefix ``mmspike.``, as in ``dict(type='LIF')``.

        Raises:
            KeyError: No registry of the current scope has the type, and a part of ours has a close
                name. Every other wrong type is left to mmengine.
        """
        if not isinstance(cfg, dict):
            return
        name = cfg.get('type')
        if not isinstance(name, str) or '.' in name:
            return
        with self.switch_scope_and_registry(cfg.get('_scope_')) as registry:
            close = self._close_to(name) if registry.get(name) is None else None
            if close:
                raise KeyError(
                    f"'{name}' is not in the {registry.scope}::{registry.name} registry. Did you "
                    f"mean '{close}'? Parts of mmspike carry its prefix."
                )

    def _close_to(self, key: str) -> str | None:
        """The name of a part of ours that ``key`` probably misspells, with the scope of ``key``."""
        scope, _, name = key.rpartition('.')
        if scope not in ('', self.scope):
            return None
        # Capitals are what is misspelled most: Lif, Plif, Mst.
        names = {known.lower(): known for known in self.module_dict}
        close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.75)
        return f'mmspike.{names[close[0]]}' if close else None


MODELS = Registry(
    'model',
    parent=root.MODELS,
    locations=[
        'mmspike.neurons',
        'mmspike.layers',
        'mmspike.backbones',
        'mmspike.necks',
        'mmspike.ann2snn.builders',
    ],
    hosted={
        'mmpretrain': [
            'mmspike.heads.cls',
            'mmspike.classifiers',
            'mmspike.selfsup',
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
            'mmspike.datasets.image_folders',
        ],
        'mmdet': ['mmspike.datasets.coco'],
        'mmseg': ['mmspike.datasets.segmentation'],
    },
)
TRANSFORMS = Registry(
    'transform',
    parent=root.TRANSFORMS,
    locations=['mmspike.datasets.transforms.load_image'],
    hosted={'mmpretrain': ['mmspike.datasets.transforms.event_frames']},
)
HOOKS = Registry('hook', parent=root.HOOKS, locations=['mmspike.hooks'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=root.OPTIM_WRAPPER_CONSTRUCTORS,
    locations=['mmspike.optim.constructor'],
    hosted={'mmpretrain': ['mmspike.optim.layer_decay']},
)
METRICS = Registry(
    'metric',
    parent=root.METRICS,
    hosted={'mmpretrain': ['mmspike.classifiers.accuracy_over_time']},
)


def __getattr__(name: str) -> Registry:
    """Make ``BATCH_AUGMENTS`` when it is first asked for.

    mmengine has no such registry. Ours is a child of mmpretrain's, which exists only once
    mmpretrain is loaded.
    """
    if name != 'BATCH_AUGMENTS':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    host = import_module('mmpretrain.registry')
    child = Registry(
        'batch augment', parent=host.BATCH_AUGMENTS, locations=['mmspike.classifiers.event_mix']
    )
    return globals().setdefault(name, child)


if 'mmpretrain.registry' in sys.modules:
    # mmpretrain's registry may be what imports this module, to look for a child afterwards.
    __getattr__('BATCH_AUGMENTS')
