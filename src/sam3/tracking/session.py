"""State of tracking: the objects of a series and their memory."""

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

_GPU_OBJECTS = 8  # tracked at once; memories of more objects would fill the device


@dataclass(eq=False)
class ObjectMemory:
    """States of one object by frame.

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
        """Return the state of the object on a frame, if any."""
        return self.prompted.get(frame) or self.tracked.get(frame)

    def __getitem__(self, frame: int) -> ObjectOnFrame:
        state = self.at(frame)
        assert state is not None, f"frame {frame} was chosen, but has no state"
        return state

    def memory(self, frame: int) -> Tensor:
        """Return the memory of a frame."""
        memory = self[frame].memory
        assert memory is not None, f"frame {frame} was chosen, but has no memory"
        return memory


class TrackingSession:
    """Track objects from frame to frame; frames are numbers, and features are passed in.

    Parameters
    ----------
    steps : TrackingSteps
        Steps of the model.
    frames : int, optional
        Length of the series, if known.
    together : bool
        Treat the objects as the original implementation does: a frame with a prompt for one object
        counts as prompted for all, and prompted masks do not overlap in memory. By default each
        object is tracked independently.
    selection : bool
        Remember good frames rather than recent ones.

    Attributes
    ----------
    objects : dict of int to ObjectMemory
        By id, in the order in which they were first prompted.
    drafts : dict of int to dict of int to ObjectOnFrame
        New prompts by frame and object, whose memory is not encoded yet.
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

        They correct an earlier prediction of the object on the frame, if there is one.
        """
        state = self.at(frame, object_id)
        previous = None if state is None else state.logits
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
        """Return the state of an object on a frame, including new prompts."""
        draft = self.drafts.get(frame, {}).get(object_id)
        memory = self.objects.get(object_id)
        return draft or (None if memory is None else memory.at(frame))

    def commit(self, features: Callable[[int], ImageFeatures]) -> None:
        """Encode the memory of new prompts; `features` returns the features of a frame."""
        for frame in sorted(self.drafts):
            states = dict(self.drafts[frame])
            if self.together:
                for object_id, memory in self.objects.items():
                    states.setdefault(object_id, memory.at(frame) or self.steps.absent())
                states = {object_id: states[object_id] for object_id in self.objects}
            remembered = self.steps.remember(
                features(frame), list(states.values()), hard=True, exclusive=self.together
            )
            for object_id, state in zip(states, remembered, strict=True):
                self.objects[object_id].prompted[frame] = state
                self.objects[object_id].tracked.pop(frame, None)
            del self.drafts[frame]

    def prompted_frames(self) -> set[int]:
        """Return the frames with a prompt, including new ones."""
        return {*self.drafts}.union(*(memory.prompted for memory in self.objects.values()))

    def waiting(self, frame: int, only: Collection[int] | None = None) -> list[int]:
        """Return the objects, optionally of a subset, that are to be tracked to a frame."""
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
        """Track objects to a frame, leaving prompts on it unchanged.

        If tracking fails for one object, no object changes.

        Parameters
        ----------
        frame : int
            The frame.
        features : callable
            Returns the features of a frame.
        reverse : bool
            Track backwards.
        only : collection of int, optional
            Objects to track; all by default.

        Returns
        -------
        dict of int to ObjectOnFrame
            States by object, without objects that have no memory yet.
        """
        groups: dict[Choice, list[int]] = {}
        for object_id in self.waiting(frame, only):
            choice = self.choose(frame, object_id, reverse=reverse)
            if choice.memories:
                groups.setdefault(choice, []).append(object_id)
        tracked = self._follow(groups, features(frame)) if groups else {}
        for object_id, state in tracked.items():
            self.objects[object_id].tracked[frame] = state
        states = {
            object_id: tracked.get(object_id) or memory.prompted.get(frame)
            for object_id, memory in self.objects.items()
            if only is None or object_id in only
        }
        return {object_id: state for object_id, state in states.items() if state is not None}

    def choose(self, frame: int, object_id: int, *, reverse: bool) -> Choice:
        """Choose the memories for tracking an object to a frame."""
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
        """Assemble the chosen memories of objects that share a choice."""
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
        """Track groups of objects, each with the same choice of memories."""
        features = features.to(self.steps.predictor.device)
        side = self.steps.image_side(features)
        # As for clicks: on a CPU one object at a time per core fits the caches best.
        on_cpu = self.steps.predictor.device.type == "cpu"
        step = 1 if on_cpu else _GPU_OBJECTS
        batches = [
            (choice, ids[start : start + step])
            for choice, ids in groups.items()
            for start in range(0, len(ids), step)
        ]

        def follow(batch: tuple[Choice, list[int]]) -> list[ObjectOnFrame]:
            with self.steps.predictor.running("recall memories"):
                remembered = self.recall(*batch)
            return self.steps.follow(features, side, remembered)

        results = on_all_cores(follow, batches) if on_cpu else [follow(batch) for batch in batches]
        ids = [object_id for _, part in batches for object_id in part]
        return dict(zip(ids, [state for part in results for state in part], strict=True))

    def forget(self, now: int, also_near: Mapping[int, int] | None = None) -> None:
        """Drop states that the tracking of further frames cannot use.

        Parameters
        ----------
        now : int
            The frame tracked last.
        also_near : mapping of int to int, optional
            By object, another frame from which tracking will continue later.
        """
        config = self.steps.memory.config
        for object_id, memory in self.objects.items():
            starts = [now] if also_near is None else [now, also_near[object_id]]
            orders = [list(memory.tracked)]
            if self.selection:
                selection = self._selection(memory)
                orders.append([frame for frame in memory.tracked if selection.is_good(frame)])
            ranked = [nearest_first(frames, start) for frames in orders for start in starts]
            kept = {frame for frames in ranked for frame in frames[: config.pointers]}
            with_memory = {frame for frames in ranked for frame in frames[: config.frames]}
            memory.tracked = {
                frame: state if frame in with_memory else replace(state, memory=None)
                for frame, state in memory.tracked.items()
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
