"""Helpers that belong to no one part."""
