"""Bytes per element that the neurons read, write and keep; measured, not claimed.

Reads and writes are the arguments and results of every operator that runs, kept bytes those that
autograd holds between forward and backward.
"""

import argparse

import torch
from candidates import NEURONS, Candidate, candidates
from memory import Traffic, kept_bytes, peak_bytes
from rich.console import Console
from rich.table import Table
from torch import Tensor


def row(candidate: Candidate, x: Tensor, grad: Tensor) -> list[str]:
    """Cells: neuron, candidate, read and written forward, read and written backward, kept, peak."""
    candidate.forward_backward(x, grad)  # compiles and warms up
    with torch.no_grad(), Traffic() as forward:
        candidate(x)
    leaf = x.clone().requires_grad_()
    out = candidate(leaf)
    with Traffic() as backward:
        torch.autograd.grad(out, [leaf, *candidate.module.parameters()], grad)
    counts = [
        forward.read, forward.written, backward.read, backward.written,
        kept_bytes(lambda: candidate(x.detach().requires_grad_())),
        peak_bytes(lambda: candidate.forward_backward(x, grad), 'cpu'),
    ]  # fmt: skip
    cells = [f'{count / x.numel():.3f}'.rstrip('0').rstrip('.') for count in counts]
    return [candidate.neuron, candidate.name, *cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--timesteps', type=int, default=4)
    parser.add_argument('--dtype', choices=('float32', 'float16', 'bfloat16'), default='float32')
    args = parser.parse_args()
    x = torch.randn(args.timesteps * 8, 1 << 14).to(getattr(torch, args.dtype))
    headings = ('neuron', 'candidate', 'read forward', 'written', 'read backward', 'written')
    title = f'bytes per element, {args.dtype}, T={args.timesteps}'
    table = Table(*headings, 'kept', 'peak', title=title)
    for candidate in candidates(list(NEURONS), args.timesteps, 'cpu'):
        table.add_row(*row(candidate, x, torch.randn_like(x)))
    Console(width=110).print(table)


if __name__ == '__main__':
    main()
