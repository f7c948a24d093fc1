"""The dock widget as seen by its parts that open images of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_sam3.layers.binding import Binding
    from napari_sam3.session.session import LabelingSession

    from .model_menu import ModelMenu
    from .options import Options
    from .panel import Panel
    from .workers import ThreadRunner

__all__ = ["Host"]


class Host(Protocol):
    """The dock widget, without its Qt."""

    viewer: ViewerModel
    session: LabelingSession
    binding: Binding | None
    panel: Panel
    options: Options
    models: ModelMenu
    runner: ThreadRunner

    def set_image(self, image: Any, labels: Any = None, align: bool = False) -> bool:
        """Work on an image, and write into labels."""

    def report(self, error: BaseException) -> None:
        """Show an error."""

    def guard(self, command: Callable[[], Any]) -> Any:
        """Run something, and report errors of any kind."""

    def refresh(self) -> None:
        """Show choices and buttons as they are now."""
