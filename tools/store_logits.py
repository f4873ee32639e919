"""Store what a teacher answers to the training data, so that it runs once and not in every epoch.

It takes configs of mmpretrain's and of mmspike's classifiers, and names of mmpretrain's models. The
images of the config's training data pass its test pipeline. An interrupted run goes on where it
was. mmspike.DistilledClassifier(teacher_logits=...) reads the folder.
"""

import argparse
import copy
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS
from torch.utils.data import ConcatDataset, DataLoader, Subset

from mmspike.apis.arguments import add_cfg_options, add_device
from mmspike.apis.config import load_config
from mmspike.apis.launch import adapt_to_devices
from mmspike.apis.terminal import progress_bar, tool_console
from mmspike.classifiers.logits_writer import LogitsWriter
from mmspike.classifiers.samples import leaf_datasets, samples_of
from mmspike.classifiers.teacher import load_teacher, model_of, teacher_config_file
from mmspike.files import forbid_code_in_checkpoints
from mmspike.folder_lock import FolderLock
from mmspike.hooks.file_name_hook import NamingCompose

console = tool_console(file_width=130)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help="the teacher's config file, or a name of mmpretrain")
    parser.add_argument('checkpoint', type=Path, help="file of the teacher's weights")
    parser.add_argument('--out', type=Path, required=True, help='output folder')
    parser.add_argument('--batch-size', type=int, help="default the test loader's")
    add_device(parser)
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.batch_size is not None and args.batch_size < 1:
        parser.error('--batch-size must be positive')
    return args


def read_config(args: argparse.Namespace) -> Config:
    name = args.config
    cfg = load_config(
        name if name.startswith('mmspike::') else teacher_config_file(name), args.cfg_options
    )
    missing = [key for key in ('model', 'train_dataloader', 'test_dataloader') if not cfg.get(key)]
    if missing or cfg.get('default_scope') != 'mmpretrain':
        raise ValueError(
            f'{args.config} is no config of a classifier with its data: '
            + (f'it has no {", ".join(missing)}' if missing else 'default_scope is not mmpretrain')
        )
    return cfg


def with_pipeline(dataset: Any, pipeline: list) -> Any:
    """The config of a data set, or of wrappers around some, with another pipeline."""
    dataset = copy.deepcopy(dataset)
    if 'datasets' in dataset:
        dataset.datasets = [with_pipeline(part, pipeline) for part in dataset.datasets]
    elif 'dataset' in dataset:
        dataset.dataset = with_pipeline(dataset.dataset, pipeline)
    else:
        dataset.pipeline = pipeline
    return dataset


def pipeline_of(dataset: Any) -> list:
    """The pipeline of the first data set inside wrappers."""
    while 'pipeline' not in dataset:
        dataset = dataset.datasets[0] if 'datasets' in dataset else dataset.dataset
    return dataset.pipeline


def fingerprint(checkpoint: Path, *parts: Any) -> str:
    """A hash of weights and settings."""
    with open(checkpoint, 'rb') as file:
        digest = hashlib.file_digest(file, 'sha256')
    digest.update(json.dumps(parts, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


@torch.no_grad()
def store(args: argparse.Namespace) -> None:
    cfg = read_config(args)
    adapt_to_devices(cfg, 'none')
    init_default_scope('mmpretrain')
    model = model_of(cfg)
    teacher = load_teacher(model, args.checkpoint).to(args.device)
    pipeline = pipeline_of(cfg.test_dataloader.dataset)
    dataset = DATASETS.build(with_pipeline(cfg.train_dataloader.dataset, pipeline))
    parts = list(leaf_datasets(dataset))
    for part in parts:
        # An image that cannot be read is an error that names it, and no other takes its place.
        part.test_mode = True
        part.pipeline = NamingCompose(part.pipeline.transforms)
    about = dict(
        config=Path(cfg.filename).stem,
        checkpoint=args.checkpoint.name,
        fingerprint=fingerprint(args.checkpoint, model, pipeline),
    )
    with (
        FolderLock(args.out, 'store_logits', '--out'),
        LogitsWriter(args.out, samples_of(dataset), about) as writer,
    ):
        # Not the wrappers, which may repeat samples.
        run(teacher, ConcatDataset(parts), writer, cfg, args)
        writer.finish()
    console.print(f'logits of {writer.done} samples are in {args.out}', soft_wrap=True)


def run(
    teacher: Any,
    dataset: ConcatDataset,
    writer: LogitsWriter,
    cfg: Config,
    args: argparse.Namespace,
) -> None:
    """Store the logits of the samples that have none yet."""
    if writer.done:
        console.print(f'{writer.done} samples have their logits', soft_wrap=True)
    loader: DataLoader = DataLoader(
        Subset(dataset, range(writer.done, len(dataset))),
        batch_size=args.batch_size or cfg.test_dataloader.batch_size,
        num_workers=cfg.train_dataloader.get('num_workers', 0),
        collate_fn=pseudo_collate,
    )
    with progress_bar(console) as progress:
        task = progress.add_task('storing logits', total=len(dataset), completed=writer.done)
        for batch in loader:
            inputs = teacher.data_preprocessor(batch, False)['inputs']
            logits = teacher(inputs, mode='tensor')
            if not isinstance(logits, torch.Tensor) or logits.dim() != 2:
                raise ValueError(
                    f'{cfg.model.type} answers with no scores (images, classes): is it a '
                    'classifier with a head?'
                )
            writer.append(logits.float().cpu().numpy())
            progress.update(task, completed=writer.done)


def main() -> None:
    forbid_code_in_checkpoints()
    args = parse_args()
    try:
        store(args)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        sys.exit(f'store_logits: {error}')
    except KeyboardInterrupt:
        console.print('stopped; run the same command again to finish')
        sys.exit(130)


if __name__ == '__main__':
    main()
