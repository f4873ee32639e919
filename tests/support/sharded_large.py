"""A small SDT v3 large classifier, trained by one process or by mmengine's FSDP strategy."""

import os

import torch
import torch.distributed as dist
from mmengine._strategy import FSDPStrategy
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import nn

ARCH = dict(
    embed_dims=(4, 8, 8, 16), depths=(1, 1, 1, 2), num_heads=2, stem_stride=2, rep_expansion=1.0
)
OPTIMIZER = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01))
BATCH, STEPS, RANKS = 4, 3, 2


def classifier() -> nn.Module:
    """The model. Its norms keep their statistics: each process has its own part of a batch."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = ImageClassifier(
            dict(type='mmspike.SDTV3Large', arch=ARCH, norm_eval=True, layer_scale_init_value=1.0),
            dict(type='GlobalAveragePooling'),
            dict(type='mmspike.SpikeDistillClsHead', num_classes=3, in_channels=16, analog_fc=True),
        )
    model.init_weights()  # the strategy would do it later, with other random numbers
    return model


def batch(step: int, rank: int, ranks: int) -> dict:
    """A rank's share of a batch."""
    generator = torch.Generator().manual_seed(step)
    images = 4 * torch.randn(BATCH, 3, 32, 32, generator=generator)
    samples = [DataSample().set_gt_label(i % 3) for i in range(BATCH)]
    share = slice(rank * BATCH // ranks, (rank + 1) * BATCH // ranks)
    return dict(inputs=images[share], data_samples=samples[share])


def train_alone() -> nn.Module:
    """The model after some steps of one process."""
    model = classifier().train()
    wrapper = build_optim_wrapper(model, OPTIMIZER)
    for step in range(STEPS):
        model.train_step(batch(step, 0, 1), wrapper)
    return model


def work(rank: int, folder: str) -> None:
    """Be one of the processes; the first writes a checkpoint to ``folder/whole.pth``."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(RANKS))
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=RANKS
    )
    strategy = FSDPStrategy(
        model_wrapper=dict(
            type='MMFullyShardedDataParallel',
            device_id=torch.device('cpu'),
            use_orig_params=True,
        ),
        # The short form, 'full', moves weights to the CPU, where they are: torch 2.9 crashes.
        state_dict_cfg=dict(
            state_dict_type='FULL_STATE_DICT',
            state_dict_config=dict(type='FullStateDictConfig', offload_to_cpu=False),
            optim_state_dict_config=dict(type='FullOptimStateDictConfig'),
        ),
        work_dir=folder,
    )
    model, wrapper = strategy.prepare(classifier(), optim_wrapper=OPTIMIZER)
    model.train()
    for step in range(STEPS):
        model.train_step(batch(step, rank, RANKS), wrapper)
    strategy.save_checkpoint(f'{folder}/whole.pth', save_optimizer=False)
    dist.barrier()
    dist.destroy_process_group()
