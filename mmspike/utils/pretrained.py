"""The neuron check for mmengine's ``Pretrained`` initialisation."""

from mmengine.model import BaseModule
from mmengine.model.weight_init import PretrainedInit
from mmengine.runner.checkpoint import CheckpointLoader

from mmspike.neurons import check_neurons


def check_pretrained_neurons(module: BaseModule) -> None:
    """Compare the neurons of ``module`` with those of the checkpoint its ``init_cfg`` names.

    With a ``prefix`` mmengine builds a new dictionary and drops the metadata in which neurons are
    recorded; so modules with neurons call this before they are initialised.

    Raises:
        NeuronMismatchError: The checkpoint was made with other neurons.
    """
    cfgs = [module.init_cfg] if isinstance(module.init_cfg, dict) else module.init_cfg or []
    for cfg in cfgs:
        if cfg['type'] in ('Pretrained', PretrainedInit) and cfg.get('prefix'):
            checkpoint = CheckpointLoader.load_checkpoint(cfg['checkpoint'], map_location='cpu')
            check_neurons(module, checkpoint.get('state_dict', checkpoint), cfg['prefix'])
