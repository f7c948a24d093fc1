"""The classes that objects may have, and labels shown in their colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_sam3.core.operations import LabelChange

from .label_colors import LEAST_ALPHA, show_labels

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam3.session.session import LabelingSession

    from .hidden_labels import HiddenLabels

__all__ = ["ClassColors", "Classes"]

#: Labels of no class, and those that came from elsewhere.
OTHER = "#9a9996"


class Classes:
    """The classes offered for the objects accepted next.

    Parameters
    ----------
    labels : Labels
        The layer that objects are written to.
    session : LabelingSession
        Gives objects their class.
    hidden : HiddenLabels
        Hides labels of the layer for a while.

    Attributes
    ----------
    changed : Signal
        (str) after a class was chosen by its number.
    """

    changed = Signal(str)

    def __init__(self, labels: Labels, session: LabelingSession, hidden: HiddenLabels) -> None:
        self._labels, self._session, self._hidden = labels, session, hidden
        self._names: tuple[str, ...] = ()
        self._shown: ClassColors | None = None

    def offer(self, colors: Mapping[str, str], *, show: bool = False) -> None:
        """Offer classes by name and colour, and show labels in these colours or not."""
        self.close()
        self._names = tuple(colors)
        if show:
            self._shown = ClassColors(self._labels, self._session, self._hidden, colors)

    def choose(self, number: int) -> bool:
        """Take the class with a number, from 1; False if there is none."""
        if not 1 <= number <= len(self._names):
            return False
        self._session.category = self._names[number - 1]
        self.changed.emit(self._session.category)
        return True

    def close(self) -> None:
        """Give the labels their own colours back."""
        if self._shown is not None:
            self._shown.close()
            self._shown = None


class ClassColors:
    """Colours a Labels layer by class as long as it is open.

    Parameters
    ----------
    labels : Labels
        The layer; it gets its own colours back at the end.
    session : LabelingSession
        Knows the classes of objects.
    hidden : HiddenLabels
        Hides labels of the layer for a while.
    colors : mapping from str to str
        Colour of each class. One that is transparent is shown as that of no class.
    """

    def __init__(
        self,
        labels: Labels,
        session: LabelingSession,
        hidden: HiddenLabels,
        colors: Mapping[str, str],
    ) -> None:
        self._labels, self._session, self._hidden = labels, session, hidden
        self._colors = {name: color for name, color in colors.items() if _is_visible(color)}
        with hidden.lifted():
            self._before: Any = labels.colormap
        self._known = {one.id for one in session.objects_in(labels.unique_id)}
        self._shown = self._known
        session.labels_changed.connect(self._on_change)
        session.batch_ended.connect(self._show)
        self._show()

    def close(self) -> None:
        """Give the layer its own colours back."""
        self._session.labels_changed.disconnect(self._on_change)
        self._session.batch_ended.disconnect(self._show)
        with self._hidden.lifted():
            self._labels.colormap = self._before
            # Objects that were accepted meanwhile must not vanish.
            show_labels(self._labels, self._shown - self._known)

    def _on_change(self, change: LabelChange) -> None:
        if not change.more:
            self._show()

    def _show(self) -> None:
        from napari.utils.colormaps import DirectLabelColormap

        colors: dict[int | None, Any] = {None: OTHER, 0: "transparent"}
        objects = self._session.objects_in(self._labels.unique_id)
        self._shown = {one.id for one in objects}
        for one in objects:
            colors[one.id] = self._colors.get(one.category, OTHER)
        with self._hidden.lifted():
            self._labels.colormap = DirectLabelColormap(color_dict=colors)


def _is_visible(color: str) -> bool:
    from napari.utils.colormaps.standardize_color import transform_color

    return bool(transform_color(color)[0, -1] >= LEAST_ALPHA)
