"""Models for fast inference in PyTorch."""

from mmspike.inference.optimise import optimize_for_inference

__all__ = ['optimize_for_inference']
