"""The demo: a sample image ready for clicks; without a display, it labels the image itself."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam3.labels.formats.tiff import write_labels
from napari_sam3.labels.output_files import check_output
from napari_sam3.labels.table import ObjectRow, format_table, write_table
from napari_sam3.layers.gestures import KEYS
from sam3.errors import Sam3Error

from .virtual_display import has_display, virtual_display

if TYPE_CHECKING:
    import napari

    from napari_sam3.qt.widget import SegmentWidget
    from napari_sam3.session.session import LabelingSession

    from .robot import Robot

__all__ = ["COINS", "LAST_COIN", "DemoError", "Person", "Take", "label_by_hand", "run_demo"]

PLUGIN, WIDGET, SAMPLE = "napari-sam3", "SAM 3", "coins"
FILES = ("labels.tif", "objects.csv", "screenshot.png")
WINDOW = (1400, 800)
BAD_INPUT = 2
Place = tuple[float, float]


class DemoError(Sam3Error, RuntimeError):
    """The demo failed."""


@dataclass(frozen=True)
class Take:
    """Prompts of one object, with positions (row, column) in px of the image.

    Parameters
    ----------
    clicks : tuple of places
        Left clicks on the object.
    away : tuple of places
        Right clicks outside the object.
    box : pair of places, optional
        Opposite corners of a box to drag.
    """

    clicks: tuple[Place, ...] = ()
    away: tuple[Place, ...] = ()
    box: tuple[Place, Place] | None = None


COINS = (
    Take(clicks=((51, 155),)),
    Take(clicks=((51, 215),)),
    Take(box=((30, 251), (76, 301))),
    Take(clicks=((127, 154),), away=((161, 156),)),
    Take(clicks=((119, 271),)),
    Take(clicks=((125, 336),)),
    Take(clicks=((193, 212),)),
    Take(clicks=((194, 274),)),
)
LAST_COIN = Take(clicks=((187, 347),), away=((231, 347),))


def run_demo(
    output: str | os.PathLike[str],
    *,
    model: str = "tiny",
    device: str = "auto",
    headless: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> int:
    """Open napari with a sample; without a display, label it off-screen and save the results.

    Parameters
    ----------
    output : str or path-like
        Folder for the results of a run without display.
    model, device : str
        As for `sam3.load_predictor`.
    headless : bool
        Work off-screen even if there is a display.
    overwrite : bool
        Replace results of an earlier run.
    quiet : bool
        Print errors only.

    Returns
    -------
    int
        Exit code, 0 for success.

    Raises
    ------
    sam3.errors.Sam3Error
        If the results cannot be written, or no display can be started.
    """
    if has_display() and not headless:
        return _show(model, device)
    for name in FILES:
        check_output(Path(output) / name, overwrite=overwrite)
    # In a separate process: Qt crashes the process if its display ends first. It runs with napari's
    # default settings, so that the user's, such as window sizes, do not change.
    with virtual_display():
        code = f"from {__name__} import label_by_hand as run; run(*__import__('sys').argv[1:])"
        command = [sys.executable, "-c", code, os.fspath(output), model, device]
        return subprocess.run(
            command,
            env={**os.environ, "NAPARI_CONFIG": ""},
            stdout=subprocess.DEVNULL if quiet else None,
            check=False,
        ).returncode


def label_by_hand(folder: str, model: str, device: str) -> None:
    """Label the coins with mouse and keys, save the results, and end the process."""
    try:
        rows = _label_coins(Path(folder), model, device)
    except Sam3Error as error:
        print(f"napari-sam3 demo: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    print(format_table(rows))
    print("\n".join(f"{Path(name).stem + ':':12}{Path(folder) / name}" for name in FILES))


def _show(model: str, device: str) -> int:
    import napari

    viewer, _ = _open(model, device)
    viewer.window.resize(*WINDOW)
    napari.run()
    return 0


def _open(model: str, device: str) -> tuple[napari.Viewer, SegmentWidget]:
    """Open napari with the sample and the dock widget, as declared in the manifest."""
    import napari

    viewer = napari.Viewer()
    viewer.open_sample(PLUGIN, SAMPLE)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    if (model, device) != ("tiny", "auto"):
        widget.set_model(model, device)
    return viewer, widget


def _label_coins(folder: Path, model: str, device: str) -> list[ObjectRow]:
    """Label the coins, leave a last one as draft, and write the files."""
    from .robot import Robot

    viewer, widget = _open(model, device)
    try:
        robot = Robot(viewer)
        viewer.window.resize(*WINDOW)
        robot.wait_until(lambda: widget.binding is not None, "the layers")
        viewer.fit_to_view()
        person = Person(robot, widget.session)
        for take in COINS:
            person.label(take)
        person.show(LAST_COIN)
        assert widget.binding is not None
        labels = widget.binding.labels.data
        rows = [ObjectRow.measure(one, labels) for one in widget.session.objects]
        write_labels(folder / FILES[0], labels, overwrite=True)
        write_table(folder / FILES[1], rows, overwrite=True)
        viewer.screenshot(str(folder / FILES[2]), canvas_only=False, flash=False)
    finally:
        # A running thread outlives a closed window, with everything it refers to.
        widget.shut_down()
        widget.wait()
        viewer.close()
    return rows


class Person:
    """A simulated user: clicks, waits for the mask, accepts it by key."""

    def __init__(self, robot: Robot, session: LabelingSession) -> None:
        self._robot, self._session = robot, session
        self._failures: list[BaseException] = []
        session.failed.connect(self._failures.append)

    def show(self, take: Take) -> None:
        """Add all prompts of an object, and wait for its mask."""
        if take.box is not None:
            self._robot.drag(*take.box)
        for place in take.clicks:
            self._robot.click(place)
        for place in take.away:
            self._robot.click(place, right=True)
        self._robot.wait_until(lambda: not self._session.busy, f"the mask of {take}")
        if self._failures:
            raise self._failures[0]
        if self._session.prediction is None:
            raise DemoError(
                f"the viewer received no prompt from {take}. Expected a click on its canvas. "
                "Uncover the window, and try again."
            )

    def label(self, take: Take) -> None:
        """Prompt an object and accept its mask."""
        before = len(self._session.objects)
        self.show(take)
        self._robot.type(KEYS["accept"])
        if len(self._session.objects) != before + 1:
            raise DemoError(
                f"the mask of {take} was not accepted: no pixel of it is free. Expected "
                "background under it. Start the demo with its own image."
            )
