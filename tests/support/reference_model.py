"""What a family's model on a reference case has in common with all others."""

from torch import Tensor, nn

from mmspike.backbones.base import named_arch
from mmspike.converters import Conversion
from support.reference_cases import Case, Difference


def with_heads(arch: str | dict, archs: dict[str, dict], num_heads: int) -> dict:
    """An architecture read from weights, in which heads leave no trace, with its heads."""
    return dict(named_arch(arch, archs), num_heads=num_heads)


class ReferenceModel(nn.Module):
    """A model of ours with the weights of a case; its sizes come from the case alone.

    A call with the inputs of the case returns its outputs by the reference's names.
    """

    conversion: Conversion

    def load(self, conversion: Conversion, case: Case) -> None:
        """Take all converted weights, and the mode of the case."""
        assert not conversion.missing
        assert not conversion.unexpected
        self.conversion = conversion
        self.load_state_dict(conversion.state_dict)
        self.train(case.meta['mode'] == 'train')

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """The outputs of the case by the reference's names."""
        raise NotImplementedError

    @staticmethod
    def agrees(case: str, row: Difference) -> bool:
        """Whether a difference is no more than rounding."""
        return row.relative < 1e-5
