"""Trained networks outside of Python's torch: ONNX files, integers on ordinary CPUs, NIR."""

from importlib import import_module
from typing import Any

from mmspike.deploy.deployed import Deployed, load
from mmspike.deploy.extras import MissingExtraError
from mmspike.deploy.onnx_files import export_onnx

__all__ = ['Deployed', 'MissingExtraError', 'export_onnx', 'from_nir', 'load', 'to_nir']


def __getattr__(name: str) -> Any:
    """``to_nir`` and ``from_nir``, which need the package ``nir``, when they are asked for."""
    if name not in ('from_nir', 'to_nir'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module('mmspike.deploy.nir'), name)
