"""Trained networks outside of Python's torch: ONNX, integers, NIR."""
