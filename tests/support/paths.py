"""Where things are."""

from pathlib import Path

# The repository.
ROOT = Path(__file__).resolve().parents[2]
