"""Fused neuron kernels: one source of arithmetic, compiled for CPUs and for GPUs."""
