"""A viewer with the dock widget, a hand to use them, and clocks on what can be seen of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QApplication

from napari_sam3.cli.demo import PLUGIN, WIDGET
from napari_sam3.cli.robot import Place, Robot

if TYPE_CHECKING:
    from sam3 import Predictor

__all__ = ["Click", "Desk", "FirstPaint", "Gap", "opened", "ticking"]

WINDOW = (1400, 900)
TICK_MS = 5
#: Seconds without a frame after which the canvas is taken to be at rest.
REST = 0.1


@dataclass
class Click:
    """Moments (s) on the way from a click to the mask on the screen."""

    pressed: float
    started: float = 0.0
    answered: float = 0.0
    shown: float = 0.0
    drawing: bool = False
    drawn: float = 0.0

    @property
    def parts(self) -> dict[str, float]:
        """Seconds of each part, in order."""
        return {
            "queue": self.started - self.pressed,
            "predict": self.answered - self.started,
            "preview": self.shown - self.answered,
            "draw": self.drawn - self.shown,
        }

    @property
    def seconds(self) -> float:
        """Seconds in all."""
        return self.drawn - self.pressed


@dataclass
class Desk:
    """A viewer, the dock widget in it, and a hand.

    Parameters
    ----------
    viewer : napari.Viewer
    widget : SegmentWidget
    hand : Robot
    """

    viewer: Any
    widget: Any
    hand: Robot
    _click: Click = field(default_factory=lambda: Click(0.0))
    _frames: int = 0

    def __post_init__(self) -> None:
        """Put clocks on the session, its thread and the canvas."""
        session = self.widget.session
        predictions = session._parts.predictions
        self._submit, predictions._submit = predictions._submit, self._timed
        predictions._early._submit = self._timed
        # Connected after the binding, hence told after the preview has taken the mask.
        session.prediction_changed.connect(self._on_prediction)
        canvas: Any = self.viewer.window._qt_viewer.canvas
        canvas._scene_canvas.events.draw.connect(self._on_draw, position="first")
        canvas.native.frameSwapped.connect(self._on_frame)

    def settle(self) -> None:
        """Wait until nothing is predicted, nothing encoded ahead, and nothing drawn any more."""
        widget, session = self.widget, self.widget.session
        self.hand.wait_until(
            lambda: not session.busy and session.predictor is not None, "the model", 600
        )
        frames, since = self._frames, time.perf_counter()
        while time.perf_counter() - since < REST:
            QApplication.processEvents()
            time.sleep(0.005)  # leaves Python to the thread that works
            if frames != self._frames or not widget.wait(0):
                frames, since = self._frames, time.perf_counter()

    def click(self, place: Place, *, shift: bool = False, at_once: bool = False) -> Click:
        """Click, at once or when all is at rest, and wait until the mask is on the screen."""
        if not at_once:
            self.hand.move(place)
            self.settle()
        click = self._click = Click(time.perf_counter())
        self.hand.click(place, shift=shift)
        self.hand.wait_until(lambda: click.drawn > 0, f"the mask of a click at {place}", 600)
        return click

    def type(self, key: str) -> None:
        """Press a key and let things settle."""
        self.hand.type(key)
        self.settle()

    def _timed(self, work: Any, done: Any, report: Any) -> Any:
        click = self._click

        def timed(tell: Any) -> Any:
            started = time.perf_counter()
            outcome = work(tell)
            # Fields that are encoded ahead bring no masks.
            if outcome.predictions is not None and not click.answered:
                click.started, click.answered = started, time.perf_counter()
            return outcome

        return self._submit(timed, done, report)

    def _on_prediction(self, prediction: Any) -> None:
        if prediction is not None and self._click.answered and not self._click.shown:
            self._click.shown = time.perf_counter()

    def _on_draw(self, event: Any) -> None:
        self._click.drawing = self._click.shown > 0

    def _on_frame(self) -> None:
        self._frames += 1
        if self._click.drawing and not self._click.drawn:
            self._click.drawn = time.perf_counter()


@contextmanager
def opened(
    *images: Any,
    sample: str | None = None,
    predictor: Predictor | None = None,
    look_ahead: bool = True,
) -> Iterator[Desk]:
    """Open a viewer with images or a sample, and the dock widget as the menu opens it."""
    import napari

    viewer = napari.Viewer()
    viewer.window.resize(*WINDOW)
    for image in images:
        viewer.add_image(image)
    if sample is not None:
        viewer.open_sample(PLUGIN, sample)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    if not look_ahead:
        widget.session.look_ahead = 0
    if predictor is not None:
        widget.set_predictor(predictor)
    QApplication.processEvents()
    viewer.fit_to_view()
    desk = Desk(viewer, widget, Robot(viewer))
    try:
        desk.settle()
        yield desk
    finally:
        # A thread at work outlives a closed window, and with it everything it holds.
        widget.shut_down()
        widget.wait()
        viewer.close()


class FirstPaint(QObject):
    """Notes when a widget is painted for the first time.

    Parameters
    ----------
    widget : QWidget
        Not painted yet.
    """

    def __init__(self, widget: Any) -> None:
        super().__init__(widget)
        self.time = 0.0
        widget.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Take the time of the first paint event."""
        if event.type() == QEvent.Type.Paint and not self.time:
            self.time = time.perf_counter()
        return False


@dataclass(frozen=True)
class Gap:
    """Time between two ticks of the GUI thread.

    Parameters
    ----------
    start, end : float
        Moments (s) of the ticks.
    waited : float
        Seconds of it in which the thread could have run, and no core was free; 0 if not known.
    """

    start: float
    end: float
    waited: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


@contextmanager
def ticking() -> Iterator[Callable[[], list[Gap]]]:
    """Let a timer of the GUI thread tick; yields a function that returns the gaps so far."""
    ticks = [(time.perf_counter(), _waited())]
    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(lambda: ticks.append((time.perf_counter(), _waited())))
    timer.start(TICK_MS)

    def gaps() -> list[Gap]:
        ends = [*ticks[1:], (time.perf_counter(), _waited())]
        return [Gap(a[0], b[0], b[1] - a[1]) for a, b in zip(ticks, ends, strict=True)]

    try:
        yield gaps
    finally:
        timer.stop()


def _waited() -> float:
    """Seconds for which this thread has waited for a core since it was started."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0
