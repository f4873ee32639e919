"""Trained networks outside of Python's torch: ONNX files, integers on ordinary CPUs, NIR."""
