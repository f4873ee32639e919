"""The common base of spiking backbones: stages, outputs, read-out, freezing, initialisation."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from mmengine.model import BaseModule, ModuleList, Sequential
from mmengine.model.weight_init import PretrainedInit, initialize
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmspike.checks import check_finite, check_number
from mmspike.layers import TemporalMean, recompute
from mmspike.pretrained import check_pretrained
from mmspike.temporal import TemporalModule, encode_input, set_timesteps


class Stage(BaseModule):
    """A down-sampling layer and the blocks behind it.

    Args:
        downsample: First module.
        blocks: The blocks.

    Attributes:
        with_cp: Recompute the blocks' activations in backward. The backbone sets it.
    """

    def __init__(self, downsample: nn.Module, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = Sequential(*blocks)
        self.with_cp = False

    def forward(self, x: Tensor) -> Tensor:
        """``(T*B, C, H, W)`` to ``(T*B, C', H', W')``."""
        x = self.downsample(x)
        for block in self.blocks:
            x = _run(block, x, self.with_cp)
        return x


def _run(module: nn.Module, x: Tensor, with_cp: bool) -> Tensor:
    return recompute(module, x) if with_cp and x.requires_grad else module(x)


class StagedBackbone(TemporalModule, BaseModule):
    """Stages one after the other, from membranes to membranes, some of which are outputs.

    Args:
        stages: The stages. They are taken only up to the last output: stages behind it would not
            run, and DDP waits for every gradient.
        channels: Channels of every stage's output.
        strides: Their strides over the input, in pixels.
        in_channels: Channels of the input.
        timesteps: Number of time steps T.
        out_indices: Stages to return, from 0; negative ones count from the end.
        readout: Return the mean over time instead of all steps.
        frozen_stages: Freeze the stages up to and including this one; -1 freezes none.
        norm_eval: Keep the norms in evaluation mode while training.
        with_cp: Recompute activations in backward to save memory: those of a :class:`Stage`'s
            blocks, and those of any other stage as a whole.
        init_cfg: Initialisation config. None leaves torch's own initialisation of convolutions.

    Attributes:
        out_indices: The outputs in the order of the stages, counted from 0.
        out_channels: Channels of the outputs.
        out_strides: Strides of the outputs over the input, in pixels.

    Raises:
        ValueError: An option is not acceptable; the message names it.
    """

    def __init__(
        self,
        stages: Iterable[nn.Module],
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        *,
        in_channels: int,
        timesteps: int,
        out_indices: tuple[int, ...],
        readout: bool,
        frozen_stages: int,
        norm_eval: bool,
        with_cp: bool,
        init_cfg: dict | list | None,
    ) -> None:
        super().__init__(init_cfg)
        count = len(channels)
        listed = isinstance(out_indices, Sequence)
        if not listed or not all(isinstance(i, int) for i in out_indices):
            raise ValueError(
                f'out_indices must be a sequence of ints, such as (0, 1), got {out_indices!r}'
            )
        indices = tuple(sorted({i + count if i < 0 else i for i in out_indices}))
        if not indices or len(indices) < len(out_indices) or not set(indices) <= set(range(count)):
            raise ValueError(
                f'out_indices must name stages from 0 to {count - 1}, each once, got {out_indices}'
            )
        if not -1 <= frozen_stages < count:
            raise ValueError(
                f'frozen_stages must lie between -1 and {count - 1}, got {frozen_stages}'
            )
        self.in_channels = in_channels
        self.out_indices = indices
        self.out_channels = tuple(channels[i] for i in indices)
        self.out_strides = tuple(strides[i] for i in indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.stages = ModuleList(islice(stages, indices[-1] + 1))
        self.readout = TemporalMean() if readout else nn.Identity()
        self.with_cp = with_cp
        for stage in self.stages:
            if isinstance(stage, Stage):
                stage.with_cp = with_cp
        set_timesteps(self, timesteps)
        self._freeze_stages()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps of ``out_indices``.

        Args:
            x: Images ``(B, C, H, W)`` or frames ``(B, T, C, H, W)``.

        Returns:
            Maps ``(T*B, C', H', W')``; ``(B, C', H', W')`` with ``readout``.

        Raises:
            ValueError: The shape does not fit the model, or the input holds NaN or infinity.
        """
        x = self.encode(x)
        outs = []
        for i, stage in enumerate(self.stages):
            x = _run(stage, x, self.with_cp and not isinstance(stage, Stage))
            if i in self.out_indices:
                outs.append(self.readout(x))
        return tuple(outs)

    def encode(self, x: Tensor) -> Tensor:
        """The input of the first stage: ``(T*B, C, H, W)``, an image repeated at every step."""
        x = encode_input(x, self.timesteps)
        self.check_input(x)
        return x

    def check_input(self, x: Tensor) -> None:
        """Check the channels and values of an input ``(..., C, H, W)``.

        Raises:
            ValueError: They are not what the model was built for, or not finite.
        """
        if x.shape[-3] != self.in_channels:
            raise ValueError(
                f'the input has {x.shape[-3]} channels (shape {tuple(x.shape)} after folding '
                f'time), the model was built with in_channels={self.in_channels}'
            )
        check_finite(x, 'input')

    def init_weights(self) -> None:
        """Initialise: from ``init_cfg`` if there is one, else as torch does.

        Raises:
            NeuronMismatchError: A pretrained checkpoint was made with other neurons.
        """
        if self.is_init:
            super().init_weights()  # which warns
            return
        check_pretrained(self)
        super().init_weights()
        chosen = [self.init_cfg] if isinstance(self.init_cfg, dict) else self.init_cfg or []
        if any(cfg['type'] in ('Pretrained', PretrainedInit) for cfg in chosen):
            return
        # mmcv's ConvModule has initialised its convolutions once more in between: begin with
        # torch's own initialisation, then apply the config.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()
        for cfg in chosen:
            initialize(self, dict(cfg))

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Place of a parameter between input and output, for layer-wise learning rates.

        The first layer has depth 0. Every block is one layer deeper than the block before it, and
        a down-sampling layer is as deep as the block that follows. What comes after the stages,
        parts outside the backbone included, has the largest depth. It is the interface that
        mmpretrain's ``LearningRateDecayOptimWrapperConstructor`` asks for.

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: What the names of the backbone's parameters begin with there, such as
                ``'backbone.'``.

        Returns:
            The depth and the number of depths.
        """
        depths = self._stage_depths()
        count = max(depths.values()) + 2
        if param_name.startswith(prefix):
            own_name = param_name.removeprefix(prefix)
            for name, depth in depths.items():
                if own_name.startswith(name):
                    return depth, count
        return count - 1, count

    def _stage_depths(self) -> dict[str, int]:
        """The depth of each layer's name prefix within the stages."""
        depths, depth = {}, 0
        for i, stage in enumerate(self.stages):
            if not isinstance(stage, Stage):
                depths[f'stages.{i}.'] = depth
                depth += 1
                continue
            depths[f'stages.{i}.downsample.'] = depth
            depth = max(depth, 1)  # the first down-sampling layer stands alone
            for j in range(len(stage.blocks)):
                depths[f'stages.{i}.blocks.{j}.'] = depth
                depth += 1
        return depths

    def _freeze_stages(self) -> None:
        for stage in self.stages[: self.frozen_stages + 1]:
            stage.eval()
            stage.requires_grad_(False)

    def train(self, mode: bool = True) -> 'StagedBackbone':
        """Set the mode, except of frozen stages and, with ``norm_eval``, of norms."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def rising_rates(largest: float, count: int) -> list[float]:
    """Rates of stochastic depth: from 0 at the first of ``count`` blocks to ``largest``.

    Raises:
        TypeError, ValueError: ``largest`` is no number from 0 to 1.
    """
    largest = check_number('drop_path_rate', largest, at_least=0, at_most=1)
    return [largest * i / max(count - 1, 1) for i in range(count)]


def named_arch(arch: str | dict, archs: dict[str, dict]) -> dict:
    """Settings of an architecture: one of ``archs`` by name, or a dict with the same keys.

    Raises:
        ValueError: It is neither name nor dict, the name is unknown, or a key is missing or
            unknown.
    """
    if isinstance(arch, str):
        if arch not in archs:
            raise ValueError(f'unknown arch {arch!r}; known are {", ".join(archs)}, or give a dict')
        return archs[arch]
    if not isinstance(arch, Mapping):
        raise ValueError(
            f'arch must be a name ({", ".join(archs)}) or a dict, got {arch!r} '
            f'({type(arch).__name__})'
        )
    keys = set(next(iter(archs.values())))
    if set(arch) != keys:
        raise ValueError(f'an arch dict needs exactly the keys {sorted(keys)}, got {sorted(arch)}')
    return dict(arch)


def check_per_stage(arch: Mapping, stages: int, *keys: str) -> None:
    """Check that settings of an architecture have one number for each stage.

    Raises:
        ValueError: One has not.
    """
    for key in keys:
        if not isinstance(arch[key], Sequence) or len(arch[key]) != stages:
            raise ValueError(
                f'{key} of an arch needs one number for each of the {stages} stages, got '
                f'{arch[key]!r}'
            )


def check_whole(arch: Mapping, *keys: str, at_least: int = 1) -> None:
    """Check that settings of an architecture are whole numbers, or sequences of some.

    Raises:
        ValueError: One is not, or is smaller than ``at_least``.
    """
    for key in keys:
        numbers = arch[key] if isinstance(arch[key], Sequence) else (arch[key],)
        if not numbers or not all(isinstance(n, int) and n >= at_least for n in numbers):
            raise ValueError(
                f'{key} of an arch must be whole numbers from {at_least} on, got {arch[key]!r}'
            )
