"""Whether clicks on a large plane give the masks that clicks on crops around the objects give.

`python -m benchmarks.equivalence` prints the figures. A click on a plane of any size
is answered in a field. For comparison each object is cut out again, a field's width of plane with
the object in its middle, and asked about at the same level. Then the plane, and the crops, are
moved by some pixels, to see how much the place of a field's border matters.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Fact
from napari_sam3.core.fields import field_side, touches_inner_border
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.planes import plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.questions import ObjectPrediction
from napari_sam3.session.session import LabelingSession
from sam3 import Predictor, load_predictor

__all__ = ["Equivalence", "Scene", "compare", "equivalence_row", "make_scene"]

SIDE = 6000
SIZES = (12.0, 600.0)
# Px kept free around the plane, so that crops of the largest objects lie inside.
MARGIN = 500
GAP = 1.25


@dataclass(frozen=True, eq=False)
class Scene:
    """A plane of bright, slightly irregular objects.

    Parameters
    ----------
    pixels : ndarray of uint8, H x W
        The plane.
    truth : ndarray of int32, H x W
        Labels from 1.
    middles : ndarray of float, N x 2
        (row, column) of each object, in the order of the labels.
    sizes : ndarray of float, N
        Diameters in px.
    """

    pixels: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.int32]
    middles: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Equivalence:
    """What was found.

    Parameters
    ----------
    objects : int
        How many were clicked on.
    plane_iou, crop_iou : float
        Mean IoU with the truth of masks from clicks on the plane, and on crops.
    cut : int
        Masks on the plane that end at a border of their field inside the plane.
    plane_shift, crop_shift : float
        Mean IoU of masks before and after the plane, or the crops, were moved.
    levels : dict of int to int
        How many masks came from fields of each level.
    seconds : float
        For everything.
    """

    objects: int
    plane_iou: float
    crop_iou: float
    cut: int
    plane_shift: float
    crop_shift: float
    levels: dict[int, int]
    seconds: float


def make_scene(count: int, *, side: int = SIDE, seed: int = 0) -> Scene:
    """Make a plane of objects of 12 to 600 px, as many small as large ones by their logarithm."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    low, high = np.log(SIZES)
    sizes = np.sort(np.exp(rng.uniform(low, high, count)))[::-1]
    middles = _place(sizes, side, rng)
    truth = np.zeros((side, side), np.int32)
    light = np.full((side, side), 0.12, np.float32)
    for label, ((row, column), size) in enumerate(zip(middles, sizes, strict=True), 1):
        reach = int(size * 0.65) + 2
        top, left = int(row) - reach, int(column) - reach
        window = slice(top, top + 2 * reach + 1), slice(left, left + 2 * reach + 1)
        inside = _outline(row - top, column - left, size, 2 * reach + 1, rng)
        truth[window][inside] = label
        light[window][inside] = rng.uniform(0.5, 0.9)
    light = ndimage.gaussian_filter(light, 1.0)
    light += rng.normal(0, 0.03, light.shape).astype(np.float32)
    return Scene((np.clip(light, 0, 1) * 255).astype(np.uint8), truth, middles, sizes)


