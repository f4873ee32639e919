"""Reading an image only if the sample does not contain it."""

from mmcv.transforms import LoadImageFromFile

from mmspike.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """``LoadImageFromFile`` for data sets whose samples hold their images.

    It does not touch such samples. Tools that apply a test pipeline to a file, such as mmpretrain's
    ``vis_cam.py``, find the transform that reads it.

    Required keys: ``img`` or ``img_path``. Added where there is no ``img``: ``img``
    ``(H, W, 3)``, uint8; ``img_shape``; ``ori_shape``.

    Args:
        rgb: Give the file's channels the order of samples that hold RGB, instead of BGR.
        **kwargs: See ``mmcv.LoadImageFromFile``.
    """

    def __init__(self, *, rgb: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.rgb = rgb

    def transform(self, results: dict) -> dict | None:
        """Read the image if there is none yet."""
        if 'img' in results:
            return results
        results = super().transform(results)
        if self.rgb and results is not None:
            results['img'] = results['img'][..., ::-1].copy()
        return results
