"""Fused neuron kernels: one source of arithmetic, compiled for the host and for GPUs."""
