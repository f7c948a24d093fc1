"""Tracking of objects through a stack or a time series with SAM 3's memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from sam3.errors import ImageError, PromptError
from sam3.features import ImageFeatures
from sam3.model.memory import Memory
from sam3.predictor import Predictor, load_predictor
from sam3.preprocess.mask_output import MaskKind, empty_masks, write_masks
from sam3.prompts import check_prompts
from sam3.runtime.devices import Precision
from sam3.tracking.frames import EncodedFrames, FrameReader
from sam3.tracking.session import TrackingSession
from sam3.tracking.steps import ObjectOnFrame, TrackingSteps
from sam3.weights import load as checkpoint
from sam3.weights.memory import load_memory

__all__ = ["FramePrompt", "TrackedFrame", "Tracker", "load_tracker"]

Direction = Literal["forward", "backward", "both"]
_KEPT_FEATURES = 2


@dataclass(frozen=True, eq=False, kw_only=True)
class FramePrompt:
    """Prompt for an object on one frame: clicks and a box, or its mask.

    Attributes
    ----------
    frame : int
        Number of the frame, from 0.
    object_id : int
        Any number that identifies the object.
    points : array-like, shape (N, 2), optional
        (x, y) in pixels of the frame; pixel centres are at integers.
    labels : array-like, shape (N,), optional
        1 foreground, 0 background.
    box : array-like, shape (4,), optional
        x0, y0, x1, y1 in pixels of the frame.
    mask : array-like of bool, shape (H, W), optional
        The mask of the object, instead of clicks and a box.
    """

    frame: int
    object_id: int
    points: npt.ArrayLike | None = None
    labels: npt.ArrayLike | None = None
    box: npt.ArrayLike | None = None
    mask: npt.ArrayLike | None = None


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """Masks of the N objects prompted so far, on one frame.

    Attributes
    ----------
    frame : int
        Number of the frame.
    size : tuple of int
        (height, width).
    object_ids : tuple of int
    logits : ndarray of float32, shape (N, L, L)
        Low-resolution mask logits; all -1024 where the object is not on the frame.
    scores : ndarray of float32, shape (N,)
        Predicted intersection over union of the masks.
    object_logits : ndarray of float32, shape (N,)
        Logits of the objects being on the frame.
    """

    frame: int
    size: tuple[int, int]
    object_ids: tuple[int, ...]
    logits: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    object_logits: npt.NDArray[np.float32]

    @cached_property
    def masks(self) -> npt.NDArray[np.bool_]:
        """Masks (N, H, W), drawn on first use."""
        return self._drawn("masks")

    @cached_property
    def crops(self) -> tuple[Any, ...]:
        """N masks as :class:`sam3.preprocess.masks.MaskCrop`, drawn on first use."""
        return tuple(self._drawn("crops"))

    def _drawn(self, kind: MaskKind) -> npt.NDArray[Any]:
        masks = empty_masks((len(self.logits), 1), self.size, kind)
        low = torch.from_numpy(self.logits)[:, None]
        if len(low):
            write_masks(masks, low, self.logits[:, None], self.size, kind=kind, fill_area=0)
        return masks[:, 0]


class Tracker:
    """Track objects from frame to frame.

    Parameters
    ----------
    predictor : Predictor
        With the same weights as the memory.
    memory : Memory
        From :func:`sam3.weights.memory.load_memory`.
    selection : bool
        Remember good frames rather than recent ones.
    dtype : torch.dtype, optional
        Data type of stored memories, by default float32 on a CPU and bfloat16 elsewhere.
    """

    def __init__(
        self,
        predictor: Predictor,
        memory: Memory,
        *,
        selection: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.predictor = predictor
        self.steps = TrackingSteps(predictor, memory, dtype)
        self.selection = selection

    def session(self, frames: int | None = None, *, together: bool = False) -> TrackingSession:
        """Return a session for prompting and stepping explicitly; see :class:`TrackingSession`."""
        return TrackingSession(self.steps, frames, together=together, selection=self.selection)

    def track(
        self,
        frames: Any,
        prompts: Iterable[FramePrompt],
        *,
        direction: Direction = "forward",
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[TrackedFrame]:
        """Track prompted objects through a series, independently of each other.

        Frames are read one at a time, and the memory needed does not grow with the length of the
        series. Iteration may stop at any time.

        Parameters
        ----------
        frames : sequence or iterable
            Images of one size and data type (arrays, also lazy ones, PIL images) or features of
            them. In a sequence, prompts also affect earlier frames; in an iterator, only their own
            and later ones.
        prompts : iterable of FramePrompt
            At most one per object and frame.
        direction : {"forward", "backward", "both"}
            Track each object from its first prompt to the last frame, from its last prompt to
            frame 0, or from its first prompt to both ends, forward first. With "both", a frame
            between the first prompts of two objects is yielded once for each.
        progress : callable, optional
            As for :meth:`sam3.predictor.Predictor.encode`; an exception cancels the tracking.

        Yields
        ------
        TrackedFrame

        Raises
        ------
        PromptError
            If a prompt is empty, duplicate, of the wrong shape, or outside the series or frame.
        ImageError
            If a frame with a prompt cannot be read; or, at the end, if other frames could not,
            with their numbers. These are skipped, and tracking continues after them.
        """
        reader = FrameReader(frames)
        by_frame = _by_frame(prompts, reader.length)
        if direction not in ("forward", "backward", "both"):
            raise PromptError(
                f"unknown direction: {direction!r}. Expected 'forward', 'backward' or 'both'. "
                "Choose one."
            )
        if reader.length is None and direction != "forward":
            raise PromptError(
                f"frames cannot be tracked in the direction {direction!r}: they are an iterator. "
                "Expected frames that can be indexed. Use 'forward', or make a list of them."
            )
        encoded = EncodedFrames(self.predictor, reader, _KEPT_FEATURES, progress)
        if reader.length is None:
            return self._stream(encoded, by_frame)
        return self._track(encoded, by_frame, direction, reader.length)

    def _track(
        self,
        encoded: EncodedFrames,
        by_frame: dict[int, list[FramePrompt]],
        direction: Direction,
        length: int,
    ) -> Iterator[TrackedFrame]:
        session = self.session(length)
        for frame in sorted(by_frame):
            self._prompt(session, frame, by_frame[frame], encoded)
        failures: list[ImageError] = []
        begins = {
            object_id: (max if direction == "backward" else min)(memory.prompted)
            for object_id, memory in session.objects.items()
        }
        for reverse in {"forward": [False], "backward": [True], "both": [False, True]}[direction]:
            for frame in reversed(range(length)) if reverse else range(length):
                only = _reached(begins, frame, reverse=reverse, again=direction == "both")
                if not only:
                    continue
                try:
                    objects = session.step(frame, encoded, reverse=reverse, only=only)
                except ImageError as error:
                    failures.append(error)
                    continue
                session.forget(frame, begins if direction == "both" else None)
                yield _tracked(frame, encoded, objects)
        _raise_failures(failures)

    def _stream(
        self, encoded: EncodedFrames, by_frame: dict[int, list[FramePrompt]]
    ) -> Iterator[TrackedFrame]:
        session, failures, count = self.session(), list[ImageError](), 0
        for frame, item in encoded.stream():
            count = frame + 1
            if frame not in by_frame and not session.objects:
                continue
            try:
                encoded.put(frame, encoded.reader.check(frame, item))
            except ImageError as error:
                if frame in by_frame:
                    raise
                failures.append(error)
                continue
            if frame in by_frame:
                self._prompt(session, frame, by_frame[frame], encoded)
            objects = session.step(frame, encoded)
            session.forget(frame)
            yield _tracked(frame, encoded, objects)
        beyond = sorted(frame for frame in by_frame if frame >= count)
        if beyond:
            raise _outside(beyond[0], count)
        _raise_failures(failures)

    def _prompt(
        self,
        session: TrackingSession,
        frame: int,
        prompts: Sequence[FramePrompt],
        encoded: EncodedFrames,
    ) -> None:
        """Prompt objects on a frame, and encode their memory."""
        features = encoded(frame)
        for prompt in prompts:
            prompt_object(session, prompt, features)
        session.commit(encoded)


def prompt_object(
    session: TrackingSession, prompt: FramePrompt, features: ImageFeatures
) -> ObjectOnFrame:
    """Check a prompt against its frame, and add it to a session."""
    if prompt.mask is not None:
        mask = check_mask(prompt.mask, features.size)
        return session.draw(prompt.frame, prompt.object_id, features, mask)
    checked = check_prompts(
        prompt.points,
        prompt.labels,
        prompt.box,
        None,
        size=features.size,
        mask_size=session.steps.model.config.mask_size,
    )
    if checked.objects != 1:
        raise PromptError(
            f"the prompt of object {prompt.object_id} is for {checked.objects} objects. Expected "
            "one. Pass one prompt per object."
        )
    return session.click(prompt.frame, prompt.object_id, features, checked)


def check_mask(mask: Any, size: tuple[int, int]) -> torch.Tensor:
    """Convert a mask prompt of a frame to a tensor, float32 (H, W) in 0..1."""
    array = np.asarray(mask)
    if array.shape != size:
        raise PromptError(
            f"the mask has the shape {array.shape}. Expected {size}, the size of the frame. "
            "Resize it."
        )
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise PromptError(
            f"the mask has the data type {array.dtype}. Expected bool or numbers. Convert it."
        )
    return torch.from_numpy(array.astype(np.float32)).clamp(0, 1)


def _reached(begins: dict[int, int], frame: int, *, reverse: bool, again: bool) -> set[int]:
    """Return the objects to track to a frame; a second pass skips their first frame."""
    if not reverse:
        return {object_id for object_id, begin in begins.items() if frame >= begin}
    last = frame + 1 if again else frame
    return {object_id for object_id, begin in begins.items() if last <= begin}


def _by_frame(prompts: Iterable[FramePrompt], length: int | None) -> dict[int, list[FramePrompt]]:
    by_frame: dict[int, list[FramePrompt]] = {}
    keys: set[tuple[int, int]] = set()
    for prompt in prompts:
        key = prompt.frame, prompt.object_id
        if prompt.frame < 0 or (length is not None and prompt.frame >= length):
            raise _outside(prompt.frame, length)
        if key in keys:
            raise PromptError(
                f"object {prompt.object_id} has two prompts on frame {prompt.frame}. Expected one. "
                "Combine its clicks and its box in one prompt."
            )
        others = [one is not None for one in (prompt.points, prompt.labels, prompt.box)]
        if (prompt.mask is not None) == any(others):
            state = "both a mask and clicks or a box" if any(others) else "empty"
            raise PromptError(
                f"the prompt of object {prompt.object_id} on frame {prompt.frame} is {state}. "
                "Expected clicks, a box or both, or a mask. Pass one of these."
            )
        keys.add(key)
        by_frame.setdefault(prompt.frame, []).append(prompt)
    return by_frame


def _outside(frame: int, length: int | None) -> PromptError:
    frames = "0 or more" if length is None else f"0 to {length - 1}"
    return PromptError(
        f"the frame does not exist: {frame}. Expected {frames}. Choose one of these."
    )


def _tracked(frame: int, encoded: EncodedFrames, objects: dict[int, ObjectOnFrame]) -> TrackedFrame:
    size = encoded.reader.size
    assert size is not None, "objects were tracked on a frame that was not read"
    side = encoded.predictor.config.mask_size
    logits = np.empty((len(objects), side, side), np.float32)
    for row, state in zip(logits, objects.values(), strict=True):
        row[:] = state.logits[0].cpu().numpy()
    return TrackedFrame(
        frame,
        size,
        tuple(objects),
        logits,
        np.array([float(state.iou) for state in objects.values()], np.float32),
        np.array([float(state.object_logit) for state in objects.values()], np.float32),
    )


def _raise_failures(failures: Sequence[ImageError]) -> None:
    if failures:
        listing = "; ".join(str(error).split(". ")[0] for error in failures[:5])
        more = f"; and {len(failures) - 5} more" if len(failures) > 5 else ""
        raise ImageError(
            f"{len(failures)} frames were skipped: {listing}{more}. Expected images. All others "
            "were tracked; repair these frames, or fill the gaps by hand."
        ) from failures[0]


def load_tracker(
    path: str | os.PathLike[str],
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    resolution: int | None = None,
    *,
    selection: bool = False,
    dtype: torch.dtype | None = None,
) -> Tracker:
    """Load a model with its memory.

    Parameters
    ----------
    path, device, precision, resolution
        As for :func:`sam3.load_predictor`.
    selection, dtype
        As for :class:`Tracker`.

    Returns
    -------
    Tracker

    Raises
    ------
    CheckpointError
        If the file holds no memory; and as :func:`sam3.load_predictor`.
    """
    predictor = load_predictor(path, device, precision, resolution)
    file = checkpoint.weights_file(path)
    memory = load_memory(file, resolution=resolution)
    return Tracker(predictor, memory, selection=selection, dtype=dtype)
