import threading

import torch
from torch import nn

from mmspike.layers import recompute
from mmspike.neurons import SFA
from mmspike.neurons.kernels.backend import chosen_backend, neuron_backend


def test_the_second_run_takes_the_backend_of_the_first():
    """On GPUs, backward runs in threads of autograd's own, which choose nothing."""
    seen = []

    class Watched(SFA):
        def fire(self, x, v):
            seen.append(chosen_backend())
            return super().fire(x, v)

    block = nn.Sequential(nn.Linear(3, 3), Watched())
    with neuron_backend('reference'):
        loss = recompute(block, torch.randn(2, 3, requires_grad=True)).sum()
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join(60)
    assert seen == ['reference', 'reference']
    assert block[0].weight.grad is not None
