"""Reading configs the way all tools do."""

import difflib
import inspect
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmspike.apis.settings import SETTINGS, apply_settings
from mmspike.metafiles import models
from mmspike.zoo import config_path

# The top-level keys that mmengine reads.
RUNNER_KEYS = frozenset(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | {
    'auto_scale_lr',
    'custom_imports',
    'model_wrapper_cfg',
}
# These, ours, and what the tools of the hosts read besides.
READ_KEYS = (
    RUNNER_KEYS
    | SETTINGS.keys()
    | {'_base_', 'runner_type', 'sync_bn', 'find_unused_parameters', 'compile', 'tta_model'}
    | {'tta_pipeline'}
)


def load_config(
    path: str | os.PathLike, options: dict[str, Any] | None = None, work_dir: str | None = None
) -> Config:
    """Read a config, apply its settings of T and D and settle its work directory.

    Args:
        path: Config file, or the name of one of mmspike's own (``mmspike::...``).
        options: Values to override, by dotted key (``--cfg-options``).
        work_dir: Output folder; None takes the config's, or ``work_dirs/<config name>``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A top-level key is misspelled, or no config of mmspike has the name.
        TypeError, ValueError: See :func:`~mmspike.apis.settings.apply_settings`.
    """
    if str(path).startswith('mmspike::'):
        path = config_path(str(path))
    if not Path(path).is_file():
        hint = f'; mmspike::{path} is the config of that name' if str(path) in models() else ''
        raise FileNotFoundError(f'there is no config file {path}{hint}')
    cfg = Config.fromfile(path)
    if options:
        cfg.merge_from_dict(options)
    check_keys(cfg)
    apply_settings(cfg)
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs', Path(path).stem))
    return cfg


def check_keys(cfg: Config) -> None:
    """Refuse top-level keys that are nearly, but not quite, keys of the Runner, or ``timesteps``.

    mmengine ignores keys that it does not know, so that a misspelled ``optim_wraper`` would train
    with something else, or not at all.

    Raises:
        ValueError: With the key that was probably meant.
    """
    for key in cfg:
        if key in READ_KEYS:
            continue
        known = RUNNER_KEYS | SETTINGS.keys()
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.88)
        if close:
            raise ValueError(
                f"the config has a top-level key '{key}', which nothing reads; did you mean "
                f"'{close[0]}'?"
            )


def replace_sync_bn(cfg: Config) -> None:
    """Turn SyncBN into BN in place, for machines without a GPU, where SyncBN has no kernel."""
    replaced = 0

    def visit(node: Any) -> None:
        nonlocal replaced
        if isinstance(node, ConfigDict | dict):
            if node.get('type') in ('SyncBN', 'mmcv.SyncBN'):
                node['type'] = 'BN'
                replaced += 1
            children: Iterable = list(node.values())
        elif isinstance(node, list | tuple):
            children = node
        else:
            return
        for child in children:
            visit(child)

    visit(cfg._cfg_dict)
    if replaced:
        print_log(f'no GPU: SyncBN became BN in {replaced} places of the config', 'current')


def leave_amp_out(cfg: Config) -> None:
    """Turn AmpOptimWrapper into OptimWrapper in place, for machines without a GPU."""
    wrapper = cfg.get('optim_wrapper') or {}
    if wrapper.get('type') != 'AmpOptimWrapper':
        return
    wrapper['type'] = 'OptimWrapper'
    for key in ('loss_scale', 'dtype', 'use_fp64'):
        wrapper.pop(key, None)
    print_log('no GPU: full precision instead of AMP', 'current')
