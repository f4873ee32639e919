"""Spiking heads, one folder per host library: ``cls`` extends mmpretrain."""
