"""Writing the parts of a model as ONNX files, and reading them."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.model import BaseModel

from mmspike.apis.inference import classes_of_config
from mmspike.deploy.extras import needed
from mmspike.deploy.metadata import Metadata
from mmspike.deploy.onnx_export import Exported, export_parts
from mmspike.deploy.samples import sample_images
from mmspike.deploy.stored_config import stored_config
from mmspike.files import atomic_write
from mmspike.hosts import NETWORK
from mmspike.neurons import IntegerNeuron
from mmspike.neurons.records import is_record
from mmspike.temporal import get_timesteps, has_time
from mmspike.version import __version__

TASKS = {'mmpretrain': 'classification', 'mmdet': 'detection', 'mmseg': 'segmentation'}


def export_onnx(
    cfg: Config,
    model: BaseModel,
    path: str | os.PathLike,
    *,
    size: Sequence[int] | None = None,
    free_size: bool | None = None,
    **options: Any,
) -> list[Path]:
    """Export the model of a config to ONNX: standard operators alone, batch norms folded.

    The batch is free. A detector of two stages has a file for each head that works on regions as
    well: ``model.roi_head.bbox_head.onnx`` beside ``model.onnx``.

    Args:
        cfg: Config of mmpretrain, mmdet or mmseg.
        model: Its model with weights; not changed.
        path: File to be written, ``*.onnx``.
        size: Height and width of the images; None takes those of the config.
        free_size: Leave height and width free where the network allows it; None does so for
            detectors and segmentors.
        **options: ``precision``, ``int8_input``, ``int8_read_out``, ``keep``, ``rounding`` and
            ``calibration`` of :func:`~mmspike.deploy.onnx_export.export_parts`.

    Returns:
        The files, the network first.

    Raises:
        IsADirectoryError: A directory is there.
        MissingExtraError: A library of ``mmspike[deploy]`` is not installed.
        ValueError: The path does not end in ``.onnx``, the model cannot be exported, or the size of
            the images is fixed and unknown.
    """
    path = Path(path)
    _check_target(path)
    if cfg.get('test_dataloader') is None:
        raise ValueError(
            'the config has no test_dataloader, whose pipeline and classes a file carries: export '
            'with the config of a classifier, detector or segmentor'
        )
    serialize = needed('onnx_ir').serde.serialize_model
    images = sample_images(cfg, model, size)
    if free_size is None:
        free_size = cfg.default_scope != 'mmpretrain'
    exported = list(export_parts(model, images, free_size=free_size, **options))
    takes = exported[0].model.graph.inputs[0].shape
    if size is None and cfg.default_scope != 'mmpretrain' and isinstance(takes[-1], int):
        raise ValueError(
            'the file would take images of one size only, and the config does not say which: give '
            'one (--size HEIGHT WIDTH)'
        )
    precision = options.get('precision', 'float32')
    common = _common(cfg, model, precision, [one.name for one in exported])
    contents = []
    for one in exported:
        metadata = Metadata(**common, **_own(one))
        one.model.metadata_props.update(metadata.properties())
        contents.append((part_path(path, one.name), serialize(one.model).SerializeToString()))
    for file, content in contents:  # nothing is written before everything is there
        with atomic_write(file) as out:
            out.write(content)
    return [file for file, _ in contents]


def _check_target(path: Path) -> None:
    """Check before a long export that a file can be written afterwards."""
    if path.suffix != '.onnx':
        raise ValueError(f'an exported file must end in .onnx, got {path}')
    if path.is_dir():
        raise IsADirectoryError(f'{path} is a directory: name a file')


def part_path(path: Path, part: str) -> Path:
    """Where a part lies beside the network's file."""
    return path if part == NETWORK else path.with_name(f'{path.stem}.{part}.onnx')


def _common(cfg: Config, model: BaseModel, precision: str, parts: list[str]) -> dict[str, Any]:
    """What all files of a model say."""
    meta = getattr(model, 'dataset_meta', None) or classes_of_config(cfg, cfg.default_scope)
    largest = {m.D for m in model.modules() if isinstance(m, IntegerNeuron)}
    preprocessor = cfg.get('data_preprocessor') or cfg.model.get('data_preprocessor') or {}
    return dict(
        version=__version__,
        parts=parts,
        model=fingerprint(model),
        family=type(model.backbone).__name__,
        task=TASKS[cfg.default_scope],
        timesteps=get_timesteps(model) if has_time(model) else None,
        D=max(largest, default=None),
        execution='integer',
        precision=precision,
        classes=list(meta.get('classes') or ()),
        palette=[list(map(int, colour)) for colour in meta.get('palette') or ()],
        preprocessing=dict(preprocessor),
        config=stored_config(cfg),
    )


def _own(exported: Exported) -> dict[str, Any]:
    return dict(
        part=exported.name,
        neurons=list(exported.neurons),
        int8_layers=exported.int8_layers,
        outputs=exported.outputs,
    )


def fingerprint(model: BaseModel) -> str:
    """A number of a model's weights: the same weights have the same one."""
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if hasattr(value, 'cpu') and not is_record(name):
            found.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def read_onnx(path: str | os.PathLike) -> tuple[Any, Metadata]:
    """Read an exported file.

    Returns:
        An ``onnx.ModelProto``, and what the file says about itself.

    Raises:
        FileNotFoundError, IsADirectoryError: There is no such file.
        MissingExtraError: onnx is not installed.
        ValueError: The file is damaged, or mmspike did not export it.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f'{path} is a directory: name an .onnx file in it')
    if not path.is_file():
        raise FileNotFoundError(f'there is no file {path}')
    onnx = needed('onnx')
    try:
        model = onnx.load_model(path, load_external_data=False)
        properties = {one.key: one.value for one in model.metadata_props}
    except Exception as error:
        raise ValueError(
            f'{path} ({path.stat().st_size} bytes) cannot be read as an ONNX file: it is damaged, '
            'incomplete or another kind of file'
        ) from error
    return model, Metadata.of(properties, path)
