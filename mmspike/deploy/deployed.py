"""Exported files as the inferencers of the hosts."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from torch import nn

from mmspike.apis.inference import inferencer_of, show_progress
from mmspike.deploy.exported_network import RuntimePart
from mmspike.deploy.metadata import Metadata
from mmspike.deploy.onnx_files import part_path, read_onnx
from mmspike.deploy.parts import skip_head
from mmspike.deploy.runtimes import open_session
from mmspike.deploy.stored_config import read_config
from mmspike.execution.replacement import replace
from mmspike.hosts import NETWORK

Image = str | os.PathLike | np.ndarray


class Deployed:
    """An exported model: its files run in a runtime, everything around them is the host's.

    Args:
        inferencer: The host's inferencer.
        metadata: What the network's file says about itself.

    Attributes:
        model: The host's model around the files; ``model.test_step(batch)`` runs it.
    """

    def __init__(self, inferencer: Any, metadata: Metadata) -> None:
        self.inferencer = inferencer
        self.metadata = metadata
        self.model: BaseModel = inferencer.model

    def __call__(
        self,
        images: Image | Sequence[Image],
        batch_size: int = 1,
        **kwargs: Any,
    ) -> Any:
        """Predict, with a progress bar for several images.

        Args:
            images: Files or arrays ``(H, W, 3)``, uint8, BGR; one or several, or a folder.
            batch_size: Images that run together.
            **kwargs: Of the host's inferencer, such as ``return_datasamples=True``.

        Returns:
            What the host's inferencer returns: mmpretrain a list of dictionaries, mmdet and mmseg a
            dictionary with ``predictions``.
        """
        if isinstance(images, Image):
            given: Any = _as_host_takes_it(images)
            several = isinstance(given, str) and Path(given).is_dir()
        else:
            given = [_as_host_takes_it(image) for image in images]
            several = len(given) > 1
        show_progress(self.inferencer, several)
        return self.inferencer(given, batch_size=batch_size, **kwargs)


def _as_host_takes_it(image: Image) -> str | np.ndarray:
    return image if isinstance(image, np.ndarray) else str(image)


def load(path: str | os.PathLike, runtime: str = 'auto', threads: int | None = None) -> Deployed:
    """Load an exported model; of a detector of two stages, the network's file.

    Args:
        path: What :func:`~mmspike.deploy.export_onnx` wrote.
        runtime: See :func:`~mmspike.deploy.runtimes.open_session`.
        threads: See :func:`~mmspike.deploy.runtimes.open_session`.

    Raises:
        FileNotFoundError, IsADirectoryError: There is no such file, or one that belongs to it is
            missing.
        MissingExtraError: No runtime is installed, or not the wanted one.
        ValueError: The file is damaged, another kind of file, or its parts are of another model.
    """
    path = Path(path)
    _, metadata = read_onnx(path)
    if metadata.part != NETWORK:
        raise ValueError(f'{path} holds {metadata.part} only: load the file of the network')
    if NETWORK not in metadata.parts:
        raise ValueError(f'{path} is damaged: its mmspike.parts are {metadata.parts}')
    cfg = read_config(metadata.config, path)
    parts = {
        name: _part(part_path(path, name), name, metadata, runtime, threads)
        for name in metadata.parts
    }
    init_default_scope(cfg.default_scope)
    classes = {
        key: value
        for key, value in (('classes', metadata.classes), ('palette', metadata.palette))
        if value
    }
    inferencer = inferencer_of(cfg, None, 'cpu', classes)
    _splice(inferencer.model, parts)
    return Deployed(inferencer, metadata)


def _part(
    path: Path, name: str, network: Metadata, runtime: str, threads: int | None
) -> RuntimePart:
    model, metadata = read_onnx(path)
    if (metadata.model, metadata.precision, metadata.part) != (
        network.model, network.precision, name,
    ):  # fmt: skip
        raise ValueError(
            f'{path} is of another export than the network beside it: export the model again'
        )
    dims = model.graph.input[0].type.tensor_type.shape.dim
    size = [one.dim_param or one.dim_value for one in dims]
    session = open_session(path, runtime, threads)
    try:
        return RuntimePart(session, metadata.outputs, size)
    except Exception as error:
        raise ValueError(f'{path} is damaged: its mmspike.outputs cannot be read') from error


def _splice(model: Any, parts: dict[str, RuntimePart]) -> None:
    """Put the files into the places of the host's modules."""
    for name, part in parts.items():
        if name == NETWORK:
            model.backbone.part = part
            skip_head(model)
        else:
            replace(model.get_submodule(name), _InPlaceOf(part), lasting=False)


class _InPlaceOf:
    """A file in the place of a module's ``forward``."""

    def __init__(self, part: RuntimePart) -> None:
        self.part = part

    def __call__(self, module: nn.Module, forward: Any, args: tuple, kwargs: dict) -> Any:
        return self.part(args[0])
