"""Interactive labelling: the commands, state and events of a session, without napari and Qt."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.prompts import PromptSet
from napari_sam3.inference.cache import EmbeddingCache

from .history import Ours, last_step
from .jobs import Plane, Submit, run_now
from .options import Mode, SessionOptions
from .parts import SessionParts
from .predictions import IDLE

if TYPE_CHECKING:
    from napari_sam3.core.drafts import DraftSet
    from napari_sam3.core.operations import Operation, Policy
    from napari_sam3.core.rendering import PlaneImage
    from napari_sam3.inference.models import Loader, ModelHandle
    from napari_sam3.inference.questions import ObjectPrediction
    from napari_sam3.labels.targets import LabelTarget
    from sam3.predictor import Predictor

__all__ = ["IDLE", "AcceptedObject", "LabelingSession"]

UInt8Image = npt.NDArray[np.uint8]


class LabelingSession:
    """Label the objects of planes, one plane at a time.

    Commands are called on the thread that created the session, where all state changes and events
    happen. Only predictions run on other threads, through `submit`.

    Parameters
    ----------
    predictor : Predictor or callable, optional
        A predictor, or a function without arguments that loads one when it is first needed.
    submit : Submit, optional
        Runs predictions; by default at once, so that `predict` raises their errors.
    cache : EmbeddingCache, optional
        Features of encoded fields; may be shared.
    mode, policy, level, look_ahead
        Initial options; see `SessionOptions`.

    Attributes
    ----------
    options : SessionOptions
        Mode, policy, level, category and look-ahead; each can be changed at any time, here or as
        an attribute of the session. ``options.events`` emit changes.
    cache : EmbeddingCache
        Features of encoded fields.
    lineage, reopening, ahead : Lineage, Reopening, LookAhead
        Parents of labels; export and restore of the state; encoding ahead of time.
    finding, candidates, reviewing : Finding, Candidates, Reviewing
        Searches; candidates of searches and batches; objects and candidates, the worst first.
    propagating, linking, classifying : Propagating, Linking, Classifying
        Propagation to other planes; links labels of planes into objects of a stack.
    plane_changed, drafts_changed, prompts_changed, prediction_changed, accepted, labels_changed, \
