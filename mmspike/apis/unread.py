"""Settings of a config that nothing reads.

A config is Python: its bases have used the value of a name before a child gives the name another
value. ``data_root = 'mine'`` in a child, or ``--cfg-options data_root=mine``, changes no dataset.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmspike.apis.config import READ_KEYS


def unread_settings(cfg: Config) -> dict[str, list[str]]:
    """Names at the top of a config that are given a value without effect.

    Args:
        cfg: The config of a run, with the changes of the command line.

    Returns:
        Each name with the places in the config that bear it, which were probably meant.
    """
    if not cfg.filename or not Path(cfg.filename).is_file():
        return {}
    file = Path(cfg.filename)
    as_written = Config.fromfile(file, import_custom_modules=False)
    names = [
        key
        for key, value in cfg.items()
        if key not in READ_KEYS and (key not in as_written or as_written[key] != value)
    ]
    names += _without_effect(file, frozenset())
    # A model's own goes before that of the top.
    own = (cfg.get('model') or {}).get('data_preprocessor')
    if own is not None and cfg.get('data_preprocessor', own) != own:
        names.append('data_preprocessor')
    return {name: list(_places(cfg, name))[:4] for name in dict.fromkeys(names)}


def _without_effect(file: Path, read_above: frozenset[str]) -> Iterator[str]:
    """Names that a config file and its bases assign and nobody reads."""
    if file.suffix != '.py':
        return
    tree = ast.parse(file.read_text())
    assigned = [
        node.id
        for statement in tree.body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    read = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    read_below = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == '_base_'
    }
    yield from (name for name in assigned if name not in READ_KEYS | read | read_above)
    # As mmengine evaluates them: a base may be an expression.
    for base in Config._get_base_files(str(file)):
        if '::' not in base:
            yield from _without_effect(file.parent / base, read_above | read_below)


def _places(node: Any, name: str, path: str = '') -> Iterator[str]:
    """Dotted paths below the top whose last key is ``name``."""
    if isinstance(node, dict | Config):
        children = node.items()
    elif isinstance(node, list | tuple):
        children = enumerate(node)
    else:
        return
    for key, child in children:
        if not path and key not in READ_KEYS:
            continue
        if path and key == name:
            yield path + str(key)
        yield from _places(child, name, f'{path}{key}.')
