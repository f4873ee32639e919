"""The demo's terminal."""

import sys

from rich.console import Console

# Bound to this file, not to whatever sys.stdout is later: what hosts print is caught there.
console = Console(file=sys.stdout)
