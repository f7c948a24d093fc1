"""The video predictor of the public SAM 3 notebook: prompts on some frames in, all masks out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sam3.errors import ImageError, PromptError
from sam3.model.click_model import ClickModel
from sam3.preprocess.masks import upsample
from sam3.prompts import check_prompts
from sam3.tracking.frames import EncodedFrames, FrameReader, open_frames
from sam3.tracking.session import TrackingSession
from sam3.tracking.steps import ABSENT_LOGIT, ObjectOnFrame
from sam3.tracking.tracker import Tracker, check_mask

__all__ = ["Sam3VideoPredictor", "VideoState"]

_KEPT_FEATURES = 4

Preview = tuple[int, list[int], Tensor, Tensor]


class Clicks(NamedTuple):
    """Clicks and a box of an object on a frame, in pixels of the frame."""

    points: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    box: npt.NDArray[np.float64] | None


@dataclass(eq=False)
class VideoState:
    """A series with its prompts, passed to all methods of the predictor.

    Attributes
    ----------
    num_frames, video_height, video_width : int
    session : TrackingSession
        Objects and their memory.
    """

    num_frames: int
    video_height: int
    video_width: int
    frames: EncodedFrames
    session: TrackingSession
    clicks: dict[tuple[int, int], Clicks] = field(default_factory=dict)
    masks: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the frames."""
        return self.video_height, self.video_width


