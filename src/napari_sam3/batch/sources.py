"""Where a batch's image and model come from, in this process or in another one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam3.images.identity import ImageIdentity, identify
from napari_sam3.images.lazy import LazyImage, open_image
from napari_sam3.inference.cache import ENCODING_VERSION

from .results import BatchError

if TYPE_CHECKING:
    from sam3.predictor import Predictor

__all__ = ["ImageSource", "ModelSource"]

# One of each a process: a model is loaded once by a worker, however many planes it works on.
_models: dict[ModelSource, Predictor] = {}
_loading = threading.Lock()


class ImageSource:
    """An image, by its path or itself. Without a path it cannot be sent to another process.

    Parameters
    ----------
    path : str, optional
        Where any process opens it.
    image : LazyImage, optional
        The image, if it is known to this process only.
    rgb : bool, optional
        Whether it is in colour; by default as the file says.
    """

    def __init__(
        self, path: str | None = None, image: LazyImage | None = None, rgb: bool | None = None
    ) -> None:
        self.path, self.rgb = path, rgb
        self._image = image
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the path alone: each process opens the image itself."""
        return ImageSource, (self.path, None, self.rgb)

    @classmethod
    def of(cls, image: Any, rgb: bool | None = None) -> ImageSource:
        """Take a path, a `LazyImage`, or an array; raises ImageError (see `LazyImage.of`)."""
        if isinstance(image, str | os.PathLike):
            return cls(os.path.abspath(image), rgb=rgb)
        if isinstance(image, LazyImage):
            if rgb is not None and rgb != image.rgb:
                raise BatchError(
                    f"rgb={rgb} does not fit a LazyImage with rgb={image.rgb}; leave it out here"
                )
            return cls(image=image)
        if not hasattr(image, "shape") or not hasattr(image, "dtype") or len(image.shape) < 2:
            raise BatchError(
                f"{type(image).__name__} is not an image; expected a path, an array of at least 2 "
                "axes, or a LazyImage"
            )
        return cls(image=LazyImage.of(image, rgb=rgb))

    def open(self) -> LazyImage:
        """Return the image, which is opened once, by any thread; raises ImageError."""
        with self._lock:
            if self._image is None:
                assert self.path is not None
                self._image = open_image(self.path, rgb=self.rgb)
            return self._image

    def close(self) -> None:
        """Close what was opened here; it is opened again when it is needed."""
        with self._lock:
            if self.path is not None and self._image is not None:
                self._image.close()
                self._image = None

    def identity(self) -> ImageIdentity:
        """Say which image it is; raises ImageError."""
        image = self.open()
        name = Path(self.path).name if self.path else "image"
        return identify(image.data, name, rgb=image.rgb, multiscale=image.multiscale)


@dataclass(frozen=True)
class ModelSource:
    """A model, by its name, or itself.

    Parameters
    ----------
    name : str
        "tiny", or a weights file.
    device : str
        "auto", "cpu", "cuda" or "mps".
    loader : callable, optional
        Returns the model, if only this process has it.
    """

    name: str = "tiny"
    device: str = "auto"
    loader: Callable[[], Predictor] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, model: Any, device: str = "auto") -> ModelSource:
        """Take a name or path, a predictor, or a function that loads one."""
        if isinstance(model, ModelSource):
            return model
        if isinstance(model, str | os.PathLike):
            return cls(os.fspath(model), device)
        if hasattr(model, "predict"):
            return cls(loader=lambda: model)
        if callable(model):
            return cls(loader=model)
        raise BatchError(
            f"{model!r} is not a model; expected a name, a weights file or a predictor"
        )

    @property
    def is_portable(self) -> bool:
        """Whether another process can load it."""
        return self.loader is None

    def describe(self) -> dict[str, Any]:
        """Load the model, and return all of it that results depend on, as plain values."""
        predictor = self.load()
        return {
            "preset": predictor.config.name,
            "fingerprint": predictor.fingerprint,
            "resolution": predictor.config.resolution,
            "precision": str(predictor.dtype).removeprefix("torch."),
            "encoding": ENCODING_VERSION,
        }

    def load(self) -> Predictor:
        """Return the model, which is loaded once a process; raises Sam3Error."""
        if self.loader is not None:
            return self.loader()
        with _loading:
            if self not in _models:
                from sam3.predictor import load_predictor

                _models[self] = load_predictor(self.name, self.device)
            return _models[self]
