"""Make the pictures of the documentation: a real viewer, used by real mouse and key events.

    python scripts/screenshots.py [--output docs/images] [--only error advanced]

Every picture is one function below that brings the viewer into a state; STATES names them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.cli.demo import COINS, LAST_COIN, PLUGIN, WIDGET, Person, Take
from napari_sam3.cli.virtual_display import virtual_display

if TYPE_CHECKING:
    from napari_sam3.cli.robot import Robot

SIZE = (1100, 700)
TALL = (1100, 980)
DIVIDES = 8
DEVICE = "CPU: no CUDA or MPS device was found"


@dataclass(frozen=True)
class Stage:
    """A viewer with the dock widget, and somebody who uses them."""

    viewer: Any
    widget: Any
    hand: Robot
    person: Person

    def open_sample(self, name: str) -> None:
        """Open a sample and look at the whole of it."""
        self.viewer.open_sample(PLUGIN, name)
        self.hand.rest()
        self.viewer.fit_to_view()
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is predicted any more, with the model loaded."""
        self.hand.wait_until(lambda: not self.widget.session.busy, "the model")


def accepted(stage: Stage) -> None:
    """Accept objects, and leave one in hand."""
    stage.open_sample("coins")
    for take in COINS:
        stage.person.label(take)
    stage.person.show(LAST_COIN)


def advanced(stage: Stage) -> None:
    """Open the fold."""
    stage.viewer.window.resize(*TALL)
    accepted(stage)
    stage.widget.panel.advanced.unfold(True)
    stage.widget.options.show_device(DEVICE)
    stage.hand.rest()


def batch(stage: Stage) -> None:
    """Find everything on the planes of a stack, and show what came of it."""
    stage.viewer.window.resize(*TALL)
    stage.open_sample("stack")
    stage.hand.wait_until(lambda: stage.widget.binding.plane is not None, "a plane")
    panel = stage.widget.panel.batch
    panel.fold.unfold(True)
    stage.hand.rest()
    panel.method.setCurrentIndex(panel.method.findData("automatic"))
    panel.first.setValue(10)
    panel.last.setValue(13)
    panel.run_button.click()
    stage.hand.wait_until(lambda: not stage.widget.batch.running, "the batch", 300)
    stage.viewer.dims.set_current_step(0, 12)
    stage.hand.wait_until(lambda: stage.widget.session.stage == "idle", "the model")


def error(stage: Stage) -> None:
    """Click on background alone, which the panel refuses."""
    stage.open_sample("coins")
    stage.hand.click((161, 156), right=True)
    stage.hand.rest()


def many(stage: Stage) -> None:
    """Show many objects at once: every click is one."""
    stage.open_sample("coins")
    stage.widget.panel.modes["many"].click()
    for take in COINS[:4]:
        if take.clicks:
            stage.hand.click(take.clicks[0])
    stage.settle()


def nuclei_of_a_day() -> tuple[str, list[tuple[Any, Any]]]:
    """Write a folder of six images of nuclei, of which the third is damaged.

    Returns
    -------
    folder : str
        The folder.
    images : list of (image, labels)
        What the files show, 1 x 256 x 256.
    """
    import tempfile

    import tifffile

    from napari_sam3.layers.sample_data import make_nuclei

    folder = tempfile.mkdtemp()
    images = [make_nuclei((1, 256, 256), count=24, seed=seed) for seed in range(6)]
    for number, (image, _) in enumerate(images, 1):
        tifffile.imwrite(Path(folder) / f"nuclei {number}.tif", image[0])
    (Path(folder) / "nuclei 3.tif").write_bytes(b"II*")
    return folder, images


def shows(run: Any, number: int) -> bool:
    """Whether a series shows the image with a number, from 0."""
    shown = run.shown
    return shown is not None and run.series.place(shown.opened.item) == number


def label_nuclei(stage: Stage, labels: Any, count: int) -> None:
    """Label the first objects of an image, a click each."""
    for number in range(1, count + 1):
        stage.person.show(Take(clicks=(centre_of(labels, number),)))
        stage.hand.type("N")


def centre_of(labels: Any, label: int) -> tuple[float, float]:
    """Return the mean row and column of an object."""
    row, column = np.argwhere(labels == label).mean(axis=0).tolist()
    return row, column


def open_dividing_cells(stage: Stage) -> Any:
    """Open a time series of cells with their labels; return the labels."""
    image, labels = dividing_cells()
    stage.viewer.add_image(image, name="cells", axis_labels=("t", "y", "x"))
    stage.hand.wait_until(lambda: stage.widget.binding is not None, "the image")
    stage.hand.wait_until(lambda: stage.widget.binding.plane is not None, "a plane")
    stage.widget.binding.labels.data = labels
    stage.settle()
    return labels