def compare(
    scene: Scene, predictor: Predictor, *, seed: int = 0, moved_every: int = 1
) -> Equivalence:
    """Ask about every object of a scene on the plane and on crops, and about some once moved.

    Parameters
    ----------
    scene : Scene
        The objects.
    predictor : Predictor
        The model.
    seed : int
        Of the moves.
    moved_every : int
        Every n-th object is asked about again after the plane, and its crop, were moved.
    """
    start = time.perf_counter()
    rng = np.random.default_rng(seed)
    clicks = np.rint(scene.middles)
    on_plane = _ask(scene.pixels, clicks, predictor)
    shift = rng.integers(1, 224, 2)
    # The plane begins elsewhere, so that fields lie differently over all objects.
    again = slice(None, None, moved_every)
    moved = _ask(scene.pixels[shift[0] :, shift[1] :], clicks[again] - shift, predictor)
    on_crop, crop_moved = [], []
    for number, (click, found) in enumerate(zip(clicks, on_plane, strict=True)):
        side = field_side(predictor.config.resolution, found.field.level)
        corner = (click - side // 2).astype(int)
        # On a plane an object lies up to a quarter of its field away from the field's middle.
        away = rng.integers(-side // 4, side // 4 + 1, 2)
        on_crop.append(_ask_crop(scene, click, corner, side, found.field.level, predictor))
        if number % moved_every == 0:
            crop_moved.append(
                _ask_crop(scene, click, corner + away, side, found.field.level, predictor)
            )
    pairs = list(zip(on_plane, range(1, len(clicks) + 1), strict=True))
    levels = [found.field.level for found in on_plane]
    return Equivalence(
        objects=len(clicks),
        plane_iou=_mean(_iou_with_truth(found.mask, scene.truth, label) for found, label in pairs),
        crop_iou=_mean(
            _iou_with_truth(mask, scene.truth, label) for label, mask in enumerate(on_crop, 1)
        ),
        cut=sum(touches_inner_border(f.mask, f.field, scene.truth.shape) for f in on_plane),
        plane_shift=_mean(
            _iou(one.mask, _moved(two.mask, shift))
            for one, two in zip(on_plane[again], moved, strict=True)
        ),
        crop_shift=_mean(
            _iou(one, two) for one, two in zip(on_crop[again], crop_moved, strict=True)
        ),
        levels={level: levels.count(level) for level in sorted(set(levels))},
        seconds=time.perf_counter() - start,
    )


def equivalence_row(predictor: Predictor, *, planes: int, objects: int = 200) -> Fact:
    """Compare on several planes, each with other objects."""
    found = [compare(make_scene(objects, seed=n), predictor, seed=n) for n in range(planes)]
    plane, crop, shift, crop_shift = (
        np.mean([getattr(one, name) for one in found])
        for name in ("plane_iou", "crop_iou", "plane_shift", "crop_shift")
    )
    return Fact(
        f"mean IoU of clicks on {planes * objects} objects of 12 to 600 px, on planes of {SIDE} px",
        f"{plane:.3f}",
        f"on crops around each object {crop:.3f}; {sum(one.cut for one in found)} masks cut off; "
        f"IoU before and after moving the plane {shift:.3f}, the crops {crop_shift:.3f}",
    )


def _ask(
    pixels: npt.NDArray[np.uint8], clicks: npt.NDArray[np.float64], predictor: Predictor
) -> tuple[ObjectPrediction, ...]:
    """Click on every object, each an object of its own, at levels that the plugin chooses."""
    session = LabelingSession(predictor, mode="many")
    plane = ArrayPlane(plane_from_array(pixels, contrast=(0.0, 255.0)))
    session.set_plane(plane, "plane", np.zeros(pixels.shape, np.uint32))
    session.set_objects([PromptSet(((float(x), float(y)),), (1,)) for y, x in clicks])
    session.predict()
    found = session.predictions
    session.close()
    assert len(found) == len(clicks), "no prompt is dropped"
    return found


def _ask_crop(
    scene: Scene, click: npt.NDArray[np.float64], corner: npt.NDArray[np.int64], side: int,
    level: int, predictor: Predictor,
) -> PlaneMask:  # fmt: skip
    """Click on an object in a crop that is one field; the mask is moved into the plane."""
    top, left = (int(value) for value in corner)
    rows, columns = slice(max(0, top), top + side), slice(max(0, left), left + side)
    crop = scene.pixels[rows, columns]
    start = np.array([rows.start, columns.start])
    session = LabelingSession(predictor, level=level)
    plane = ArrayPlane(plane_from_array(crop, contrast=(0.0, 255.0)))
    session.set_plane(plane, "crop", np.zeros(crop.shape, np.uint32))
    y, x = click - start
    session.set_prompts(PromptSet(((float(x), float(y)),), (1,)))
    session.predict()
    assert session.prediction is not None
    mask = session.prediction.mask
    session.close()
    return _moved(mask, start)


def _moved(mask: PlaneMask, by: Sequence[int] | npt.NDArray[np.int64]) -> PlaneMask:
    return PlaneMask(mask.row + int(by[0]), mask.column + int(by[1]), mask.crop)


def _iou(one: PlaneMask, two: PlaneMask) -> float:
    if one.is_empty or two.is_empty:
        return float(one.is_empty and two.is_empty)
    boxes = np.array([one.bbox, two.bbox])
    top, left = boxes[:, :2].min(axis=0)
    bottom, right = boxes[:, 2:].max(axis=0)
    canvas = np.zeros((2, bottom - top, right - left), bool)
    for layer, mask in zip(canvas, (one, two), strict=True):
        height, width = mask.crop.shape
        layer[mask.row - top : mask.row - top + height,
              mask.column - left : mask.column - left + width] = mask.crop  # fmt: skip
    return float((canvas[0] & canvas[1]).sum() / (canvas[0] | canvas[1]).sum())


def _iou_with_truth(mask: PlaneMask, truth: npt.NDArray[np.int32], label: int) -> float:
    region = mask.region
    inside = truth[region][mask.crop] == label if not mask.is_empty else np.zeros(0, bool)
    common = int(inside.sum())
    return common / (mask.area + int((truth == label).sum()) - common)


def _place(
    sizes: npt.NDArray[np.float64], side: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Find places where no two objects meet, the largest first."""
    places: list[npt.NDArray[np.float64]] = []
    for number, size in enumerate(sizes):
        radii = (sizes[:number] + size) / 2
        for _ in range(100_000):
            place = rng.uniform(MARGIN, side - MARGIN, 2)
            gaps = np.linalg.norm(np.array(places).reshape(-1, 2) - place, axis=1)
            if (gaps > GAP * radii + 4).all():
                places.append(place)
                break
        else:
            raise ValueError(f"{len(sizes)} objects do not fit on {side} x {side} px")
    return np.array(places)


def _outline(
    row: float, column: float, size: float, side: int, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Return the inside of a slightly dented ellipse with a diameter, in a window."""
    y, x = np.ogrid[:side, :side]
    y, x = y - row, x - column
    angle = np.arctan2(y, x)
    flat, turn = rng.uniform(0.7, 1.0), rng.uniform(0, np.pi)
    reach = size / 2 / np.sqrt(np.cos(angle - turn) ** 2 + (np.sin(angle - turn) / flat) ** 2)
    for order in (2, 3, 4):
        reach *= 1 + rng.uniform(0, 0.06) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.hypot(y, x) <= reach)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--planes", type=int, default=10, help="with 200 objects each")
    parser.add_argument("--model", default="tiny")
    arguments = parser.parse_args()
    print(equivalence_row(load_predictor(arguments.model), planes=arguments.planes).line)


if __name__ == "__main__":
    main()
