"""Adding a simulation to a converted model: the modules that take part, and their hooks."""

from torch import nn

from mmspike.ann2snn.simulation import Simulation
from mmspike.checks import check_integer
from mmspike.deprecation import renamed_arguments
from mmspike.execution import get_execution
from mmspike.execution.replacement import replace
from mmspike.layers import DropPath, TemporalMean
from mmspike.neurons import BaseNeuron, SpikingQCFS
from mmspike.temporal import TemporalModule, check_timesteps, set_timesteps

# Where the mean is taken if nothing else is said, the first that a model has.
READOUTS = ('head.fc', 'decode_head.conv_seg', 'bbox_head', 'neck', 'backbone')


@renamed_arguments(encode='input_module', readout='readout_module', answer='scores_module')
def simulate(
    model: nn.Module,
    timesteps: int,
    *,
    chunk: int = 8,
    input_module: str | None = None,
    readout_module: str | None = None,
    scores_module: str | None = None,
    patience: int | None = None,
) -> Simulation:
    """Make every call of ``model``, a converted network, run ``timesteps`` steps.

    Args:
        model: What :func:`~mmspike.ann2snn.spiking.convert_to_spiking` returned; changed in
            place.
        timesteps: Number of steps T; :func:`mmspike.set_timesteps` changes it later.
        chunk: See :class:`Simulation`.
        input_module: See :class:`Simulation`. By default the backbone; without one, the model
            itself.
        readout_module: See :class:`Simulation`. By default, of what the model has: its temporal
            mean, ``head.fc``, ``decode_head.conv_seg``, ``bbox_head``, ``neck``, ``backbone``;
            otherwise the model itself.
        scores_module: See :class:`Simulation`; ``'head'`` for classifiers of mmpretrain.
        patience: See :class:`Simulation`.

    Returns:
        The part that was added, ``model.simulation``.

    Raises:
        TypeError, ValueError: A number is no positive integer, a module does not exist, the model
            has no neurons of a conversion, has other spiking parts as well, or is simulated or
            switched to spike-driven execution already, or ``patience`` is given without
            ``scores_module``.
    """
    check_timesteps(timesteps)
    check_integer('chunk', chunk, at_least=1)
    modules = dict(model.named_modules())
    if input_module is None:
        input_module = 'backbone' if 'backbone' in modules else ''
    if readout_module is None:
        means = [name for name, module in modules.items() if isinstance(module, TemporalMean)]
        readout_module = next((name for name in (*means, *READOUTS) if name in modules), '')
    for name in (input_module, readout_module, scores_module or ''):
        if name not in modules:
            raise ValueError(f'{type(model).__name__} has no module {name!r}')
    if patience is not None:
        check_integer('patience', patience, at_least=1)
        if scores_module is None:
            raise ValueError(
                'patience needs scores_module: the module whose outputs are the scores'
            )
    _check_parts(model, modules, input_module, readout_module)
    around = modules[readout_module.rpartition('.')[0]]
    inside = isinstance(modules[readout_module], TemporalMean) and hasattr(around, 'out_indices')
    simulation = Simulation(
        timesteps,
        chunk=chunk,
        input_module=input_module,
        readout_module=readout_module,
        scores_module=scores_module,
        patience=patience,
        readouts=len(around.out_indices) if inside else 1,
    )
    for module in modules.values():
        if isinstance(module, SpikingQCFS):
            module.register_forward_pre_hook(simulation.before_neuron)
            module.register_forward_hook(simulation.after_neuron)
    if input_module:
        modules[input_module].register_forward_pre_hook(simulation.before_encode)
    if readout_module:
        modules[readout_module].register_forward_hook(simulation.after_readout)
    if scores_module:
        modules[scores_module].register_forward_hook(simulation.after_answer)
    model.simulation = simulation
    set_timesteps(model, timesteps)
    replace(model, simulation.run)
    return simulation


def _check_parts(
    model: nn.Module, modules: dict[str, nn.Module], input_module: str, readout_module: str
) -> None:
    if 'simulation' in modules:
        raise ValueError('the model is simulated already: set model.simulation.timesteps')
    execution = get_execution(model)
    if execution != 'integer':
        raise ValueError(
            f'simulate first, then switch to spike-driven execution: it is {execution!r}'
        )
    if not any(isinstance(module, SpikingQCFS) for module in modules.values()):
        raise ValueError(
            f'{type(model).__name__} has no neurons of a conversion: insert_qcfs and '
            'convert_to_spiking come first'
        )
    for name, module in modules.items():
        if not isinstance(module, TemporalModule) or isinstance(module, SpikingQCFS | DropPath):
            continue
        if isinstance(module, BaseNeuron):
            raise ValueError(
                f'{name} is a neuron of another kind ({type(module).__name__}), whose state would '
                'be lost between chunks: a simulation runs converted neurons only'
            )
        encodes = not input_module or name == input_module or name.startswith(f'{input_module}.')
        if name != readout_module and (isinstance(module, TemporalMean) or not encodes):
            raise ValueError(
                f'{name} ({type(module).__name__}) depends on time and would see only one chunk: '
                f'read out there (readout_module={name!r}), or use a part that ignores time'
            )