def dividing_cells() -> tuple[Any, Any]:
    """Make cells that wander, one of which divides: an image and labels, 14 x 120 x 120."""
    rng = np.random.default_rng(3)
    labels = np.zeros((14, 120, 120), np.uint32)
    rows, columns = np.indices(labels.shape[1:])
    for frame in range(len(labels)):
        apart = 4.0 * max(0, frame - DIVIDES + 1)
        middle = 60 + 4 * np.sin(frame / 3)
        places = {
            1: (middle - apart - 5 * (frame >= DIVIDES), 20 + 5 * frame),
            3: (14 + frame, 95 - 3 * frame),
            4: (100 - 2 * frame, 25 + 2 * frame),
        }
        if frame >= DIVIDES:
            places[2] = middle + apart + 5, 20 + 5 * frame
        for label, (row, column) in places.items():
            inside = np.hypot(rows - row, (columns - column) * 0.8) < (7 if label < 3 else 9)
            labels[frame][inside] = label
    image = rng.poisson(20 + 60 * (labels > 0)).astype(np.uint16)
    return image, labels


def save_labels(stage: Stage) -> None:
    """Open the dialog for the labels of a time series, which has the formats of tracks as well."""
    open_dividing_cells(stage)
    stage.widget.panel.files.save.click()
    stage.hand.wait_until(lambda: stage.widget.files.dialog is not None, "the dialog")
    dialog = stage.widget.files.dialog
    dialog.resize(dialog.width(), 690)  # with all formats in sight
    dialog.file.setText("cells.ome.zarr")
    stage.hand.rest()


STATES: dict[str, Callable[[Stage], None]] = {
    "accepted": accepted,
    "many-objects": many,
    "batch": batch,
    "advanced": advanced,
    "error": error,
    "save-labels": save_labels,
}


@contextlib.contextmanager
def open_stage() -> Iterator[Stage]:
    """Open a viewer with the dock widget, and close them again."""
    import napari

    from napari_sam3.cli.robot import Robot

    viewer = napari.Viewer()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    try:
        viewer.window.resize(*SIZE)
        hand = Robot(viewer)
        hand.rest()
        yield Stage(viewer, widget, hand, Person(hand, widget.session))
    finally:
        widget.shut_down()
        widget.wait()
        viewer.close()


def take(name: str, path: Path) -> None:
    """Bring a viewer into a state and save a picture of it."""
    with open_stage() as stage:
        STATES[name](stage)
        hide_notifications(stage.viewer)
        stage.hand.rest()
        dialog = stage.widget.files.dialog
        if dialog is None:
            _save(stage.viewer.screenshot(canvas_only=False, flash=False), path)
            return
        from napari._qt.utils import QImg2array

        _save(QImg2array(dialog.grab().toImage()), path)


def hide_notifications(viewer: Any) -> None:
    """They fade in and out by the clock: no two pictures would be the same."""
    from napari._qt.dialogs.qt_notification import NapariQtNotification

    for one in viewer.window._qt_window.findChildren(NapariQtNotification):
        one.close()


def _save(pixels: Any, path: Path) -> None:
    """Save with 32 shades of each colour: the repository keeps every version of a picture."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((pixels[..., :3] & 0xF8) | 4).save(path, optimize=True)


def main() -> int:
    """Take a picture of every state that is asked for."""
    return make_each("Make the pictures of the documentation.", list(STATES), "png", take)


def make_each(
    description: str, names: list[str], suffix: str, make: Callable[[str, Path], None]
) -> int:
    """Make files, each in a process of its own; Qt must be gone before its screen is.

    Parameters
    ----------
    description : str
        What the program does, for its help.
    names : list of str
        What can be made; ``--only`` chooses some.
    suffix : str
        Of the files.
    make : callable
        Makes one, given its name and path.

    Returns
    -------
    int
        Status of the program.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        make(options.only[0], options.output / f"{options.only[0]}.{suffix}")
        return 0
    failed = 0
    with virtual_display():
        for name in options.only:
            again = [sys.executable, sys.argv[0], "--here", "--output", options.output]
            # No settings file: pictures show the defaults, and nobody's settings are changed.
            environment = {
                **os.environ,
                "NAPARI_CONFIG": "",
                "PYTHONPATH": os.pathsep.join(sys.path),
            }
            command = [*again, "--only", name]
            code = subprocess.run(command, env=environment, check=False).returncode
            print(f"{name}: {'failed' if code else options.output / f'{name}.{suffix}'}")
            failed += code != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
