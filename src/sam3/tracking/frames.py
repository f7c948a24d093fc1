"""Frames of a series, read one at a time from an array, a list, a folder or a video."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3.errors import ImageError, UnsupportedError
from sam3.features import ImageFeatures
from sam3.predictor import Predictor
from sam3.preprocess.contrast import percentile_limits, to_uint8
from sam3.preprocess.transforms import rgb_image

__all__ = ["EncodedFrames", "FrameReader", "open_frames"]

_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"}
_SAMPLED_FRAMES = 5


def open_frames(video_path: Any) -> Any:
    """Open a series without reading its frames.

    Parameters
    ----------
    video_path : path-like, sequence or array
        A folder of images numbered by their names; a video such as an mp4, if a decoder is
        installed; a list of images; or an array T x H x W or T x H x W x 3, possibly lazy.

    Returns
    -------
    sequence

    Raises
    ------
    ImageError
        If the path does not exist or the series is empty.
    UnsupportedError
        If no video decoder is installed.
    """
    if not isinstance(video_path, str | os.PathLike):
        frames: Any = video_path
        if not (hasattr(frames, "__len__") and hasattr(frames, "__getitem__")):
            raise ImageError(
                f"the frames are a {type(frames).__name__}. Expected a path, a list of images or "
                "an array T x H x W (x 3). Pass one of these."
            )
        if getattr(frames, "ndim", 4) not in (3, 4):
            raise ImageError(
                f"the frames have the shape {tuple(frames.shape)}. Expected T x H x W or "
                "T x H x W x 3. Choose one channel or three."
            )
    else:
        path = Path(video_path)
        if not path.exists():
            raise ImageError(
                f"the frames do not exist: {path}. Expected a folder or a file. Check the path."
            )
        frames = _Folder(path) if path.is_dir() else _Video(path)
    if len(frames) == 0:
        raise ImageError(
            f"the series is empty: {_described(video_path)}. Expected at least one frame. Check "
            "the path."
        )
    return frames


def _described(source: Any) -> str:
    return str(source) if isinstance(source, str | os.PathLike) else type(source).__name__


class _Folder:
    """Images of a folder, sorted by the numbers in their names."""

    def __init__(self, folder: Path) -> None:
        images = [path for path in folder.iterdir() if path.suffix.lower() in _IMAGE_SUFFIXES]
        self._paths = sorted(images, key=lambda path: (_numbers(path.stem), path.name))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        with Image.open(self._paths[index]) as image:
            return np.asarray(image if image.mode.startswith(("I", "F")) else image.convert("RGB"))


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


class _Video:
    """Frames of a video, decoded by PyAV."""

    def __init__(self, path: Path) -> None:
        if find_spec("av") is None:
            raise UnsupportedError(
                f"no decoder for the video {path} is installed. Expected PyAV. Install it with "
                "`pip install av`, or save the frames as a folder of images."
            )
        import imageio.v3 as iio

        try:
            self._file = iio.imopen(path, "r", plugin="pyav")
            self._length = sum(1 for _ in self._file.iter())
        except (OSError, ValueError, RuntimeError) as error:
            raise ImageError(
                f"the video {path} cannot be read: {error}. Expected a video that the decoder "
                "reads. Convert it."
            ) from error

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        return np.asarray(self._file.read(index=index))


class FrameReader:
    """Reader of frames that checks their consistency.

    Parameters
    ----------
    frames : sequence or iterable
        Images as for :func:`sam3.preprocess.transforms.rgb_image`, or features of them. Integers
        wider than 8 bits are stretched equally in all frames, between percentiles of a sample of
        frames.

    Attributes
    ----------
    length : int or None
        Number of frames; None for an iterator.
    size : tuple of int or None
        (height, width), known after the first frame has been read.
    """

    def __init__(self, frames: Any) -> None:
        self.frames = frames
        indexable = hasattr(frames, "__len__") and hasattr(frames, "__getitem__")
        self.length: int | None = len(frames) if indexable else None
        self.size: tuple[int, int] | None = None
        self._dtype: np.dtype[Any] | None = None
        self._limits: tuple[float, float] | None = None

    def __getitem__(self, frame: int) -> ImageFeatures | npt.NDArray[np.uint8]:
        """Read a frame of a sequence.

        Raises
        ------
        ImageError
            If the frame cannot be read, or differs from the others in size or data type.
        """
        try:
            item = self.frames[frame]
        except Exception as error:  # readers raise errors of any type
            raise ImageError(
                f"frame {frame} cannot be read: {error}. Expected an image. Check its file, or "
                "leave the frame out."
            ) from error
        return self.check(frame, item)

    def check(self, frame: int, item: Any) -> ImageFeatures | npt.NDArray[np.uint8]:
        """Check a frame, and convert an image to 8-bit RGB."""
        if isinstance(item, ImageFeatures):
            self._check_size(frame, item.size)
            return item
        try:
            pixels = self._to_rgb(frame, item)
        except ImageError:
            raise
        except Exception as error:  # lazy arrays are read here
            raise ImageError(
                f"frame {frame} cannot be read: {error}. Expected an image. Check its file, or "
                "leave the frame out."
            ) from error
        self._check_size(frame, (pixels.shape[0], pixels.shape[1]))
        return pixels

    def _to_rgb(self, frame: int, item: Any) -> npt.NDArray[np.uint8]:
        if hasattr(item, "__array__") and not isinstance(item, Image.Image):
            channels_first = hasattr(item, "movedim") and len(item.shape) == 3
            item = np.asarray(item.movedim(0, -1).cpu() if channels_first else item)
            if self._dtype is not None and item.dtype != self._dtype:
                raise ImageError(
                    f"frame {frame} has the data type {item.dtype}. Expected {self._dtype}, as in "
                    "the first frame read. Convert all frames to one data type."
                )
            self._dtype = item.dtype
            if item.dtype.kind in "iu" and item.dtype != np.uint8:
                item = to_uint8(item, self._stretch(item))
        return rgb_image(item)

    def _stretch(self, first: npt.NDArray[Any]) -> tuple[float, float]:
        """Return the contrast limits of all frames, estimated from a few of them if possible."""
        if self._limits is None:
            samples = [first]
            for frame in np.linspace(0, (self.length or 1) - 1, _SAMPLED_FRAMES).astype(int):
                try:
                    sample = np.asarray(self.frames[int(frame)])
                except Exception:
                    continue
                if sample.dtype == first.dtype:
                    samples.append(sample)
            self._limits = percentile_limits(
                np.concatenate([s.reshape(-1) for s in samples]),
                f"the series of frames of shape {first.shape}",
            )
        return self._limits

    def _check_size(self, frame: int, size: tuple[int, int]) -> None:
        if self.size is not None and size != self.size:
            raise ImageError(
                f"frame {frame} has the size {size[0]} x {size[1]}. Expected {self.size[0]} x "
                f"{self.size[1]}, as in the first frame read. Crop or pad the frames to one size."
            )
        self.size = size


class EncodedFrames:
    """Cache of the features of the last few frames.

    Parameters
    ----------
    predictor : Predictor
        Encodes frames.
    reader : FrameReader
        Reads them.
    keep : int
        Number of frames in the cache.
    progress : callable, optional
        As for :meth:`sam3.predictor.Predictor.encode`.
    """

    def __init__(
        self,
        predictor: Predictor,
        reader: FrameReader,
        keep: int,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        self.predictor, self.reader, self.progress = predictor, reader, progress
        self._keep = keep
        self._features: dict[int, ImageFeatures] = {}

    def __call__(self, frame: int) -> ImageFeatures:
        """Return the features of a frame."""
        if frame not in self._features:
            self.put(frame, self.reader[frame])
        return self._features[frame]

    def put(self, frame: int, item: ImageFeatures | npt.NDArray[np.uint8]) -> None:
        """Encode a frame that has been read, and cache its features."""
        if isinstance(item, ImageFeatures):
            self.predictor.check_features(item)
            features = item.to(self.predictor.device)
        else:
            features = self.predictor.encode(item, self.progress)
        self._features[frame] = features
        while len(self._features) > self._keep:
            del self._features[next(iter(self._features))]

    def stream(self) -> Iterator[tuple[int, Any]]:
        """Yield the frames of an iterator with their numbers."""
        yield from enumerate(self.reader.frames)
