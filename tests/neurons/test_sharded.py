"""Sharded training (FSDP): two processes compute what one does, for every neuron."""

import pytest
import torch
import torch.multiprocessing as mp

from support.sharded_training import RANKS, network, train, work
from support.weights_alone import weights_alone


@pytest.mark.slow
@pytest.mark.skipif(
    torch.__version__.startswith('2.6.'), reason='fully_shard of torch 2.6 needs a GPU'
)
def test_two_processes_compute_what_one_does(tmp_path):
    mp.spawn(work, args=(str(tmp_path),), nprocs=RANKS)
    sharded = torch.load(tmp_path / 'whole.pth', weights_only=True)
    start, alone = network().state_dict(), train(network(), 0, 1).state_dict()
    assert list(sharded) == list(alone)
    for name, value in alone.items():
        torch.testing.assert_close(sharded[name], value, rtol=1e-4, atol=1e-5, msg=name)
    for name, value in weights_alone(alone).items():
        assert not torch.equal(value, start[name]), f'{name} did not learn'
    # Distributed checkpoints and broadcast weights hold the records of neurons.
    for rank in range(RANKS):
        assert torch.load(tmp_path / f'ratios_{rank}.pth') == [0.25, 0.25]
