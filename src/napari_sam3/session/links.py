"""Parents of labels, by label image."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam3.core.operations import LabelWrite
    from napari_sam3.core.tracks import Parents

__all__ = ["LinkEdit", "Links"]


@dataclass(frozen=True, eq=False)
class LinkEdit:
    """A change of the parents of one label; an `Edit`.

    Parameters
    ----------
    links : dict
        Parents of all labels of the image that have any; changed in place.
    child : int
        Label whose parents change.
    before, after : tuple of int
        Its parents; empty for none.
    """

    links: dict[int, tuple[int, ...]]
    child: int
    before: tuple[int, ...]
    after: tuple[int, ...]

    def apply(self) -> None:
        """Set the new parents, unless they were changed since."""
        self._replace(self.before, self.after)

    def revert(self) -> None:
        """Restore the old parents, unless they were changed since."""
        self._replace(self.after, self.before)

    def writes(self) -> tuple[LabelWrite, ...]:
        """Return no region, since no pixel changes."""
        return ()

    def sides(self) -> tuple[tuple[LabelWrite, LabelWrite], ...]:
        """Return no region, since no pixel changes."""
        return ()

    def _replace(self, old: tuple[int, ...], new: tuple[int, ...]) -> None:
        if self.links.get(self.child, ()) != old:
            return
        if new:
            self.links[self.child] = new
        else:
            self.links.pop(self.child, None)


class Links:
    """The parents of labels, for all label images of a session."""

    def __init__(self) -> None:
        self._parents: dict[Hashable, dict[int, tuple[int, ...]]] = {}

    def clear(self) -> None:
        """Remove all links."""
        self._parents.clear()

    def within(self, source: Hashable) -> dict[int, tuple[int, ...]]:
        """Return the parents of each label of an image that has any."""
        return dict(self._parents.get(source, {}))

    def begin(self, source: Hashable, parents: Parents) -> None:
        """Set the links that a label image was opened with, unless it has some already."""
        if not self._parents.get(source):
            self._parents[source] = dict(parents)

    def edit(self, source: Hashable, child: int, parents: tuple[int, ...]) -> LinkEdit | None:
        """Return the change to other parents; None if the label has these already."""
        links = self._parents.setdefault(source, {})
        before = links.get(child, ())
        return None if before == parents else LinkEdit(links, child, before, parents)

    def known_edit(
        self, source: Hashable, child: int, before: tuple[int, ...], after: tuple[int, ...]
    ) -> LinkEdit:
        """Return an earlier change, to undo or redo."""
        return LinkEdit(self._parents.setdefault(source, {}), child, before, after)