batch_ended, busy_changed, progress_changed, failed : Signal
        See `SessionEvents`.
    """

    def __init__(
        self,
        predictor: Predictor | Loader | None = None,
        *,
        submit: Submit = run_now,
        cache: EmbeddingCache | None = None,
        mode: Mode = "one",
        policy: Policy = "keep",
        level: int | None = None,
        look_ahead: int = 0,
    ) -> None:
        self.options = SessionOptions(mode, policy, level, "", look_ahead)
        self.cache = cache if cache is not None else EmbeddingCache()
        self._parts = SessionParts.make(predictor, submit, self.cache, self.options)
        events = self._parts.events
        self.plane_changed = events.plane_changed
        self.drafts_changed = events.drafts_changed
        self.prompts_changed = events.prompts_changed
        self.prediction_changed = events.prediction_changed
        self.accepted = events.accepted
        self.labels_changed = events.labels_changed
        self.batch_ended = events.batch_ended
        self.busy_changed = events.busy_changed
        self.progress_changed = events.progress_changed
        self.failed, self.ids_in = events.failed, self._parts.objects.ids_in
        # Commands that other rooms and replay use.
        self.new_number, self.draft_at = self._parts.drafts.new_number, self._parts.drafts.at
        self.paint, self.note_edit = self._parts.curating.paint, self._parts.curating.note_edit
        self.make_again, prompting = self._parts.accepting.make_again, self._parts.prompting
        batch, self.reviewing = self._parts.batch, self._parts.reviewing
        self.begin_batch, self.write_batch = batch.begin, batch.write
        self.batch_again, self.restore = batch.write_again, batch.restore
        history, self.all_or_nothing = self._parts.history, self._parts.changes.all_or_nothing
        self.operations_in, self.starts = history.operations_in, history.starts
        self.finding, self.reopening = self._parts.finding, self._parts.reopening
        self.ahead, self.link = self._parts.look_ahead, self._parts.linking.link
        self.find_similar, self.candidates = self.finding.find_similar, self._parts.candidates
        self.propagating, self.lineage = self._parts.propagating, self._parts.lineage
        self.propagate, self.expect = self.propagating.propagate, prompting.expect
        self.linking, self.classifying = self._parts.linking, self._parts.classifying

    # ----------------------------------------------------------------- options

    @property
    def mode(self) -> Mode:
        """One draft at a time, or many; see `SessionOptions`."""
        return self.options.mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self.options.mode = mode

    @property
    def policy(self) -> Policy:
        """Write policy for pixels of other labels; see `SessionOptions`."""
        return self.options.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self.options.policy = policy

    @property
    def level(self) -> int | None:
        """Pinned pyramid level, if any."""
        return self.options.level

    @level.setter
    def level(self, level: int | None) -> None:
        self.options.level = level

    @property
    def category(self) -> str:
        """Class of the next accepted objects; empty for none."""
        return self.options.category

    @category.setter
    def category(self, category: str) -> None:
        self.options.category = category

    @property
    def look_ahead(self) -> int:
        """Number of fields of a plane to encode ahead of time."""
        return self.options.look_ahead

    @look_ahead.setter
    def look_ahead(self, look_ahead: int) -> None:
        self.options.look_ahead = look_ahead

    @property
    def paused(self) -> bool:
        """Whether encoding ahead is paused, because the thread is needed for other work."""
        return self._parts.look_ahead.paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._parts.look_ahead.paused = paused

    @property
    def neighbours(self) -> Callable[[], Sequence[PlaneImage]] | None:
        """Function that returns the images of neighbouring planes, the next to be shown."""
        return self._parts.look_ahead.neighbours

    @neighbours.setter
    def neighbours(self, neighbours: Callable[[], Sequence[PlaneImage]] | None) -> None:
        self._parts.look_ahead.neighbours = neighbours

    # ------------------------------------------------------------------- state

    @property
    def predictor(self) -> Predictor | None:
        """The predictor, once it is loaded."""
        return self._parts.predictions.predictor

    @property
    def model(self) -> ModelHandle | None:
        """The model, loaded on the thread of `submit` on first use."""
        return self._parts.predictions.model

    @property
    def plane_key(self) -> Hashable | None:
        """Key of the current plane."""
        return self._parts.drafts.key

    @property
    def plane_shape(self) -> tuple[int, int] | None:
        """(height, width) of the current plane in px."""
        plane = self._parts.drafts.plane
        return plane.shape if plane else None

    @property
    def pixels(self) -> UInt8Image | None:
        """The current plane (H x W x 3) as the model sees it; reads the whole plane."""
        plane = self._parts.drafts.plane
        return plane.image.region(slice(None), slice(None)) if plane else None

    @property
    def draft_set(self) -> DraftSet:
        """All drafts on the current plane."""
        return self._parts.drafts.here

    def draft_set_on(self, key: Hashable) -> DraftSet:
        """All drafts on any plane."""
        return self._parts.drafts.on(key)

    def draft_sets(self) -> dict[Hashable, DraftSet]:
        """Drafts of every plane that has any."""
        return self._parts.drafts.all()

    @property
    def prompts(self) -> PromptSet:
        """Prompts of the current draft on the current plane."""
        return self.prompts_on(self.plane_key)

    def prompts_on(self, key: Hashable) -> PromptSet:
        """Prompts of the current draft on any plane."""
        draft = self.draft_set_on(key).draft
        return draft.prompts if draft is not None else PromptSet()

    @property
    def prediction(self) -> ObjectPrediction | None:
        """The mask of the current draft."""
        return self._parts.drafts.current_mask

    @property
    def predictions(self) -> tuple[ObjectPrediction, ...]:
        """The masks of all drafts that have one."""
        return self._parts.drafts.masks_of(self.draft_set)

    @property
    def shown(self) -> tuple[ObjectPrediction, ...]:
        """The masks to show: the last known one of each draft."""
        return self._parts.drafts.shown

    @property
    def objects(self) -> tuple[AcceptedObject, ...]:
        """Accepted objects that are not undone."""
        return self._parts.objects.all()

    def objects_in(self, source: Hashable) -> tuple[AcceptedObject, ...]:
        """Objects in one label image; see `LabelTarget.source`."""
        return self._parts.objects.within(source)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Operations on labels that are not undone."""
        return self._parts.history.operations

    @property
    def stage(self) -> str:
        """Current stage: "idle", "loading model", "encoding" or "predicting"."""
        return self._parts.predictions.stage

    @property
    def busy(self) -> bool:
        """Whether a prediction runs or waits."""
        return self._parts.predictions.busy

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self._parts.history.done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to redo."""
        return bool(self._parts.history.undone)

    def has_step(self, ours: Ours, *, undone: bool = False) -> bool:
        """Whether there is a step to undo, or to redo if `undone`; see `Changes.undo`."""
        history = self._parts.history
        return last_step(history.undone if undone else history.done, ours) is not None

    # --------------------------------------------------------- model and plane

    def set_predictor(self, predictor: Predictor | Loader | None) -> None:
        """Change the model: a predictor, or a function without arguments that loads one."""
        self._parts.predictions.use(predictor)

    def prepare(self) -> None:
        """Load the model, and encode the fields that a first click is likely to need."""
        if not self._parts.predictions.load():
            self._parts.look_ahead.advance()

    def set_plane(
        self,
        plane: UInt8Image | PlaneImage,
        key: Hashable,
        labels: LabelTarget | npt.NDArray[Any],
    ) -> None:
        """Change the current plane. Drafts of other planes are kept.

        Parameters
        ----------
        plane : ndarray of uint8, H x W x 3, or PlaneImage
            From `napari_sam3.plane_from_array`, not to be modified afterwards; or a lazy image.
        key : hashable
            Key of the plane in prompts and objects.
        labels : LabelTarget or ndarray of integers
            Labels to write to: H x W, or a whole stack if `key` is the `PlaneIndex` of one of
            its planes.

        Raises
        ------
        sam3.errors.ImageError, LabelError
            If the pixels are not such an array, or the labels do not have the plane's shape.
        """
        self._change_plane(Plane.of(key, plane, labels))

    def clear_plane(self) -> None:
        """Set no plane, e.g. because its image was deleted. Objects and history stay."""
        if self._parts.drafts.plane is not None:
            self._change_plane(None)

    def _change_plane(self, plane: Plane | None) -> None:
        self._parts.predictions.stop(abandon=True)
        self._parts.drafts.go_to(plane)

    # ----------------------------------------------------------------- prompts

    def set_prompts(self, prompts: PromptSet) -> None:
        """Replace the prompts of the current draft; see `Prompting.set_prompts`."""
        self._parts.prompting.set_prompts(prompts)

    def set_objects(
        self, objects: Mapping[int, PromptSet] | Iterable[PromptSet], current: int | None = None
    ) -> None:
        """Replace the prompts of all drafts, by number; see `Prompting.set_objects`."""
        self._parts.prompting.set_objects(objects, current)

    def predict(self) -> ObjectPrediction | None:
        """Predict the masks of all drafts that have none; see `Predictions.predict`."""
        return self._parts.predictions.predict()

    def choose(self, index: int) -> None:
        """Choose another candidate mask of the current draft."""
        self._parts.prompting.choose(index)

    def reject(self) -> None:
        """Reject the current draft, with its prompts. Can be undone."""
        self._parts.prompting.reject()

    # ------------------------------------------------------------------ labels

    def accept(self) -> AcceptedObject | None:
        """Write the masks of all drafts into the labels and start the next object.

        Masks that are still being predicted are written when they arrive. A draft that cannot be
        written stays, while the others are accepted; see `Accepting.accept`.
        """
        return self._parts.accepting.accept()

    def reopen(self, label: int) -> None:
        """Reopen a label as a draft, with its recorded prompts; see `Curating.reopen`."""
        self._parts.curating.reopen(label)

    take_up = reopen  # its name in earlier versions

    def delete(self, label: int, planes: Sequence[LabelTarget] = ()) -> int:
        """Make a label background, on one or several planes; return how many changed. Undoable."""
        return self._parts.curating.delete(label, planes)

    def merge(self, labels: Sequence[int], planes: Sequence[LabelTarget] = ()) -> tuple[int, int]:
        """Merge labels of the plane, or of several, into the first one; see `Curating.merge`."""
        return self._parts.curating.merge(labels, planes)

    def split(self, label: int, ids: Sequence[int] = ()) -> tuple[int, ...]:
        """Split a label of the plane, and return the ids of its parts; see `Curating.split`."""
        return self._parts.curating.split(label, ids)

    def end_batch(self) -> None:
        """Emit that the last plane of a batch is written."""
        self.batch_ended.emit()

    # ---------------------------------------------------------- undo, and the end

    def undo(self, ours: Ours | None = None) -> Hashable | None:
        """Undo the last step, and return the key of its plane; see `Changes.undo`."""
        return self._parts.changes.undo(ours)

    def redo(self, ours: Ours | None = None) -> Hashable | None:
        """Redo the step that was undone last; like `undo`."""
        return self._parts.changes.redo(ours)

    def cancel(self) -> None:
        """Cancel predictions; prompts, labels and the masks shown stay."""
        self._parts.accepting.cancel()
        self._parts.predictions.cancel_all()

    def close(self) -> None:
        """Cancel all work and drop the features. No more events are emitted."""
        self._parts.close()
