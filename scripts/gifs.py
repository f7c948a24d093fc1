"""Make the moving pictures of the documentation: a real viewer, used by real mouse and key events.

    python -m scripts.gifs [--output docs/images] [--only click z-stack]

A story is a function below that does one thing after the other, and has a frame taken of each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam3.cli.demo import COINS
from napari_sam3.layers.gestures import KEYS
from scripts.screenshots import (
    DIVIDES,
    Stage,
    centre_of,
    hide_notifications,
    label_nuclei,
    make_each,
    nuclei_of_a_day,
    open_dividing_cells,
    open_stage,
    shows,
)

if TYPE_CHECKING:
    from PIL import Image

#: Width of the pictures in px, and what a frame stands for, in ms.
WIDTH = 720
PAUSE, STEP = 1600, 700
CAPTION, GREYS, COLORS, CHROMA = 34, 64, 128, 60
SHAPE, TALL = (980, 660), (980, 860)
#: The outline of a mouse pointer, in px from its tip.
POINTER = ((0, 0), (0, 22), (5, 17), (9, 26), (13, 24), (9, 16), (16, 16))
Place = tuple[float, float]


@dataclass
class Film:
    """Frames of a viewer, each with a caption and a pointer.

    Parameters
    ----------
    stage : Stage
        The viewer and who uses it.
    """

    stage: Stage
    _frames: list[Image.Image] = field(default_factory=list)
    _times: list[int] = field(default_factory=list)

    def shoot(self, caption: str, place: Place | None = None, time: int = PAUSE) -> None:
        """Take a frame, shown for `time` ms, with the pointer at a place (row, column)."""
        from PIL import Image, ImageDraw, ImageFont

        hide_notifications(self.stage.viewer)
        self.stage.hand.rest()
        pixels = self.stage.viewer.screenshot(canvas_only=False, flash=False)
        picture = Image.fromarray(pixels[..., :3])
        if place is not None:
            corners = [(x + dx, y + dy) for x, y in [self._in_window(place)] for dx, dy in POINTER]
            ImageDraw.Draw(picture).polygon(corners, fill="white", outline="black", width=2)
        scale = WIDTH / picture.width
        picture = picture.resize((WIDTH, round(picture.height * scale)), Image.Resampling.LANCZOS)
        frame = Image.new("RGB", (WIDTH, picture.height + CAPTION), "#1b1f24")
        frame.paste(picture, (0, 0))
        font = ImageFont.load_default(size=19)
        where = WIDTH / 2, picture.height + CAPTION / 2
        ImageDraw.Draw(frame).text(where, caption, font=font, fill="white", anchor="mm")
        self._frames.append(frame)
        self._times.append(time)

    def save(self, path: Path) -> None:
        """Write the frames with one palette, so that what does not move takes no room."""
        from PIL import Image

        palette = self._palette()
        frames = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in self._frames]
        path.parent.mkdir(parents=True, exist_ok=True)
        frames[0].save(
            path,
            save_all=True,
            append_images=frames[1:],
            duration=self._times,
            loop=0,
            optimize=True,
        )

    def _palette(self) -> Image.Image:
        """Return colours for all frames: few greys, and many for the masks, small as they are."""
        import numpy as np
        from PIL import Image

        chosen = np.concatenate([np.asarray(self._frames[at]) for at in (0, len(self) // 2, -1)])
        pixels = chosen.reshape(-1, 3)
        colorful = pixels[np.ptp(pixels.astype(int), axis=1) > CHROMA]
        colors: list[int] = []
        for part, count in ((pixels, GREYS), (colorful, COLORS)):
            picture = Image.fromarray(part[:, None]).quantize(colors=count)
            colors += (picture.getpalette() or [])[: 3 * count]
        palette = Image.new("P", (1, 1))
        palette.putpalette(colors)
        return palette

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._frames)

    def _in_window(self, place: Place) -> tuple[float, float]:
        canvas: Any = self.stage.hand.canvas
        window = self.stage.viewer.window._qt_window
        there = canvas.mapTo(window, self.stage.hand.place_on_canvas(place).toPoint())
        return there.x(), there.y()


def show_canvas_and_panel(stage: Stage) -> None:
    """Hide what napari has on the left: the room is needed for the image."""
    window = stage.viewer.window._qt_viewer
    for dock in (window.dockLayerControls, window.dockLayerList):
        dock.setVisible(False)
    stage.viewer.window.resize(*SHAPE)
    stage.hand.rest()


def click(stage: Stage) -> Film:
    """Click on a coin, take away what is too much, accept, and go on."""
    film, hand = Film(stage), stage.hand
    stage.open_sample("coins")
    coin, beside, next_coin, last = (127, 154), (161, 156), (119, 271), (125, 336)
    film.shoot("open an image, and the widget SAM 3", (90, 90))
    film.shoot("left click: this is the object", coin, 900)
    hand.click(coin)
    stage.settle()
    film.shoot("left click: this is the object", coin)
    film.shoot("right click: this is not", beside, 900)
    hand.click(beside, right=True)
    stage.settle()
    film.shoot("right click: this is not", beside)
    hand.type("N")
    stage.settle()
    film.shoot("N: accept. The mask is a label now", beside)
    for place in (next_coin, last):
        hand.click(place, shift=True)
        stage.settle()
        film.shoot("Shift + click: accept, and begin the next object", place, 1200)
    hand.type("N")
    stage.settle()
    film.shoot("each label has its own id", last, 2200)
    return film


def z_stack(stage: Stage) -> Film:
    """Show three nuclei on one plane, propagate them, and go through the planes."""
    film, hand = Film(stage), stage.hand
    stage.viewer.window.resize(*TALL)
    stage.open_sample("stack")
    hand.wait_until(lambda: stage.widget.binding.plane is not None, "a plane")
    stage.viewer.dims.set_current_step(0, 12)
    stage.viewer.fit_to_view()
    stage.widget.panel.modes["many"].click()
    stage.settle()
    film.shoot("choose a plane on which the objects are clear", (20, 20))
    for place in ((61, 189), (111, 52), (70, 125)):
        hand.click(place)
        stage.settle()
        film.shoot("one click per object", place, 900)
    hand.rest()
    film.shoot("press Propagate")
    stage.widget.panel.propagation.start.click()
    propagating = stage.widget.session.propagating
    hand.wait_until(lambda: not propagating.running, "the other planes", 300)
    stage.settle()
    for z in (8, 10, 12, 14, 16):
        stage.viewer.dims.set_current_step(0, z)
        hand.wait_until(lambda: stage.widget.session.stage == "idle", "the model")
        film.shoot(f"plane {z}: each object keeps its id", time=STEP)
    return film


def review(stage: Stage) -> Film:
    """Find all objects on some planes by a batch, and review what was found."""
    film, hand, panel = Film(stage), stage.hand, stage.widget.panel
    stage.viewer.window.resize(980, 740)
    stage.open_sample("stack")
    hand.wait_until(lambda: stage.widget.binding.plane is not None, "a plane")
    stage.viewer.dims.set_current_step(0, 12)
    stage.widget.binding.image.contrast_limits = (1500, 9000)  # noise takes room
    panel.batch.fold.unfold(True)
    panel.batch.method.setCurrentIndex(panel.batch.method.findData("automatic"))
    panel.batch.first.setValue(10)
    panel.batch.last.setValue(13)
    hand.rest()
    film.shoot("Batch, Find all objects, Review first: Run")
    panel.batch.run_button.click()
    hand.wait_until(lambda: not stage.widget.batch.running, "the batch", 300)
    panel.batch.fold.unfold(False)
    table, candidates = stage.widget.finding.review.panel, stage.widget.session.candidates
    hand.wait_until(lambda: table.model.rowCount() > 0, "the rows")
    stage.viewer.fit_to_view()
    film.shoot("candidates of all planes, the lowest score first")
    table.score.setValue((0.8, 1.0))
    count = table.model.rowCount()
    hand.wait_until(lambda: table.model.rowCount() < count, "the filter")
    film.shoot("the sliders hide what scores low, or is too small")
    wrong = candidates.shown_on(stage.widget.session.plane_key)[-1].mask
    row, column = (int(at) for at in (wrong.row, wrong.column))
    inside = next(
        (row + y, column + x) for y, x in zip(*wrong.crop.nonzero(), strict=True) if y > 2
    )
    hand.click(inside)
    film.shoot("click on a candidate: it is dropped", inside)
    table.accept_all.click()
    hand.wait_until(lambda: not candidates.shown, "the labels")
    stage.settle()
    film.shoot("Accept all: labels on all planes, one step for undo", time=2200)
    return film


def refine(stage: Stage) -> Film:
    """Open the labels of another program, and correct three of them."""
    import tempfile

    import numpy as np
    from napari.layers import Labels
    from skimage.filters import gaussian, threshold_otsu
    from skimage.measure import label

    from napari_sam3.layers.sample_data import nuclei
    from napari_sam3.layers.writers import save_labels

    film, hand = Film(stage), stage.hand
    image = nuclei()[0][0][300:500, 330:600]
    smooth = gaussian(image.astype(np.float32), 2)
    found = label(smooth > threshold_otsu(smooth)).astype(np.uint16)
    lost = sorted(range(1, found.max() + 1), key=lambda one: (found == one).sum())[-3]
    gone = tuple(np.argwhere(found == lost).mean(axis=0).round().astype(int))
    found[found == lost] = 0
    stage.viewer.add_image(image, name="nuclei")
    hand.wait_until(lambda: stage.widget.binding is not None, "the image")
    stage.viewer.fit_to_view()
    stage.settle()
    with tempfile.TemporaryDirectory() as folder:
        path = save_labels(Labels(found), Path(folder) / "nuclei_seg.npy", "cellpose")
        stage.widget.files.open_file(path)
        hand.wait_until(lambda: stage.widget.binding.labels.data.any(), "the labels")
    stage.settle()
    film.shoot("Open …, Labels …: nuclei_seg.npy of Cellpose")
    film.shoot("two nuclei are one label: point at it, H", (90, 156), 900)
    hand.move((90, 156))
    hand.type("H")
    stage.settle()
    film.shoot("two nuclei are one label: point at it, H", (90, 156))
    film.shoot("a nucleus is missing: click", gone, 900)
    hand.click(gone)
    stage.settle()
    film.shoot("a nucleus is missing: click", gone)
    hand.type("N")
    stage.settle()
    film.shoot("N: accept. All other labels stay as they are", gone, 2200)
    return film


def find_similar(stage: Stage) -> Film:
    """Accept two coins as examples, and find the others."""
    film, hand = Film(stage), stage.hand
    stage.open_sample("coins")
    for coin in COINS[:2]:
        stage.person.label(coin)
    stage.settle()
    film.shoot("accept one or more examples")
    hand.type("Y")
    finding, panel = stage.widget.session.finding, stage.widget.panel.finding
    hand.wait_until(lambda: not finding.running and bool(finding.candidates), "candidates")
    film.shoot("Y: find similar objects. Candidates have scores", time=2200)
    for score in (90, 70):
        panel.slider.setValue(score)
        stage.settle()
        film.shoot("the slider sets the lowest score, at once", time=1200)
    hand.type("Shift-N")
    stage.settle()
    film.shoot("Shift + N: accept all that are shown", time=2200)
    return film


def series(stage: Stage) -> Film:
    """Label two images of a folder, one after the other, and look at the list."""
    film, hand, run = Film(stage), stage.hand, stage.widget.series
    stage.viewer.window.resize(*TALL)
    folder, images = nuclei_of_a_day()
    run.open(folder)
    for number, (_, labels) in enumerate(images[:2]):
        hand.wait_until(partial(shows, run, number), "an image")
        stage.settle()
        if number == 0:
            film.shoot("Open …, Images …: a folder")
        label_nuclei(stage, labels[0], 6)
        film.shoot("label the objects of the image")
        hand.type(".")
        hand.wait_until(partial(shows, run, 1 if number == 0 else 3), "the next image")
        stage.settle()
        film.shoot(". saves, and shows the next image that can be read", time=2000)
    panel = stage.widget.panel.series
    panel.fold.unfold(True)
    hand.wait_until(lambda: len(panel.model._pictures) > 4, "the pictures")
    film.shoot("the list: done, in work, not readable. Tomorrow it goes on here", time=2600)
    return film


def tracks(stage: Stage) -> Film:
    """Enter a division by two presses of a key."""
    film, hand = Film(stage), stage.hand
    labels = open_dividing_cells(stage)
    stage.widget.binding.image.contrast_limits = (40, 120)  # noise takes room
    stage.viewer.fit_to_view()
    captions = ("point at the parent, Shift + D", "point at a daughter, Shift + D")
    for frame, label, caption in zip((DIVIDES - 1, DIVIDES), (1, 2), captions, strict=True):
        stage.viewer.dims.set_current_step(0, frame)
        place = centre_of(labels[frame], label)
        hand.move(place)
        film.shoot(caption, place)
        hand.type(KEYS["divide"])
        stage.settle()
    for frame in range(DIVIDES, len(labels), 2):
        stage.viewer.dims.set_current_step(0, frame)
        stage.settle()
        film.shoot("the tracks of the daughters start at the parent", time=STEP)
    return film


STORIES: dict[str, Callable[[Stage], Film]] = {
    "click": click,
    "z-stack": z_stack,
    "review": review,
    "refine": refine,
    "find-similar": find_similar,
    "series": series,
    "tracks": tracks,
}


def film(name: str, path: Path) -> None:
    """Film a story and save it."""
    with open_stage() as stage:
        show_canvas_and_panel(stage)
        STORIES[name](stage).save(path)


def main() -> int:
    """Film every story that is asked for."""
    return make_each("Make the moving pictures.", list(STORIES), "gif", film)


if __name__ == "__main__":
    sys.exit(main())