class Sam3VideoPredictor:
    """Track prompted objects, with the calls of the public notebook.

    Parameters
    ----------
    tracker : Tracker
        This package's own interface to the same weights.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.track = tracker.track

    @property
    def backbone(self) -> ClickModel:
        """The model that encodes frames. It can only be set to itself."""
        return self.tracker.predictor.model

    @backbone.setter
    def backbone(self, backbone: ClickModel) -> None:
        if backbone is not self.backbone:
            raise PromptError(
                f"cannot use another backbone: {type(backbone).__name__}. Expected the detector's "
                "of the same video model. Leave the line out, since the tracker has its own."
            )

    def init_state(self, video_path: Any, **ignored: Any) -> VideoState:
        """Open a series without encoding it.

        Parameters
        ----------
        video_path : path-like, sequence or array
            As for :func:`sam3.tracking.frames.open_frames`.
        **ignored
            Options of the original for keeping frames (``offload_video_to_cpu`` and the like),
            which are not needed: frames are read on demand.

        Raises
        ------
        ImageError, UnsupportedError
            If the series does not exist, or its first frame cannot be read.
        """
        reader = FrameReader(open_frames(video_path))
        reader[0]
        assert reader.size is not None
        assert reader.length is not None
        return VideoState(
            reader.length,
            *reader.size,
            EncodedFrames(self.tracker.predictor, reader, _KEPT_FEATURES),
            self.tracker.session(reader.length, together=True),
        )

    def add_new_points_or_box(
        self,
        inference_state: VideoState,
        frame_idx: int,
        obj_id: int,
        points: Any = None,
        labels: Any = None,
        clear_old_points: bool = True,
        rel_coordinates: bool = True,
        box: Any = None,
    ) -> Preview:
        """Prompt an object on a frame with clicks, a box or both.

        Parameters
        ----------
        inference_state : VideoState
        frame_idx, obj_id : int
            Frame and object; new objects may be added at any time.
        points : array-like, shape (N, 2), optional
            (x, y) as fractions of width and height.
        labels : array-like, shape (N,), optional
            1 foreground, 0 background.
        clear_old_points : bool
            Replace earlier clicks and the box of the object on this frame.
        rel_coordinates : bool
            False for coordinates in pixels of the frame.
        box : array-like, shape (4,), optional
            x0, y0, x1, y1, in the same units as the points.

        Returns
        -------
        frame_idx : int
        obj_ids : list of int
        low_res_masks : Tensor, shape (N, 1, L, L)
        video_res_masks : Tensor, shape (N, 1, H, W)
            Logits of all objects on the frame.

        Raises
        ------
        PromptError
            If the prompt is empty or invalid, or the frame does not exist.
        """
        state, key = inference_state, (frame_idx, obj_id)
        self._check_frame(state, frame_idx)
        scale = np.array([state.video_width, state.video_height] if rel_coordinates else [1, 1])
        new_points = np.asarray([] if points is None else points, np.float64).reshape(-1, 2) * scale
        new_labels = np.asarray([] if labels is None else labels, np.int64).reshape(-1)
        new_box = None if box is None else np.asarray(box, np.float64).reshape(2, 2) * scale
        old = None if clear_old_points else state.clicks.get(key)
        if old is not None:
            new_points = np.concatenate([old.points, new_points])
            new_labels = np.concatenate([old.labels, new_labels])
            new_box = old.box if new_box is None else new_box
        has_points = len(new_points) or len(new_labels)
        prompts = check_prompts(
            new_points if has_points else None,
            new_labels if has_points else None,
            None if new_box is None else new_box.reshape(4),
            None,
            size=state.size,
            mask_size=self.tracker.predictor.config.mask_size,
        )
        state.session.click(frame_idx, obj_id, state.frames(frame_idx), prompts)
        state.clicks[key] = Clicks(new_points, new_labels, new_box)
        state.masks.pop(key, None)
        return self._preview(state, frame_idx)

    add_new_points = add_new_points_or_box

    def add_new_mask(
        self, inference_state: VideoState, frame_idx: int, obj_id: int, mask: Any
    ) -> Preview:
        """Prompt an object on a frame with its mask (H, W), and subtract it from other masks.

        Parameters
        ----------
        inference_state, frame_idx, obj_id
            As for :meth:`add_new_points_or_box`, which also documents the results.
        mask : array-like of bool, shape (H, W)

        Raises
        ------
        PromptError
            If the mask has another shape, or the frame does not exist.
        """
        state = inference_state
        self._check_frame(state, frame_idx)
        checked = check_mask(mask.cpu() if isinstance(mask, Tensor) else mask, state.size)
        features = state.frames(frame_idx)
        state.session.draw(frame_idx, obj_id, features, checked)
        state.masks[frame_idx, obj_id] = checked
        state.clicks.pop((frame_idx, obj_id), None)
        for (frame, other), old in list(state.masks.items()):
            if (
                frame == frame_idx
                and other != obj_id
                and bool(((old > 0.5) & (checked > 0.5)).any())
            ):
                remaining = old * (checked <= 0.5)
                state.masks[frame, other] = remaining
                state.session.draw(frame, other, features, remaining)
        return self._preview(state, frame_idx)

    def propagate_in_video(
        self,
        inference_state: VideoState,
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
        tqdm_disable: bool = True,
        propagate_preflight: bool = True,
    ) -> Iterator[tuple[int, list[int], Tensor, Tensor, Tensor]]:
        """Track all objects through the series.

        Parameters
        ----------
        inference_state : VideoState
        start_frame_idx : int, optional
            By default the first frame with a prompt.
        max_frame_num_to_track : int, optional
            Number of further frames; by default to the end.
        reverse : bool
            Track backwards.
        tqdm_disable, propagate_preflight
            For compatibility: there is no progress bar, and new prompts are always used.

        Yields
        ------
        frame_idx : int
        obj_ids : list of int
        low_res_masks : Tensor, shape (N, 1, L, L)
        video_res_masks : Tensor, shape (N, 1, H, W)
        obj_scores : Tensor, shape (N, 1)
            Logits of the objects being on the frame.

        Raises
        ------
        PromptError
            If nothing has been prompted, or the frame does not exist.
        ImageError
            At the end, if frames could not be read, with the number of the first.
        """
        state = inference_state
        prompted = state.session.prompted_frames()
        if not prompted:
            raise PromptError(
                "nothing to track: no object has been prompted. Expected at least one prompt. "
                "Call add_new_points_or_box or add_new_mask first."
            )
        start = min(prompted) if start_frame_idx is None else start_frame_idx
        self._check_frame(state, start)
        most = state.num_frames if max_frame_num_to_track is None else max_frame_num_to_track
        if reverse:
            order = range(start, max(start - most, 0) - 1, -1) if start > 0 else range(0)
        else:
            order = range(start, min(start + most, state.num_frames - 1) + 1)
        return self._propagate(state, order, reverse)

    def _propagate(
        self, state: VideoState, order: range, reverse: bool
    ) -> Iterator[tuple[int, list[int], Tensor, Tensor, Tensor]]:
        state.session.commit(state.frames)
        failures: list[ImageError] = []
        for frame in order:
            try:
                objects = state.session.step(frame, state.frames, reverse=reverse)
            except ImageError as error:
                failures.append(error)
                continue
            low = torch.stack([one.logits for one in objects.values()])
            scores = torch.stack([one.object_logit for one in objects.values()])[:, None]
            yield frame, list(objects), low, upsample(low, state.size), scores
        if failures:
            message = f"{len(failures)} frames were skipped. {failures[0]}"
            raise ImageError(message) from failures[0]

    def clear_all_points_in_video(self, inference_state: VideoState) -> None:
        """Remove all objects and prompts; encoded frames are kept."""
        inference_state.session.clear()
        inference_state.clicks.clear()
        inference_state.masks.clear()

    def remove_object(
        self, inference_state: VideoState, obj_id: int, strict: bool = False
    ) -> tuple[list[int], list[tuple[int, Tensor]]]:
        """Remove one object.

        Parameters
        ----------
        inference_state : VideoState
        obj_id : int
        strict : bool
            Raise an error for an unknown object, which is ignored otherwise.

        Returns
        -------
        obj_ids : list of int
            The remaining objects.
        updated : list of (int, Tensor of shape (N, 1, H, W))
            Frames on which the object was prompted, with the masks of the others.
        """
        state = inference_state
        if obj_id not in state.session.objects:
            if strict:
                raise PromptError(
                    f"unknown object: {obj_id}. Expected one of {list(state.session.objects)}. "
                    "Choose one."
                )
            return list(state.session.objects), []
        frames = [frame for frame, prompted in (*state.clicks, *state.masks) if prompted == obj_id]
        for by_key in (state.clicks, state.masks):
            for key in [key for key in by_key if key[1] == obj_id]:
                del by_key[key]
        state.session.remove(obj_id)
        remaining = list(state.session.objects)
        updated = [(frame, self._preview(state, frame)[3]) for frame in sorted(set(frames))]
        return remaining, updated if remaining else []

    def _check_frame(self, state: VideoState, frame: int) -> None:
        if not 0 <= frame < state.num_frames:
            raise PromptError(
                f"the frame does not exist: {frame}. Expected 0 to {state.num_frames - 1}. Choose "
                "one of these."
            )

    def _preview(self, state: VideoState, frame: int) -> Preview:
        """Return all objects on a frame, including new prompts; -1024 for absent objects."""
        ids = list(state.session.objects)
        absent = self.tracker.steps.absent()
        states: list[ObjectOnFrame] = [state.session.at(frame, i) or absent for i in ids]
        side = absent.logits.shape[-1]
        low = torch.stack([one.logits for one in states]) if ids else torch.empty(0, 1, side, side)
        video = upsample(low, state.size) if ids else torch.empty(0, 1, *state.size)
        for row, object_id in enumerate(ids):  # show mask prompts unchanged
            mask = state.masks.get((frame, object_id))
            if mask is not None:
                video[row, 0] = torch.where(mask > 0.5, -ABSENT_LOGIT, ABSENT_LOGIT).to(
                    video.device
                )
        return frame, ids, low, video
