"""A network of all neurons, trained by one process or sharded over several (FSDP, on CPUs)."""

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from support.neurons import NEURONS

T, BATCH, STEPS, RANKS = 2, 4, 2, 2


def network():
    """All neurons, with a layer between each two."""
    torch.manual_seed(0)
    layers = [(nn.Linear(6, 6), kind(timesteps=T)) for kind in NEURONS]
    return nn.Sequential(*(nn.Sequential(*pair) for pair in layers), nn.Linear(6, 3))


def batch(step):
    """Input (T, B, 6) and target (B, 3)."""
    generator = torch.Generator().manual_seed(step)
    x = 3 * torch.randn(T, BATCH, 6, generator=generator)
    return x, torch.randn(BATCH, 3, generator=generator)


def train(net, rank, ranks):
    """Train on one of the ranks' share of each batch."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.05)
    for step in range(STEPS):
        x, target = batch(step)
        x, target = x.chunk(ranks, 1)[rank], target.chunk(ranks, 0)[rank]
        # Every layer gets an input of its own, so that all learn and none only sees silence.
        currents, loss = x.flatten(0, 1), 0.0
        for block in net[:-1]:
            loss = (
                loss
                + net[-1](block(currents)).unflatten(0, (T, -1)).mean(0).sub(target).square().mean()
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def sharded(mesh):
    """The network over all processes."""
    net = network()
    for block in net:
        fully_shard(block, mesh=mesh)
    return fully_shard(net, mesh=mesh)


def carried(net, mesh, folder):
    """The masking ratios that another network takes from ``net``, by torch's two ways."""
    net[0][1].masking_ratio = 0.25
    by_files, by_broadcast = sharded(mesh), sharded(mesh)

    dcp.save(get_model_state_dict(net), checkpoint_id=f'{folder}/checkpoint')
    read = get_model_state_dict(by_files)
    dcp.load(read, checkpoint_id=f'{folder}/checkpoint')
    set_model_state_dict(by_files, read)

    first_process = dict(full_state_dict=True, cpu_offload=True)
    options = StateDictOptions(**first_process, broadcast_from_rank0=True)
    weights = get_model_state_dict(net, options=StateDictOptions(**first_process))
    set_model_state_dict(by_broadcast, weights, options=options)
    return [other[0][1].masking_ratio for other in (by_files, by_broadcast)]


def work(rank, folder):
    """Be one of the processes; the first writes the trained weights to ``folder``.

    Each writes the masking ratios that records carried, see :func:`carried`.
    """
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=RANKS
    )
    mesh = init_device_mesh('cpu', (RANKS,))
    net = train(sharded(mesh), rank, RANKS)
    whole = {
        name: value.full_tensor() if isinstance(value, DTensor) else value
        for name, value in net.state_dict().items()
    }
    if rank == 0:
        torch.save(whole, f'{folder}/whole.pth')
    ratios = carried(net, mesh, folder)
    torch.save(ratios, f'{folder}/ratios_{rank}.pth')
    dist.barrier()
    dist.destroy_process_group()
