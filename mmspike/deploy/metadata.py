"""What an exported file says about itself, beside its graph."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, get_origin, get_type_hints

PREFIX = 'mmspike.'


@dataclass
class Metadata:
    """Properties of an exported file; each is a property ``mmspike.<name>`` of the ONNX model.

    Attributes:
        version: Of mmspike.
        part: ``'network'``, or the head on regions that the file holds.
        parts: Names of all files that belong to the model.
        model: A number of the checkpoint's weights, the same in all files of one model.
        family: Class of the backbone.
        task: ``'classification'``, ``'detection'`` or ``'segmentation'``.
        timesteps: T; None for a network without time.
        D: Largest integer of its neurons; None without integer neurons.
        execution: ``'integer'``: D spikes travel as one number.
        precision: ``'float32'`` or ``'int8'``.
        classes: Names of the classes; empty if they are not known.
        palette: Their colours.
        preprocessing: Of images: ``mean``, ``std``, ``bgr_to_rgb`` and further options of the
            host's data preprocessor.
        neurons: Names of the values that neurons put out.
        int8_layers: Names of the layers with int8 weights.
        outputs: How the outputs are nested, as text of torch's pytrees.
        config: What the host builds around the network: data preprocessor, heads, test pipeline.
    """

    version: str
    part: str
    parts: list[str]
    model: str
    family: str
    task: str
    timesteps: int | None
    D: int | None
    execution: str
    precision: str
    classes: list[str]
    palette: list[list[int]]
    preprocessing: dict[str, Any]
    neurons: list[str]
    int8_layers: list[str]
    outputs: str
    config: dict[str, Any]

    def properties(self) -> dict[str, str]:
        """As properties of an ONNX model."""
        return {PREFIX + one.name: json.dumps(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def of(cls, properties: Mapping[str, str], path: Any) -> 'Metadata':
        """Read the properties of an ONNX model.

        Raises:
            ValueError: They are not those of a file that mmspike exported.
        """
        try:
            values = {one.name: json.loads(properties[PREFIX + one.name]) for one in fields(cls)}
        except (KeyError, ValueError, RecursionError) as error:
            raise ValueError(
                f'{path} is no file that mmspike exported ({error}); tools/deploy/export_onnx.py '
                'writes them'
            ) from None
        for name, hint in get_type_hints(cls).items():
            kind = hint if isinstance(hint, UnionType) else get_origin(hint) or hint
            if not isinstance(values[name], kind):
                raise ValueError(f'{path} is damaged: its {PREFIX}{name} is {values[name]!r:.80}')
        return cls(**values)
