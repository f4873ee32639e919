"""Pipeline transforms for mmpretrain."""
