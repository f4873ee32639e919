"""Arguments that many tools take."""

import argparse

import torch
from mmengine.config import DictAction


def add_cfg_options(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, which: str = 'the config'
) -> None:
    """Add ``--cfg-options``.

    Args:
        parser: Parser, or group of arguments.
        which: Whose values they override, for the help.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help=f'override values of {which}: key=value, with dots for nesting',
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='cpu, cuda, cuda:1 ...; default a GPU if there is one',
    )
