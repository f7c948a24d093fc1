"""Classes of objects, and labels coloured by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from .label_colors import LEAST_ALPHA, show_labels

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam3.core.operations import LabelChange
    from napari_sam3.session.session import LabelingSession

    from .hidden_labels import HiddenLabels

__all__ = ["ClassColors", "Classes"]

#: Colour of labels without a class.
OTHER = "#9a9996"


class Classes:
    """The classes offered for the next accepted objects.

    Parameters
    ----------
    labels : Labels
        Layer that objects are written to.
    session : LabelingSession
        Sets the class of objects.
    hidden : HiddenLabels
        Temporarily hidden labels of the layer.

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
        """Offer classes by name and colour, and optionally colour labels by class."""
        self.close()
        self._names = tuple(colors)
        if show:
            self._shown = ClassColors(self._labels, self._session, self._hidden, colors)

    def name(self, number: int) -> str | None:
        """Return the class with a number, from 1; None if there is none."""
        return self._names[number - 1] if 1 <= number <= len(self._names) else None

    def choose(self, number: int) -> bool:
        """Choose the class with a number, from 1; return False if there is none."""
        name = self.name(number)
        if name is None:
            return False
        self._session.category = name
        self.changed.emit(self._session.category)
        return True

    def close(self) -> None:
        """Restore the colours of the labels."""
        if self._shown is not None:
            self._shown.close()
            self._shown = None


class ClassColors:
    """Colour a Labels layer by class until closed.

    Parameters
    ----------
    labels : Labels
        The layer; its colours are restored at the end.
    session : LabelingSession
        Objects with their classes.
    hidden : HiddenLabels
        Temporarily hidden labels of the layer.
    colors : mapping from str to str
        Colour of each class. A transparent colour is replaced by that of no class.
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
        """Restore the colours of the layer."""
        self._session.labels_changed.disconnect(self._on_change)
        self._session.batch_ended.disconnect(self._show)
        with self._hidden.lifted():
            self._labels.colormap = self._before
            # Objects accepted since must stay visible.
            show_labels(self._labels, self._shown - self._known)

    def _on_change(self, change: LabelChange) -> None:
        if not change.more:
            self._show()

    def _show(self) -> None:
        from napari.utils.colormaps import DirectLabelColormap

        colors: dict[int | None, Any] = {None: OTHER, 0: "transparent"}
        objects = self._session.objects_in(self._labels.unique_id)
        self._shown = {accepted.id for accepted in objects}
        for accepted in objects:
            colors[accepted.id] = self._colors.get(accepted.category, OTHER)
        with self._hidden.lifted():
            self._labels.colormap = DirectLabelColormap(color_dict=colors)


def _is_visible(color: str) -> bool:
    from napari.utils.colormaps.standardize_color import transform_color

    return bool(transform_color(color)[0, -1] >= LEAST_ALPHA)
