"""The commands of a session bound to the layers of a viewer."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from .candidates import CandidateLayer
from .class_colors import Classes
from .divisions import Divisions
from .gestures import KEYS, Gestures, Place
from .journaling import JournalKeeper
from .pointed_label import PointedLabel
from .propagation import Propagation
from .reporting import Reporting
from .review import Review
from .sync import LayerSync
from .viewing import Viewing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Points, Shapes

    from napari_sam3.core.objects import AcceptedObject
    from napari_sam3.core.planes import PlaneIndex
    from napari_sam3.core.prompts import PromptSet
    from napari_sam3.images.identity import ImageIdentity
    from napari_sam3.images.viewer_image import ViewerImage
    from napari_sam3.labels.targets import LabelTarget
    from napari_sam3.session.session import LabelingSession
    from sam3.errors import Sam3Error

    from .layer_set import LayerSet
    from .plane_source import ChannelChoice, Contrast

__all__ = ["Binding"]

T = TypeVar("T")


class Binding:
    """Synchronise a session and the layers of a viewer. Created by `napari_sam3.bind`.

    Attributes
    ----------
    session : LabelingSession
        The session; each gesture corresponds to one of its commands.
    layers : LayerSet
        Layers of the binding.
    sync : LayerSync
        Synchronises layers and session.
    candidates, review, propagation, pointed : CandidateLayer, Review, Propagation, PointedLabel
        Candidates; objects one by one; propagation to other planes; the label under the mouse.
    journal : JournalKeeper
        Writes changes to disk.
    divisions : Divisions
        Parents of labels, and the Tracks layer.
    gestures : Gestures
        Mouse and keys.
    commands : mapping from str to callable
        Commands of keys and buttons, by name.
    layers_lost : Signal
        (LayerError) after a required layer was deleted.
    listening_changed : Signal
        After `listening` may have changed.
    class_changed : Signal
        (str) after a class was chosen by key.
    merging_changed : Signal
        After the first label of a merge or division was picked, or the command finished.
    labels_restored : Signal
        (RestoreResult) after labels were restored from a journal.
    """

    def __init__(
        self,
        layers: LayerSet,
        session: LabelingSession,
        *,
        own_session: bool = False,
        contrast: Contrast = "image",
        keys: Mapping[str, str] = KEYS,
        on_error: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.layers, self.session = layers, session
        self._own_session, self._keys, self._closed = own_session, keys, False
        reporting = Reporting(on_error)
        self._guard, sync = reporting.guard, LayerSync(layers, session, contrast, reporting)
        self.sync, self._plane, plane = sync, sync.plane, sync.plane
        self._classes = Classes(layers.labels, session, sync.masks.hidden)
        self.candidates = CandidateLayer(layers, session, self._plane, reporting)
        self.review = Review(layers, session, self._plane, reporting)
        self.propagation = Propagation(layers, session, self._plane, self.sync.store, reporting)
        self.pointed = PointedLabel(plane, session, self.propagation, reporting)
        noted = self.merging_changed = self.pointed.merging_changed
        self.divisions = Divisions(layers, session, plane, sync.store, noted, reporting)
        waiting = self.pointed, self.divisions
        self.viewing = Viewing(layers, session, plane, sync.clicking, waiting, reporting)
        self.commands = self._list_commands()
        self.gestures = Gestures(self, layers, keys)
        self.journal = JournalKeeper(
            session,
            self._plane.source,
            self.sync.store,
            empty="labels" in layers.made,
            on_error=reporting.report,
        )
        self.layers_lost = self.sync.layers_lost
        self.listening_changed = self.sync.listening_changed
        self.class_changed = self._classes.changed
        self.labels_restored = self.journal.restored
        try:
            self.sync.begin()
        except BaseException:
            self.close()
            raise

    def _list_commands(self) -> dict[str, Callable[[], object]]:
        masks = self.accept, self.reject, self.undo, self.redo, self.next_candidate
        labels = self.refine, self.delete, self.merge, self.split, self.background
        ours = {command.__name__: command for command in (*masks, *labels)}
        parts = (self.candidates, self.review, self.propagation, self.divisions, self.viewing,
                 self.pointed)  # fmt: skip
        return ours | {name: run for part in parts for name, run in part.commands.items()}

    # ------------------------------------------------------------------ state

    @property
    def viewer(self) -> ViewerModel:
        """The viewer."""
        return self.layers.viewer

    @property
    def image(self) -> Image:
        """The image that is segmented."""
        return self.layers.image

    @property
    def labels(self) -> Labels:
        """Layer that objects are written to."""
        return self.layers.labels

    @property
    def points(self) -> Points:
        """Clicks."""
        return self.layers.points

    @property
    def boxes(self) -> Shapes:
        """Boxes."""
        return self.layers.boxes

    @property
    def preview(self) -> Labels:
        """Masks of drafts: 1 inside, 2 on the outline; 3 and 4 for other than the current one."""
        return self.layers.preview

    @property
    def plane(self) -> PlaneIndex | None:
        """The current plane; None in 3-D display."""
        return self._plane.index

    @property
    def accepted(self) -> int:
        """Number of accepted objects in the labels; an object on many planes counts once."""
        return self.sync.present.count()

    @property
    def problem(self) -> Sam3Error | None:
        """Why the current plane cannot be labelled, if so; None in 3-D display."""
        return None if self.in_3d else self._plane.source.problem

    @property
    def in_3d(self) -> bool:
        """Whether the viewer shows a volume, not a plane."""
        return self.layers.in_3d

    @property
    def listening(self) -> bool:
        """Whether clicks in the canvas are prompts: the points are selected, in add mode."""
        return self.sync.clicking.listening

    def listen(self) -> None:
        """Make clicks in the canvas prompts again."""
        self.sync.clicking.resume()

    def show_2d(self) -> None:
        """Leave 3-D display, and make clicks in the canvas prompts again."""
        self.viewer.dims.ndisplay = 2
        self.listen()

    def set_keys(self, keys: Mapping[str, str]) -> None:
        """Bind other keys to the commands."""
        self._keys = keys
        self.gestures.close()
        self.gestures = Gestures(self, self.layers, keys)

    def prompts_on(self, plane: PlaneIndex) -> dict[int, PromptSet]:
        """Read the prompts on any plane, by object."""
        return self.sync.prompts.read(plane)

    def snapshot(self) -> ViewerImage:
        """Return all planes of the image as the model sees them now, for any thread."""
        self._plane.ensure()
        return self._plane.source.snapshot()

    def labels_on(self, plane: PlaneIndex) -> LabelTarget:
        """Return the target for the labels of any plane."""
        return self.sync.store.plane(plane)

    # ----------------------------------------------------------------- drafts

    def accept(self) -> AcceptedObject | None:
        """Accept the drafts; see `LabelingSession.accept`."""
        return self._on_plane(self.session.accept)

    def reject(self) -> None:
        """Reject the current draft, with its prompts."""
        self._on_plane(self.session.reject)

    def undo(self) -> None:
        """Undo the last step on this image and these labels, and show its plane."""
        self._go_to(self._guard(lambda: self.session.undo(self.sync.owns)))

    def redo(self) -> None:
        """Redo the step that was undone last, and show its plane."""
        self._go_to(self._guard(lambda: self.session.redo(self.sync.owns)))

    def next_candidate(self) -> None:
        """Choose the next candidate mask of the current draft."""
        prediction = self.session.prediction
        if prediction is not None and len(prediction.candidates) > 1:
            self.session.choose((prediction.index + 1) % len(prediction.candidates))

    def background(self) -> None:
        """Toggle the selected points, or else the last one, between foreground and background."""
        self.sync.prompts.flip_clicks()

    def set_classes(self, colors: Mapping[str, str], *, show: bool = False) -> None:
        """Offer classes; Alt-1 to Alt-9 on our layers choose one for the next accepted objects.

        See `Classes.offer` for the colours.
        """
        self._classes.offer(colors, show=show)

    def choose_class(self, number: int) -> None:
        """Change the class of the label under the mouse, or else choose that of the next object."""
        name, label = self._classes.name(number), self.pointed.under_mouse()
        if name is not None and label is not None:
            self._guard(lambda: self.pointed.classify(label, name))
        elif self._classes.choose(number) and self.plane is not None:
            self.listen()  # for the next object, after napari's keys for other modes, too

    def refine(self, place: Place | None = None) -> None:
        """Make the label at a world position, or under the mouse, the current object again."""
        self.pointed.refine(place)

    def delete(self, place: Place | None = None) -> None:
        """Delete the label at a world position, or under the mouse, from this plane."""
        self.pointed.delete(place)

    def split(self, place: Place | None = None) -> None:
        """Split the label at a world position, or under the mouse."""
        self.pointed.split(place)

    def merge(self, place: Place | None = None) -> None:
        """Note the label under the mouse, or make it one with the label noted before."""
        self.pointed.merge(place)

    @property
    def merging(self) -> int | None:
        """The label that the next one is merged into."""
        return self.pointed.first

    # ------------------------------------------------------- what the model sees

    def set_rendering(
        self,
        contrast: Contrast | None = None,
        channels: Sequence[ChannelChoice | None] | None = None,
    ) -> None:
        """Change how the model sees the image; see `ShownPlane.set_rendering`."""
        self._guard(lambda: self._plane.set_rendering(contrast, channels))

    def thumbnail(self, side: int = 128) -> npt.NDArray[np.uint8] | None:
        """Return a thumbnail (h x w x 3) of the plane as the model gets it, if it is known."""
        return self._plane.thumbnail(side)

    def show_field(self, shown: bool) -> None:
        """Show or hide the outline of the field of the current mask."""
        self.sync.masks.show_field(shown, self._plane.index)

    # ------------------------------------------------------------------ on disk

    def keep_journal(
        self,
        image: ImageIdentity | None = None,
        *,
        folder: str | os.PathLike[str] | None = None,
        limit_bytes: int = 1 << 30,
    ) -> None:
        """Write every change of labels to disk at once, for recovery after a crash.

        See `JournalKeeper.begin`.
        """
        self.journal.begin(image, folder=folder, limit_bytes=limit_bytes)

    def restore_labels(self, path: str | os.PathLike[str]) -> int | None:
        """Restore the labels of a journal, as one undo step; return the number of objects.

        Existing labels do not change: only free pixels are written, under free ids. What could
        not be restored is emitted by `labels_restored`; the journal is kept then.
        """
        result = self._guard(lambda: self.journal.restore(path))
        return None if result is None else result.objects

    def save_session(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write all operations on the labels of this image to a file, for replay."""
        self._guard(lambda: self.journal.save_session(path, overwrite=overwrite))

    def replay(self, path: str | os.PathLike[str]) -> int | None:
        """Replay a session file on this image and into these labels.

        Masks are predicted on the calling thread. Returns the number of operations.
        """
        count = self._guard(lambda: self.journal.replay(path))
        self.sync.renew_plane()
        return count

    # ------------------------------------------------------------------- layers

    def restore(self) -> None:
        """Restore deleted layers, with the prompts of drafts."""
        if self.layers.missing:
            self.layers.check_image()
            self.gestures.close()
            self.sync.restore()
            self.gestures = Gestures(self, self.layers, self._keys)

    def close(self, *, discard_journal: bool = False) -> None:
        """Release the layers, and remove those that only serve the binding.

        With `discard_journal` the journal is deleted, as when the labels were saved.
        """
        if self._closed:
            return
        self._closed = True
        self.journal.close(discard=discard_journal)
        finding = self.propagation, self.candidates, self.divisions
        for part in (self._classes, *finding, self.viewing, self.gestures, self.sync):
            part.close()
        self.layers.remove_tools()
        if self._own_session:
            self.session.close()

    def __enter__(self) -> Binding:
        """Return the binding; it is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    # ---------------------------------------------------- called by the gestures

    def ready_for_click(self, position: Place) -> bool:
        """Whether a click at a world position is a prompt; on a candidate it drops that instead."""
        return self.candidates.ready_for_click(position)

    def finish_object(self) -> bool:
        """Accept the drafts, if there are any; False if that was not possible."""
        before = self.session.draft_set
        if not any(draft.has_target for draft in before.drafts):
            return True
        self._guard(self.session.accept)
        return not self.session.draft_set.same_as(before)

    def next_click(self, foreground: bool, place: Place) -> None:
        """Prepare for the point that napari adds on release, at about this place."""
        self._guard(lambda: self.sync.prompts.expect(foreground, place))

    def draw_box(self, start: Place, end: Place, *, done: bool) -> None:
        """Draw a box between two world positions; it becomes a prompt when done."""
        self._guard(lambda: self.sync.prompts.draw_box(start, end, done=done))

    def _on_plane(self, command: Callable[[], T]) -> T | None:
        """Call a command after passing the current plane to the session, if there is one."""

        def run() -> T:
            if not self.layers.missing:
                self._plane.ensure()
            return command()

        return self._guard(run)

    def _go_to(self, key: Hashable) -> None:
        if self._plane.go_to(key):
            self._guard(self._plane.ensure)
