"""RoI heads over time: all regions are pooled at every step in one call."""

from typing import Any

import torch
from mmdet.models.roi_heads import BaseRoIHead, CascadeRoIHead, StandardRoIHead
from mmdet.models.task_modules.samplers import OHEMSampler, ScoreHLRSampler
from torch import Tensor, nn

from mmspike.registry import MODELS
from mmspike.temporal import TemporalModule, init_timesteps


def tile_rois(rois: Tensor, timesteps: int, batch: int) -> Tensor:
    """Repeat regions at every time step of folded maps ``(T*B, C, H, W)``.

    Args:
        rois: ``(n, 5)``: image index from 0 to B-1, then the box.
        timesteps: T.
        batch: B.

    Returns:
        ``(T*n, 5)``, time-major: row ``t*n + i`` is region i on the maps of step t.
    """
    tiled = rois.repeat(timesteps, 1)
    steps = torch.arange(timesteps, device=rois.device).repeat_interleave(len(rois))
    tiled[:, 0] += batch * steps
    return tiled


class TiledRoIExtractor(TemporalModule, nn.Module):
    """An RoI extractor of mmdet on folded maps.

    Args:
        extractor: Any extractor; it sees ``T*n`` regions and gives features ``(T*n, C, h, w)``.
    """

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.extractor: Any = extractor  # which has more than nn.Module

    @property
    def num_inputs(self) -> int:
        return self.extractor.num_inputs

    @property
    def featmap_strides(self) -> list[int]:
        return self.extractor.featmap_strides

    def forward(self, feats: tuple[Tensor, ...], rois: Tensor, *args: Any) -> Tensor:
        """Features ``(T*n, C, h, w)`` of regions ``(n, 5)``.

        Raises:
            ValueError: The maps do not hold T steps.
        """
        steps, rest = divmod(len(feats[0]), self.timesteps)
        if rest:
            raise ValueError(
                f'maps of shape {tuple(feats[0].shape)} cannot hold {self.timesteps} time steps; '
                'call mmspike.set_timesteps(model, T)'
            )
        return self.extractor(feats, tile_rois(rois, self.timesteps, steps), *args)


class _TiledRoIs(TemporalModule, BaseRoIHead):
    """Mixin: wraps the extractors and refuses samplers that cannot work over time."""

    bbox_roi_extractor: nn.Module
    mask_roi_extractor: nn.Module

    def __init__(self, *args: Any, timesteps: int | None = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        init_timesteps(self, timesteps)

    def init_bbox_head(self, *args: Any) -> None:
        super().init_bbox_head(*args)
        self.bbox_roi_extractor = _tiled(self.bbox_roi_extractor)

    def init_mask_head(self, *args: Any) -> None:
        super().init_mask_head(*args)
        if not self.share_roi_extractor:
            self.mask_roi_extractor = _tiled(self.mask_roi_extractor)

    def init_assigner_sampler(self) -> None:
        super().init_assigner_sampler()
        samplers = self.bbox_sampler if isinstance(self.bbox_sampler, list) else [self.bbox_sampler]
        for sampler in samplers:
            if isinstance(sampler, OHEMSampler | ScoreHLRSampler):
                raise ValueError(
                    f'{type(sampler).__name__} runs the box head on maps of single images and '
                    'knows no time steps; use RandomSampler'
                )


def _tiled(extractors: nn.Module) -> nn.Module:
    if isinstance(extractors, nn.ModuleList):
        return nn.ModuleList(map(TiledRoIExtractor, extractors))
    return TiledRoIExtractor(extractors)


@MODELS.register_module()
class SpikeStandardRoIHead(_TiledRoIs, StandardRoIHead):
    """mmdet's ``StandardRoIHead`` on maps ``(T*B, C, H, W)``, for spiking box and mask heads.

    Args:
        timesteps: Number of time steps T, the same as the backbone's; the box and mask head get it
            too.
        **kwargs: See ``mmdet.models.StandardRoIHead``.

    Raises:
        ValueError: The sampler looks at features, which it does image by image.
    """

    def _mask_forward(
        self,
        x: tuple[Tensor, ...],
        rois: Tensor | None = None,
        pos_inds: Tensor | None = None,
        bbox_feats: Tensor | None = None,
    ) -> dict:
        if pos_inds is not None:  # one region is a row in every time step
            pos_inds = pos_inds.bool().repeat(self.timesteps)
        return super()._mask_forward(x, rois, pos_inds, bbox_feats)


@MODELS.register_module()
class SpikeCascadeRoIHead(_TiledRoIs, CascadeRoIHead):
    """mmdet's ``CascadeRoIHead`` on maps ``(T*B, C, H, W)``, for spiking box and mask heads.

    Args:
        timesteps: Number of time steps T, the same as the backbone's; the box and mask heads get it
            too.
        **kwargs: See ``mmdet.models.CascadeRoIHead``.

    Raises:
        ValueError: The sampler looks at features, which it does image by image.
    """
