"""Datasets that need no download, for the hosts' own pipelines and metrics."""
