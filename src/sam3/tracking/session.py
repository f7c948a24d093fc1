"""Objects that are tracked through a series of frames, and what is remembered of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean

import torch
from torch import Tensor

from sam3.features import ImageFeatures
from sam3.model.memory_attention import Remembered
from sam3.prompts import Prompts
from sam3.runtime.cores import on_all_cores
from sam3.tracking.memory_choice import Choice, MemorySelection, choose_memories, nearest_first
from sam3.tracking.steps import ObjectOnFrame, TrackingSteps

__all__ = ["ObjectMemory", "TrackingSession"]

_GPU_OBJECTS = 8  # tracked at once; memories of more would fill a device


@dataclass(eq=False)
class ObjectMemory:
    """What is remembered of one object, by frame.

    Attributes
    ----------
    prompted : dict of int to ObjectOnFrame
        Frames with a prompt.
    tracked : dict of int to ObjectOnFrame
        Other frames.
    """

    prompted: dict[int, ObjectOnFrame] = field(default_factory=dict)
    tracked: dict[int, ObjectOnFrame] = field(default_factory=dict)

    def at(self, frame: int) -> ObjectOnFrame | None:
        """Return what is known of the object on a frame."""
        return self.prompted.get(frame) or self.tracked.get(frame)

    def __getitem__(self, frame: int) -> ObjectOnFrame:
        found = self.at(frame)
        assert found is not None, f"frame {frame} was chosen, but is not remembered"
        return found

    def memory(self, frame: int) -> Tensor:
        """Return the memory of a frame."""
        memory = self[frame].memory
        assert memory is not None, f"frame {frame} was chosen, but has no memory"
        return memory


class TrackingSession:
    """Track objects from frame to frame. Frames are numbers here; their features are passed in.

    Parameters
    ----------
    steps : TrackingSteps
        Of a model.
    frames : int, optional
        Length of the series, where it is known.
    together : bool
        Treat the objects as the original implementation does: a frame with a prompt for one counts
        as prompted for all, and prompted masks do not overlap in memory. Otherwise each is tracked
        as if it were alone.
    selection : bool
        Remember good frames instead of recent ones.

    Attributes
    ----------
    objects : dict of int to ObjectMemory
        By their ids, in the order in which they were first prompted.
    drafts : dict of int to dict of int to ObjectOnFrame
        New prompts, by frame and object, that are not remembered yet.
    """

    def __init__(
        self,
        steps: TrackingSteps,
        frames: int | None = None,
        *,
        together: bool = False,
        selection: bool = False,
    ) -> None:
        self.steps = steps
        self.frames = frames
        self.together = together
        self.selection = selection
        self.objects: dict[int, ObjectMemory] = {}
        self.drafts: dict[int, dict[int, ObjectOnFrame]] = {}

    def click(
        self, frame: int, object_id: int, features: ImageFeatures, prompts: Prompts
    ) -> ObjectOnFrame:
        """Prompt an object with all of its clicks and its box on a frame.

        What was predicted there before is corrected by them.
        """
        known = self.at(frame, object_id)
        previous = None if known is None else known.logits
        return self._draft(frame, object_id, self.steps.click(features, prompts, previous))

    def draw(
        self, frame: int, object_id: int, features: ImageFeatures, mask: Tensor
    ) -> ObjectOnFrame:
        """Prompt an object with its mask on a frame, float32 (H, W) in 0..1."""
        return self._draft(frame, object_id, self.steps.draw(features, mask))

    def _draft(self, frame: int, object_id: int, draft: ObjectOnFrame) -> ObjectOnFrame:
        self.objects.setdefault(object_id, ObjectMemory())
        self.drafts.setdefault(frame, {})[object_id] = draft
        return draft

    def at(self, frame: int, object_id: int) -> ObjectOnFrame | None:
        """Return what is known of an object on a frame, new prompts included."""
        draft = self.drafts.get(frame, {}).get(object_id)
        memory = self.objects.get(object_id)
        return draft or (None if memory is None else memory.at(frame))

    def commit(self, features: Callable[[int], ImageFeatures]) -> None:
        """Remember new prompts; called with a frame, `features` encodes it."""
        for frame in sorted(self.drafts):
            found = dict(self.drafts[frame])
            if self.together:
                for object_id, memory in self.objects.items():
                    found.setdefault(object_id, memory.at(frame) or self.steps.absent())
                found = {object_id: found[object_id] for object_id in self.objects}
            remembered = self.steps.remember(
                features(frame), list(found.values()), hard=True, exclusive=self.together
            )
            for object_id, one in zip(found, remembered, strict=True):
                self.objects[object_id].prompted[frame] = one
                self.objects[object_id].tracked.pop(frame, None)
            del self.drafts[frame]

    def prompted_frames(self) -> set[int]:
        """Frames with a prompt, new ones included."""
        return {*self.drafts}.union(*(memory.prompted for memory in self.objects.values()))

    def waiting(self, frame: int, only: Collection[int] | None = None) -> list[int]:
        """Return the objects, of some or all, that have to be tracked to a frame."""
        return [
            object_id
            for object_id, memory in self.objects.items()
            if frame not in memory.prompted
            and (memory.prompted or memory.tracked)
            and (only is None or object_id in only)
        ]

    def step(
        self,
        frame: int,
        features: Callable[[int], ImageFeatures],
        *,
        reverse: bool = False,
        only: Collection[int] | None = None,
    ) -> dict[int, ObjectOnFrame]:
        """Track objects to a frame; prompts there stand as they are.

        Nothing is changed before all objects have been tracked.

        Parameters
        ----------
        frame : int
            The frame.
        features : callable
            Called with the frame where it has to be encoded.
        reverse : bool
            The series is tracked backwards.
        only : collection of int, optional
            Objects to be tracked; all by default.

        Returns
        -------
        dict of int to ObjectOnFrame
            By object; without those of which nothing is known yet.
        """
        groups: dict[Choice, list[int]] = {}
        for object_id in self.waiting(frame, only):
            choice = self.choose(frame, object_id, reverse=reverse)
            if choice.memories:
                groups.setdefault(choice, []).append(object_id)
        tracked = self._follow(groups, features(frame)) if groups else {}
        for object_id, one in tracked.items():
            self.objects[object_id].tracked[frame] = one
        known = {
            object_id: tracked.get(object_id) or memory.prompted.get(frame)
            for object_id, memory in self.objects.items()
            if only is None or object_id in only
        }
        return {object_id: one for object_id, one in known.items() if one is not None}

    def choose(self, frame: int, object_id: int, *, reverse: bool) -> Choice:
        """Choose the memories by which an object is tracked to a frame."""
        memory = self.objects[object_id]
        return choose_memories(
            frame,
            memory.prompted,
            [other for other in memory.tracked if other != frame],
            self.steps.memory.config,
            frames=self.frames,
            reverse=reverse,
            selection=self._selection(memory) if self.selection else None,
        )

    def _selection(self, memory: ObjectMemory) -> MemorySelection:
        memories = list(self.objects.values()) if self.together else [memory]
        return MemorySelection(
            lambda frame: fmean(m.tracked[frame].quality for m in memories if frame in m.tracked)
        )

    def recall(self, choice: Choice, objects: Iterable[int]) -> Remembered:
        """Gather what was chosen, for objects of which the same was chosen."""
        memories = [self.objects[object_id] for object_id in objects]
        return self.steps.memory.recall(
            [(index, torch.stack([m.memory(f) for m in memories])) for f, index in choice.memories],
            [
                (distance / choice.longest, torch.stack([m[frame].pointer for m in memories]))
                for frame, distance in choice.pointers
            ],
        )

    def _follow(
        self, groups: Mapping[Choice, list[int]], features: ImageFeatures
    ) -> dict[int, ObjectOnFrame]:
        """Track groups of objects, of each of which the same was chosen."""
        features = features.to(self.steps.predictor.device)
        side = self.steps.image_side(features)
        # As in clicks: on a CPU an object at a time, on a core of its own, fits the caches best.
        alone = self.steps.predictor.device.type == "cpu"
        step = 1 if alone else _GPU_OBJECTS
        pieces = [
            (choice, ids[start : start + step])
            for choice, ids in groups.items()
            for start in range(0, len(ids), step)
        ]

        def follow(piece: tuple[Choice, list[int]]) -> list[ObjectOnFrame]:
            with self.steps.predictor.running("recall memories"):
                remembered = self.recall(*piece)
            return self.steps.follow(features, side, remembered)

        results = on_all_cores(follow, pieces) if alone else [follow(piece) for piece in pieces]
        ids = [object_id for _, part in pieces for object_id in part]
        return dict(zip(ids, [one for part in results for one in part], strict=True))

    def forget(self, now: int, also_near: Mapping[int, int] | None = None) -> None:
        """Drop what the tracking of further frames cannot use any more.

        Parameters
        ----------
        now : int
            Frame just tracked.
        also_near : mapping of int to int, optional
            By object, another frame from which tracking will go on later.
        """
        config = self.steps.memory.config
        for object_id, memory in self.objects.items():
            places = [now] if also_near is None else [now, also_near[object_id]]
            orders = [list(memory.tracked)]
            if self.selection:
                selection = self._selection(memory)
                orders.append([frame for frame in memory.tracked if selection.is_good(frame)])
            ranked = [nearest_first(frames, place) for frames in orders for place in places]
            kept = {frame for frames in ranked for frame in frames[: config.pointers]}
            whole = {frame for frames in ranked for frame in frames[: config.frames]}
            memory.tracked = {
                frame: one if frame in whole else replace(one, memory=None)
                for frame, one in memory.tracked.items()
                if frame in kept
            }

    def remove(self, object_id: int) -> None:
        """Forget an object."""
        self.objects.pop(object_id, None)
        for frame in [frame for frame, drafts in self.drafts.items() if object_id in drafts]:
            del self.drafts[frame][object_id]
            if not self.drafts[frame]:
                del self.drafts[frame]

    def clear(self) -> None:
        """Forget all objects."""
        self.objects.clear()
        self.drafts.clear()
