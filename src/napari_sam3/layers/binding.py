"""The commands of a session bound to the layers of a viewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_sam3.core.errors import NothingThereError
from napari_sam3.core.planes import PlaneIndex, nearest
from napari_sam3.core.prompts import MIN_BOX_SIDE, PromptSet
from sam3.errors import PromptError, Sam3Error

from .class_colors import ClassColors
from .field_outline import FieldOutline
from .gestures import ADD
from .plane_source import ChannelChoice, Contrast
from .remembering import Remembering

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Points, Shapes

    from napari_sam3.core.objects import AcceptedObject

__all__ = ["Binding"]

Place = Sequence[float]


class Binding(Remembering):
    """Keeps a session and the layers of a viewer in step. Made by `napari_sam3.bind`.

    Attributes
    ----------
    session : LabelingSession
        The state; whatever is done by gestures can be done by its commands.
    layers_lost : Signal
        (LayerError) after a layer was deleted that is needed.
    listening_changed : Signal
        After `listening` may have changed.
    class_changed : Signal
        (str) after a class was chosen by key.
    merging_changed : Signal
        After a label was noted for merging, or merged.
    labels_restored : Signal
        (RestoreResult) after labels were restored from a journal.
    """

    class_changed = Signal(str)
    merging_changed = Signal()

    _merging: int | None = None
    _classes: Mapping[str, str] = MappingProxyType({})
    _class_colors: ClassColors | None = None
    _sketch: int | None = None

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
        """Where objects go."""
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
        """The masks in hand: 1 inside, 2 on the outline; 3 and 4 for all but the current one."""
        return self.layers.preview

    @property
    def plane(self) -> PlaneIndex | None:
        """The plane shown; None in 3-D display."""
        return self._source.plane

    @property
    def accepted(self) -> int:
        """Number of objects accepted in the labels of this image; one on many planes is one."""
        found = self.session.objects_in(self.labels.unique_id)
        return len({one.id for one in found if self._source.is_ours(one.plane)})

    @property
    def problem(self) -> Sam3Error | None:
        """Why the plane shown cannot be worked on, if so; in 3-D display there is just none."""
        return None if self.in_3d else self._source.problem

    @property
    def listening(self) -> bool:
        """Whether clicks in the canvas are prompts: the points are selected, in add mode."""
        active = self.viewer.layers.selection.active
        mine = active is not None and active.unique_id == self.points.unique_id
        return mine and self.points.mode == ADD and not self.in_3d

    # ------------------------------------------------------- objects in hand

    def accept(self) -> AcceptedObject | None:
        """Write the masks in hand; see `LabelingSession.accept`."""

        def accept() -> AcceptedObject | None:
            self._check_plane()
            return self.session.accept()

        result: AcceptedObject | None = self._guard(accept)
        return result

    def reject(self) -> None:
        """Drop the current object in hand, with its prompts."""

        def reject() -> None:
            self._check_plane()
            self.session.reject()

        self._guard(reject)

    def undo(self) -> None:
        """Take the last step back, and show its plane."""
        self._go_to(self._guard(self.session.undo))

    def redo(self) -> None:
        """Do again what was undone, and show the plane it was done on."""
        self._go_to(self._guard(self.session.redo))

    def next_candidate(self) -> None:
        """Take the next of the masks that the model offers for the current object."""
        prediction = self.session.prediction
        if prediction is not None and len(prediction.candidates) > 1:
            self.session.choose((prediction.index + 1) % len(prediction.candidates))

    def background(self) -> None:
        """Turn the selected points, or else the last one, from foreground to background or back."""
        plane, points = self._source.plane, self.points
        if plane is not None and len(points.data):
            self.prompt_layers.flip(sorted(points.selected_data) or [len(points.data) - 1])

    # ----------------------------------------------------------------- classes

    def set_classes(self, colors: Mapping[str, str], *, show: bool = False) -> None:
        """Offer classes; Alt-1 to Alt-9 on our layers choose one for the objects accepted next.

        Parameters
        ----------
        colors : mapping from str to str
            Colour of each class, in the order of the keys.
        show : bool
            Show labels in the colours of their classes.
        """
        self._classes = dict(colors)
        if self._class_colors is not None:
            self._class_colors.close()
        self._class_colors = ClassColors(self.labels, self.session, self._classes) if show else None

    def choose_class(self, number: int) -> None:
        """Take the class with a number, from 1, for the objects accepted from now on."""
        if 1 <= number <= len(self._classes):
            self.session.category = list(self._classes)[number - 1]
            self.class_changed.emit(self.session.category)
            if self.plane is not None:
                self.listen()  # for the next object, after napari's keys for other modes, too

    # ------------------------------------------------------- labels under the mouse

    def refine(self, place: Place | None = None) -> None:
        """Take the label at a world position, or under the mouse, into hand again."""
        self._guard(lambda: self.session.take_up(self._label_at(place, "refine")))

    def delete(self, place: Place | None = None) -> None:
        """Delete the label at a world position, or under the mouse, from this plane."""
        self._guard(lambda: self.session.delete(self._label_at(place, "delete")))

    def split(self, place: Place | None = None) -> None:
        """Split the label at a world position, or under the mouse."""
        self._guard(lambda: self.session.split(self._label_at(place, "split")))

    def merge(self, place: Place | None = None) -> None:
        """Note the label under the mouse, or make it one with the label noted before."""

        def merge() -> None:
            label = self._label_at(place, "merge")
            first, self._merging = self._merging, None
            if first is None:
                self._merging = label
            elif label != first:
                self.session.merge([first, label])
            self.merging_changed.emit()

        self._guard(merge)

    @property
    def merging(self) -> int | None:
        """The label that the next one is merged into."""
        return self._merging

    def _label_at(self, place: Place | None, purpose: str) -> int:
        self._ensure_plane()
        position = self.viewer.cursor.position if place is None else place
        y, x = nearest(self._source.locate(position)).tolist()
        height, width = self._plane_shape()
        label = 0
        if 0 <= y < height and 0 <= x < width:
            region = slice(y, y + 1), slice(x, x + 1)
            label = int(self._store.plane(self._source.need()).read(region)[0, 0])
        if label == 0:
            raise NothingThereError(
                f"there is no label at row {y}, column {x} to {purpose}; point the mouse at one"
            )
        return label

    # ------------------------------------------------------- what the model sees

    def set_rendering(
        self,
        contrast: Contrast | None = None,
        channels: Sequence[ChannelChoice | None] | None = None,
    ) -> None:
        """Change how the model sees the image.

        Parameters
        ----------
        contrast : {"image", "plane", "layer"} or tuple, optional
            The 0.1 and 99.9 percentiles of the image or of each plane, the layer's contrast
            limits, or limits of your own: a pair of float, or a pair for each channel.
        channels : sequence of ChannelChoice, optional
            Up to three, as red, green and blue (None is black), or one as grey; an empty sequence
            for the image as it is.

        Raises
        ------
        LayerError, sam3.errors.ImageError
            If the channels do not fit together; the old ones stay then.
        """
        before = self._source.contrast, self._source.channels
        if contrast is not None:
            self._source.contrast = contrast
        if channels is not None:
            self._source.channels = tuple(channels)
        self._source.forget()
        self._current = False
        try:
            self._ensure_plane()
        except Sam3Error as error:
            self._source.contrast, self._source.channels = before
            self._report(error)

    def thumbnail(self, side: int = 128) -> npt.NDArray[np.uint8] | None:
        """Return a small picture (h x w x 3) of the plane as the model gets it.

        None as long as its contrast is not known: finding it may take a look at all pixels, which
        is left to the thread that predicts.
        """
        if self._source.plane is None or not self._current:
            return None
        image = self._source.rendered()
        if not image.is_ready:
            return None
        step = max(1, -(-max(image.shape) // side))
        return image.region(slice(None, None, step), slice(None, None, step))

    def show_field(self, shown: bool) -> None:
        """Draw a thin outline around what the model looked at for the mask in hand, or do not."""
        if shown == (self._outline is not None):
            return
        if self._outline is not None:
            self._outline.close()
        self._outline = FieldOutline(self.viewer, self.image, self.layers.tools) if shown else None
        self._show_field()

    # ------------------------------------------------------------------- layers

    def restore(self) -> None:
        """Make the layers anew that were deleted, with the prompts still in hand."""
        if self.layers.missing:
            self._unwire_layers()
            self.layers = self.layers.restored()
            self._wire_layers()
            for key in self.session.all_hands():
                self._show_hand(key)
            self._current = False
            self._guard(self._ensure_plane)
            self._show_prediction(self.session.prediction)

    def close(self, *, discard_journal: bool = False) -> None:
        """Let the layers go; those that only served the binding are removed.

        Parameters
        ----------
        discard_journal : bool
            Delete the journal, because the labels are saved elsewhere.
        """
        if self._closed:
            return
        self._closed = True
        self._keeper.close(discard=discard_journal)
        self.session.beside = None
        if self._class_colors is not None:
            self._class_colors.close()
        self.show_field(False)
        self._unwire_events()
        self._unwire_layers()
        self.session.clear_plane()
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
        """Whether a click at a world position can be taken; says why if not."""

        def check() -> bool:
            self._ensure_plane()
            y, x = self._source.locate(position)
            PromptSet(((x, y),), (1,)).check_inside(self._plane_shape())
            return True

        return bool(self._guard(check))

    def finish_object(self) -> bool:
        """Accept what is in hand, if there is anything; False if that was not possible."""
        before = self.session.hand
        if not any(draft.has_target for draft in before.drafts):
            return True
        self._guard(self.session.accept)
        return not self.session.hand.same_as(before)

    def draw_box(self, start: Place, end: Place, *, done: bool) -> None:
        """Draw a box between two world positions; once done it is a prompt."""

        def draw() -> None:
            plane = self._source.need()
            corners = np.array([self._source.locate(start), self._source.locate(end)])
            height, width = self._plane_shape()
            corners = np.clip(corners, -0.5, [height - 0.5, width - 0.5]).round(4)
            (y0, x0), (y1, x1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
            usable = min(y1 - y0, x1 - x0) >= MIN_BOX_SIDE
            box = (x0, y0, x1, y1) if usable else None
            self._sketch = self.prompt_layers.sketch(plane, box, self._sketch)
            if not done:
                return
            index, self._sketch = self._sketch, None
            if index is None:
                PromptSet.from_arrays(box=(x0, y0, x1, y1))  # says what is wrong with it
                return
            if self.session.mode == "one":
                # One object has one box: the new one takes the old one's place.
                self.prompt_layers.drop_boxes(plane, self.session.hand.current, index)
            self._take_prompts()

        self._guard(draw)

    def _check_plane(self) -> None:
        """Say why there is no plane to work on, or why the labels cannot be written any more."""
        if not self.layers.missing:
            self._ensure_plane()

    def _plane_shape(self) -> tuple[int, int]:
        shape = self.session.plane_shape
        if shape is None:
            raise PromptError("no plane is shown; choose an image and look at a plane of it")
        return shape
