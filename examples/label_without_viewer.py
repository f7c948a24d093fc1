"""Label a few planes of a stack without a viewer, refine one object, and save everything.

Run ``python examples/label_without_viewer.py --output stack-labels``. The stack is the plugin's
sample "Nuclei, 3D stack" and the model is the embedded one, so nothing is downloaded. A spot
detector says where to click; the session does what the buttons of the widget do.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu

import sam3
from napari_sam3 import (
    LabelingSession,
    ObjectRow,
    PlaneIndex,
    PromptSet,
    describe_labels,
    format_table,
    identify,
    plane_from_array,
    write_labels,
    write_session,
    write_table,
)
from napari_sam3.layers.sample_data import stack

PLANES = (5, 11, 17)
ROWS, COLUMNS = 1, 2
#: Spots closer to each other than this (px) are one.
DISTANCE = 12
#: Room (px) between an object and the box drawn around it.
MARGIN = 2
Array = npt.NDArray[Any]


def main(argv: list[str] | None = None) -> dict[str, Path]:
    """Label, print what came of it, and return the files by their kinds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("stack-labels"))
    parser.add_argument("--model", default="tiny", help="weights file, or tiny")
    parser.add_argument("--planes", type=int, nargs="+", default=PLANES)
    arguments = parser.parse_args(argv)
    image, truth = (data for data, _, _ in stack())
    labels = np.zeros(image.shape, np.uint16)
    session = LabelingSession(sam3.load_predictor(arguments.model), mode="many")
    for z in arguments.planes:
        count = label_plane(session, image, labels, z)
        print(f"plane {z}: {count} objects, {agreement(labels[z], truth[z]):.2f} mean IoU")
    refine_doubtful(session)
    return save(session, image, labels, arguments.output)


def label_plane(session: LabelingSession, image: Array, labels: Array, z: int) -> int:
    """Click on every spot of a plane, and accept all masks at once; return their number."""
    # The key says which plane of the labels is written to, whatever their number of axes.
    key = PlaneIndex((ROWS, COLUMNS), (z,))
    session.set_plane(plane_from_array(image[z]), key, labels)
    clicks = find_spots(image[z])
    session.set_objects(PromptSet.from_arrays(points=[click]) for click in clicks)
    before = len(session.objects)
    session.predict()
    session.accept()
    return len(session.objects) - before


def find_spots(plane: Array) -> Array:
    """Return the middle (x, y) of every bright spot, N x 2."""
    smooth = gaussian(plane.astype(np.float32), sigma=2)
    bright = smooth > threshold_otsu(smooth)
    depth = gaussian(ndimage.distance_transform_edt(bright), sigma=1)
    peaks = peak_local_max(depth, min_distance=DISTANCE, threshold_abs=3, exclude_border=False)
    return np.asarray(peaks[:, ::-1])


def refine_doubtful(session: LabelingSession) -> None:
    """Take the object of the last plane with the lowest score up again, and add a box to it."""
    here = [one for one in session.objects if one.plane == session.plane_key]
    doubtful = min(here, key=lambda one: one.score)
    session.reopen(doubtful.id)
    held, (y0, x0, y1, x1) = session.prompts, doubtful.bbox
    box = x0 - MARGIN, y0 - MARGIN, x1 + MARGIN, y1 + MARGIN
    session.set_prompts(PromptSet.from_arrays(held.points, held.labels, box))
    session.predict()
    again = session.accept()
    assert again is not None
    print(
        f"refined {again.id}: {doubtful.area} -> {again.area} px, "
        f"score {doubtful.score:.2f} -> {again.score:.2f}"
    )


def save(session: LabelingSession, image: Array, labels: Array, folder: Path) -> dict[str, Path]:
    """Write labels, the table of objects, and the session for doing it all again."""
    rows = []
    for one in session.objects:
        assert isinstance(one.plane, PlaneIndex)
        rows.append(ObjectRow.measure(one, labels[one.plane.slices()], one.plane.index))
    print(format_table(rows[:5]), f"     and {len(rows[5:])} more", sep="\n")
    files = {
        "labels": write_labels(folder / "labels.tif", labels, overwrite=True),
        "table": write_table(folder / "objects.csv", rows, overwrite=True),
        # The same operations on the same image give the same labels; see drive_a_viewer.py.
        "session": write_session(
            folder / "session.json.gz",
            session.operations,
            identify(image, "stack"),
            start=describe_labels(np.zeros_like(labels)),  # where a replay may write
            overwrite=True,
        ),
    }
    for kind, file in files.items():
        print(f"{kind + ':':9}{file}")
    return files


def agreement(found: Array, truth: Array) -> float:
    """Mean IoU of found objects with the known object that each overlaps most."""
    values = []
    for label in np.unique(found)[1:]:
        mask = found == label
        best = np.bincount(truth[mask]).argmax()
        both = mask & (truth == best)
        values.append(both.sum() / (mask | (truth == best)).sum() if best else 0.0)
    return float(np.mean(values)) if values else 0.0


if __name__ == "__main__":
    main()
