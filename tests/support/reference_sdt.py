"""SDT on its reference cases; see :mod:`support.parity`."""

import re

from torch import Tensor, nn

from mmspike import set_timesteps
from mmspike.backbones import SDT
from mmspike.backbones.sdt import NUM_CONVS
from mmspike.converters import convert_sdt
from mmspike.converters.sdt import neuron_of
from support.reference_cases import Case, Difference
from support.reference_model import ReferenceModel


class SDTClassifier(ReferenceModel):
    """SDT with the reference's classifier."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        conversion = convert_sdt(case.weights())
        options = case.meta['constructor']
        self.every_step = options['TET']
        self.num_heads = options['num_heads']
        self.wanted = set(case.meta['outputs'])
        neuron = neuron_of(conversion.state_dict)
        self.backbone = SDT(
            conversion.arch,
            pooling_stat=options['pooling_stat'],
            in_channels=options['in_channels'],
            dvs_pool=options['dvs_mode'],
            legacy_dvs_pool=options['dvs_mode'],
            num_heads=self.num_heads,
            neuron_cfg=dict(type=neuron),
        )
        weight = conversion.state_dict['head.fc.weight']
        self.head = nn.ModuleDict(dict(neuron=neuron(), fc=nn.Linear(*weight.shape[::-1])))
        self.load(conversion, case)
        set_timesteps(self, options['T'])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        named: dict[str, Tensor] = {}
        handles = [self._keep(name, named) for name in self.wanted if name.startswith('hook_MS')]
        feats = self.backbone(x)[0].mean((2, 3))
        for handle in handles:
            handle.remove()
        spikes = self.head['neuron'](feats)
        logits = self.head['fc'](spikes).unflatten(0, (self.backbone.timesteps, -1))
        named.update(hook_head_lif=spikes, logits=logits if self.every_step else logits.mean(0))
        return {name: value for name, value in named.items() if name in self.wanted}

    def _keep(self, name: str, named: dict[str, Tensor]) -> object:
        """A hook that keeps the spikes of that name during the forward pass."""
        attention = re.fullmatch(r'hook_MS_SSA_Conv(\d+)_(kv|x_after_qkv)', name)
        if attention is None:
            convolution = re.fullmatch(r'hook_MS_SPS_lif(\d+)', name)
            module = self.backbone.stages[int(convolution[1]) + 1].conv.activate
        else:
            module = self.backbone.stages[NUM_CONVS + 1 + int(attention[1])].attn
            if attention[2] == 'x_after_qkv':
                return module.out.register_forward_pre_hook(
                    lambda module, inputs: named.update({name: self._by_heads(inputs[0])})
                )
            module = module.kv_neuron
        return module.register_forward_hook(lambda module, _, out: named.update({name: out}))

    def _by_heads(self, x: Tensor) -> Tensor:
        """The reference lays tokens out as (tokens, channels of a head)."""
        heads = x.flatten(2).unflatten(1, (self.num_heads, -1))
        return heads.transpose(-2, -1).contiguous()

    @staticmethod
    def agrees(case: str, row: Difference) -> bool:
        """A batch norm follows some biases; in training their gradient is 0 up to rounding."""
        if case.endswith('_train') and row.quantity.endswith('proj_conv.bias'):
            return row.absolute < 1e-5
        return ReferenceModel.agrees(case, row)
