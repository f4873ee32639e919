"""Trained networks outside of Python's torch: ONNX files, integers on ordinary CPUs, NIR."""

from mmspike.deploy.deployed import Deployed, load
from mmspike.deploy.extras import MissingExtraError
from mmspike.deploy.onnx_files import export_onnx

__all__ = ['Deployed', 'MissingExtraError', 'export_onnx', 'load']
