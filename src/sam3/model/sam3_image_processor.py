"""The public SAM 3 notebook's image processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from sam3.errors import ConfigError, UnsupportedError
from sam3.features import ImageFeatures

if TYPE_CHECKING:
    from sam3.image_model import Sam3ImageModel

__all__ = ["ImageState", "Sam3Processor"]


@dataclass(frozen=True)
class ImageState:
    """Encoded images, to be handed to the model's predict calls; never changed by them.

    Attributes
    ----------
    images : tuple of ImageFeatures
    """

    images: tuple[ImageFeatures, ...]


class Sam3Processor:
    """Encode images for a model.

    Parameters
    ----------
    model : Sam3ImageModel
        From :func:`sam3.build_sam3_image_model`.
    resolution : int, optional
        Accepted for the notebook's sake; must be the model's own where it is given.
    device : optional
        Accepted and not used: the model's device counts.
    confidence_threshold : float
        Accepted and not used: it concerns text prompts.

    Raises
    ------
    ConfigError
        If the resolution is not the model's.
    """

    def __init__(
        self,
        model: Sam3ImageModel,
        resolution: int | None = None,
        device: Any = None,
        confidence_threshold: float = 0.5,
    ) -> None:
        own = model.predictor.config.resolution
        if resolution not in (None, own):
            raise ConfigError(
                f"the processor was asked for resolution {resolution}, the model has {own}; pass "
                "resolution to build_sam3_image_model instead."
            )
        self.model = model
        self.confidence_threshold = confidence_threshold

    def set_image(self, image: Any, state: Any = None) -> ImageState:
        """Encode one image.

        Parameters
        ----------
        image : PIL.Image.Image, ndarray or Tensor
            See :func:`sam3.transforms.rgb_image`.
        state : optional
            Accepted and not used: every call makes a new state.

        Returns
        -------
        ImageState

        Raises
        ------
        ImageError
            If it is no image that can be encoded.
        """
        return ImageState((self.model.predictor.encode(image),))

    def set_image_batch(self, images: Sequence[Any], state: Any = None) -> ImageState:
        """Encode several images of any sizes and kinds.

        Parameters
        ----------
        images : sequence
            Each as for :meth:`set_image`.
        state : optional
            Accepted and not used.

        Returns
        -------
        ImageState

        Raises
        ------
        ImageError
            If one of them is no image that can be encoded.
        """
        return ImageState(tuple(self.model.predictor.encode_batch(images)))

    def set_text_prompt(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: there is no text side yet."""
        raise UnsupportedError(
            "text prompts are not part of this package yet; prompt with points and boxes through "
            "model.predict_inst."
        )

    def add_geometric_prompt(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: exemplar boxes belong to the text detector."""
        raise UnsupportedError(
            "exemplar boxes for the text detector are not part of this package yet; for one mask a "
            "box, use model.predict_inst(state, box=...)."
        )
