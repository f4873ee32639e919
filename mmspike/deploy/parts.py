"""The place of an exported file in a host's model.

Before and after the network, everything stays the host's: the data preprocessor, anchors, boxes and
their suppression, resizing of label maps, test-time settings.
"""

from typing import Any

from torch import nn

from mmspike.execution.replacement import replace
from mmspike.hosts import head_name


class Features(tuple):
    """Feature maps as a host's ``extract_feat`` returns them, with the head's outputs beside.

    Attributes:
        raw: What the head puts out.
    """

    raw: Any


def give_raw_outputs(head: nn.Module, forward: Any, args: tuple, kwargs: dict) -> Any:
    """In the place of a head's ``forward``: what came out of the file already."""
    return args[0].raw


def skip_head(model: nn.Module) -> None:
    """Let the head hand on what the file's network put out."""
    replace(model.get_submodule(head_name(model)), give_raw_outputs)
