"""State dicts as other projects write them: without the records of neurons."""

from torch import Tensor, nn

from mmspike.neurons.records import is_record


def weights_alone(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of ``model`` without records."""
    return {key: value for key, value in model.state_dict().items() if not is_record(key)}
