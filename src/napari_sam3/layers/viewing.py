"""How labels are shown and painted: outlines or filled, and napari's brush for one object."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from napari_sam3.core.errors import LayerError, NothingThereError

from .label_layer import image_shape

if TYPE_CHECKING:
    from napari_sam3.session.session import LabelingSession

    from .clicking import Clicking
    from .layer_set import LayerSet
    from .reporting import Reporting
    from .shown_plane import ShownPlane

__all__ = ["Viewing"]

PAINT = "paint"


class Waiting(Protocol):
    """A command of two steps."""

    def cancel(self) -> bool:
        """Forget the first step; whether there was one."""


class Viewing:
    """Commands on the display of the labels, and on the tool that edits them.

    Parameters
    ----------
    layers : LayerSet
        Layers of a binding.
    session : LabelingSession
        Knows the object accepted last.
    plane : ShownPlane
        The plane shown.
    clicking : Clicking
        Makes clicks prompts again.
    waiting : sequence of Waiting
        Commands that may wait for a second key.
    reporting : Reporting
        Where errors go.
    """

    def __init__(
        self,
        layers: LayerSet,
        session: LabelingSession,
        plane: ShownPlane,
        clicking: Clicking,
        waiting: Sequence[Waiting],
        reporting: Reporting,
    ) -> None:
        self._layers, self._session, self._plane = layers, session, plane
        self._clicking, self._waiting, self._guard = clicking, waiting, reporting.guard
        # Whether napari kept other labels before the brush was taken; None without the brush.
        self._preserved: bool | None = None

    @property
    def commands(self) -> Mapping[str, Callable[[], object]]:
        """Commands of keys, by the names of `napari_sam3.layers.gestures.KEYS`."""
        return {"outline": self.outline, "brush": self.brush, "cancel": self.cancel}

    @property
    def painting(self) -> bool:
        """Whether the brush was taken by its key."""
        return self._preserved is not None and str(self._layers.labels.mode) == PAINT

    def cancel(self) -> None:
        """Cancel a waiting command, leave the brush, stop a run, or clear the draft."""
        if any(one.cancel() for one in self._waiting) or self.leave_brush():
            return
        running = (one for one in (self._session.finding, self._session.propagating) if one.running)
        if (run := next(running, None)) is not None:
            run.cancel()
        elif not self._layers.missing:
            self._guard(self._clear)

    def _clear(self) -> None:
        self._plane.ensure()
        self._session.reject()

    def outline(self) -> None:
        """Show labels as outlines, or filled again."""
        labels = self._layers.labels
        shape = image_shape(self._layers.image)
        labels.contour = 0 if labels.contour else max(1, round(min(shape[-2:]) / 500))

    def brush(self) -> None:
        """Take napari's brush for the object under the mouse, or the one accepted last; or back.

        Other labels keep their pixels while the brush paints.
        """
        if not self.leave_brush():
            self._guard(self._take_brush)

    def leave_brush(self) -> bool:
        """Make clicks prompts again, if the brush was taken; whether it was."""
        if self._preserved is None:
            return False
        self.close()
        self._clicking.resume()
        return True

    def close(self) -> None:
        """Leave the brush, and revert its strokes."""
        labels, preserved = self._layers.labels, self._preserved
        if preserved is not None:
            painting, self._preserved = self.painting, None
            for emitter in self._leaving():
                emitter.disconnect(self._on_napari)
            labels.preserve_labels = preserved
            if painting:
                labels.mode = "pan_zoom"

    def _leaving(self) -> tuple[Any, ...]:
        """Return the events by which the brush may be left by napari's own means."""
        layers = self._layers
        return layers.labels.events.mode, layers.viewer.layers.selection.events.active

    def _on_napari(self, _event: Any = None) -> None:
        active = self._layers.viewer.layers.selection.active
        chosen = active is not None and active.unique_id == self._layers.labels.unique_id
        if not (chosen and self.painting):
            self.close()

    def _take_brush(self) -> None:
        labels = self._layers.labels
        if labels.multiscale:
            raise LayerError(
                f"the labels {labels.name!r} are a pyramid, which napari's brush cannot paint on. "
                "Expected labels of one resolution. Refine the object with clicks instead."
            )
        label = self._object()
        if label is not None:
            labels.selected_label = label
        self._preserved = bool(labels.preserve_labels)
        labels.preserve_labels = True
        labels.mode = PAINT  # before listeners hear that clicks go elsewhere
        self._layers.viewer.layers.selection.active = labels
        for emitter in self._leaving():
            emitter.connect(self._on_napari)

    def _object(self) -> int | None:
        """Return the label under the mouse, or that of the object accepted last on the plane."""
        try:
            return self._plane.label_at(None, "paint")
        except NothingThereError:
            objects = self._session.objects_in(self._layers.labels.unique_id)
            here = [one.id for one in objects if one.plane == self._session.plane_key]
            return here[-1] if here else None
