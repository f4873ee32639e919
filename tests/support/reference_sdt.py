"""SDT on its reference cases; see :mod:`support.reference_cases`."""

import torch
from torch import Tensor, nn

from mmspike import set_timesteps
from mmspike.backbones import SDT
from mmspike.converters import convert_sdt
from mmspike.neurons import LIF
from support.reference_cases import Case, Difference, compare_gradients, compare_outputs

SDT_CASES = (
    'sdt_v1_imagenet', 'sdt_v1_cifar', 'sdt_v1_cifar_tet', 'sdt_v1_cifar_train', 'sdt_v1_dvs',
)  # fmt: skip


class SDTClassifier(nn.Module):
    """SDT with the reference's classifier, loaded through the converter."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.conversion = convert_sdt(case.weights())
        assert not self.conversion.missing
        assert not self.conversion.unexpected
        options = case.meta['constructor']
        self.every_step = options['TET']
        self.num_heads = options['num_heads']
        self.wanted = set(case.meta['outputs'])
        self.backbone = SDT(
            self.conversion.arch,
            pooling_stat=options['pooling_stat'],
            in_channels=options['in_channels'],
            dvs_pool=options['dvs_mode'],
            legacy_dvs_pool=options['dvs_mode'],
            num_heads=self.num_heads,
        )
        weight = self.conversion.state_dict['head.fc.weight']
        self.head = nn.ModuleDict(dict(neuron=LIF(), fc=nn.Linear(*weight.shape[::-1])))
        self.load_state_dict(self.conversion.state_dict)
        set_timesteps(self, options['T'])
        self.train(case.meta['mode'] == 'train')

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        stages = self.backbone.stages
        first, second = stages[5].attn, stages[6].attn
        named, handles = {}, []

        def keep(name: str, module: nn.Module) -> None:
            def hook(module: nn.Module, inputs: tuple, out: Tensor) -> None:
                named[name] = out

            handles.append(module.register_forward_hook(hook))

        keep('hook_MS_SPS_lif3', stages[4].conv.activate)
        keep('hook_MS_SSA_Conv0_kv', first.kv_neuron)
        keep('hook_MS_SSA_Conv1_kv', second.kv_neuron)
        handles.append(
            first.out.register_forward_pre_hook(
                lambda module, inputs: named.update(hook_MS_SSA_Conv0_x_after_qkv=inputs[0])
            )
        )
        feats = self.backbone(x)[0].mean((2, 3))
        for handle in handles:
            handle.remove()
        # The reference lays tokens out as (tokens, channels of a head).
        masked = named['hook_MS_SSA_Conv0_x_after_qkv']
        heads = masked.flatten(2).unflatten(1, (self.num_heads, -1)).transpose(-2, -1)
        spikes = self.head['neuron'](feats)
        logits = self.head['fc'](spikes).unflatten(0, (self.backbone.timesteps, -1))
        named.update(
            hook_MS_SSA_Conv0_x_after_qkv=heads.contiguous(),
            hook_head_lif=spikes,
            logits=logits if self.every_step else logits.mean(0),
        )
        return {name: value for name, value in named.items() if name in self.wanted}


def compare_sdt(name: str) -> list[Difference]:
    """Outputs, spike maps, running statistics and gradients of one case."""
    case = Case.load(name)
    model = SDTClassifier(case)
    x = case.input().requires_grad_('backward' in case.meta)
    with torch.set_grad_enabled('backward' in case.meta):
        outputs = model(x)
    rows = compare_outputs(case, outputs)
    if 'backward' in case.meta:
        rows += compare_gradients(case, model, outputs, x)
    return rows
