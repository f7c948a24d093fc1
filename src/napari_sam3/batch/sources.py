"""Source of a batch's image, for this process and others."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from napari_sam3.images.identity import ImageIdentity, identify_blocks
from napari_sam3.images.lazy import LazyImage, open_image

from .results import BatchError

__all__ = ["ImageSource"]


class ImageSource:
    """An image by path or object. Without a path it cannot be sent to another process.

    Parameters
    ----------
    path : str, optional
        Path at which any process can open it.
    image : LazyImage, optional
        The image, if only this process has it.
    rgb : bool, optional
        Whether it is in colour; by default as stated by the file.
    """

    def __init__(
        self, path: str | None = None, image: LazyImage | None = None, rgb: bool | None = None
    ) -> None:
        self.path, self.rgb = path, rgb
        self._image = image
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the path only: each process opens the image itself."""
        return ImageSource, (self.path, None, self.rgb)

    @classmethod
    def of(cls, image: Any, rgb: bool | None = None) -> ImageSource:
        """Convert a path, a `LazyImage` or an array; raises ImageError (see `LazyImage.of`)."""
        if isinstance(image, str | os.PathLike):
            return cls(os.path.abspath(image), rgb=rgb)
        if isinstance(image, LazyImage):
            if rgb is not None and rgb != image.rgb:
                raise BatchError(
                    f"rgb={rgb} does not fit a LazyImage. Expected rgb={image.rgb}, as the image "
                    "has. Leave it out here."
                )
            return cls(image=image)
        if not hasattr(image, "shape") or not hasattr(image, "dtype") or len(image.shape) < 2:
            raise BatchError(
                f"{type(image).__name__} is not an image. Expected a path, an array of at least 2 "
                "axes, or a LazyImage. Pass one of these."
            )
        return cls(image=LazyImage.of(image, rgb=rgb))

    def open(self) -> LazyImage:
        """Return the image, opening it once for all threads; raises ImageError."""
        with self._lock:
            if self._image is None:
                assert self.path is not None
                self._image = open_image(self.path, rgb=self.rgb)
            return self._image

    def close(self) -> None:
        """Close the image if it was opened here; `open` opens it again."""
        with self._lock:
            if self.path is not None and self._image is not None:
                self._image.close()
                self._image = None

    def identity(self) -> tuple[ImageIdentity, list[str | None]]:
        """Identify the image and its blocks, see `identify_blocks`; raises ImageError."""
        image = self.open()
        name = Path(self.path).name if self.path else "image"
        return identify_blocks(image.data, name, rgb=image.rgb, multiscale=image.multiscale)
