"""Seeding all generators of random numbers at once."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_all(*entropy: int) -> None:
    """Seed Python, numpy and torch from several numbers."""
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def seeded(*entropy: int) -> Iterator[None]:
    """Run a block with :func:`seed_all`, and put the generators back."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices):
        seed_all(*entropy)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
