"""State dicts as other projects write them: without the records of neurons."""

from collections.abc import Mapping

from torch import Tensor

from mmspike.neurons.records import is_record


def weights_alone(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without records."""
    return {key: value for key, value in state_dict.items() if not is_record(key)}
