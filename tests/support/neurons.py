"""All neurons of mmspike, by its public names. Tests of every neuron take a new one at once."""

from mmspike import neurons
from mmspike.neurons import BaseNeuron


def _is_neuron(value: object) -> bool:
    """Whether it is a neuron that fires, not what several have in common."""
    return (
        isinstance(value, type)
        and issubclass(value, BaseNeuron)
        and not getattr(value.fire, '__isabstractmethod__', False)
    )


NEURONS = [kind for kind in vars(neurons).values() if _is_neuron(kind)]
WITH_MEMORY = [kind for kind in NEURONS if kind.has_memory]
WITHOUT_MEMORY = [kind for kind in NEURONS if not kind.has_memory]
