"""Read and write files by the programs that they are made for; run as a process of its own.

    python format_peers.py yolo FOLDER IMAGE        masks that ultralytics trains on, as .npy
    python format_peers.py cellpose FILE OUT        masks that Cellpose reads
    python format_peers.py cellpose-rois LABELS OUT ROIs as Cellpose writes them
    python format_peers.py cellpose-seg LABELS OUT  a _seg.npy as Cellpose writes it
    python format_peers.py stardist LABELS OUT      ROIs as StarDist writes them
    python format_peers.py traccuracy FOLDER OUT    scores of tracks, of a result and a graph

A process, because these import parts of torch that do not go with windows, or bring a plugin of
napari (traccuracy).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

#: Where `make venv` installs it, apart from the plugins of napari.
TRACCURACY = Path(sys.prefix) / "traccuracy"


def yolo(folder: Path, image: Path) -> None:
    """Save the masks of a data set's only image, each with its class."""
    from ultralytics import utils
    from ultralytics.data.utils import polygon2mask, verify_image_label
    from ultralytics.nn.autobackend import check_class_names

    # What its check of a data set does, short of downloading a font for pictures.
    reader: Any = utils.YAML
    data = reader.load(folder / "data.yaml", append_filename=True)
    data["names"] = check_class_names(data["names"])
    label = folder / "labels" / f"{image.stem}.txt"
    arguments = (str(image), str(label), "", False, len(data["names"]), 0, 0, False)
    found: Any = verify_image_label(arguments)
    _, rows, shape, segments, *_, corrupt, message = found
    assert corrupt == 0, message
    scaled = [np.asarray(one) * (shape[1], shape[0]) for one in segments]
    masks = [polygon2mask(shape, [one.reshape(-1)]) for one in scaled]
    names = [data["names"][int(row[0])] for row in rows]
    np.savez(folder / "read.npz", masks=np.array(masks), names=np.array(names))


def cellpose(path: Path, out: Path) -> None:
    """Save the masks that Cellpose's own reader gives."""
    from cellpose import io

    np.save(out, io.imread(str(path)))


def cellpose_rois(labels: Path, out: Path) -> None:
    """Write ROIs."""
    from cellpose import io

    io.save_rois(np.load(labels), str(out), multiprocessing=False)


def cellpose_seg(labels: Path, out: Path) -> None:
    """Write the file of a result."""
    from cellpose import io

    pixels = np.load(labels)
    height, width = pixels.shape
    flows = [np.zeros((height, width, 3)), np.zeros((2, height, width)), np.zeros((height, width))]
    io.masks_flows_to_seg(np.zeros((height, width)), pixels, flows, str(out))


def stardist(labels: Path, out: Path) -> None:
    """Write ROIs of squares around the centres of objects, as polygons of StarDist."""
    from stardist.utils import export_imagej_rois

    pixels = np.load(labels)
    polygons = []
    for label in np.unique(pixels)[1:]:
        rows, columns = np.nonzero(pixels == label)
        # Corners counted from the centres of pixels, half a pixel outside of the outermost ones.
        top, bottom = rows.min() - 0.5, rows.max() + 0.5
        left, right = columns.min() - 0.5, columns.max() + 0.5
        polygons.append([[top, top, bottom, bottom], [left, right, right, left]])
    export_imagej_rois(str(out), [np.array(polygons)])


def traccuracy(folder: Path, out: Path) -> None:
    """Save TRA and the F1 of divisions, as JSON, of 01_RES and of t.geff with labels.zarr."""
    sys.path.append(str(TRACCURACY))
    from traccuracy import loaders, matchers, metrics, run_metrics

    def scores(read: Any) -> list[float]:
        (found, divisions), _ = run_metrics(
            gt_data=loaders.load_ctc_data(str(truth), str(truth / "man_track.txt")),
            pred_data=read,
            matcher=matchers.CTCMatcher(),
            metrics=[metrics.CTCMetrics(), metrics.DivisionMetrics()],
        )
        return [
            float(found["results"]["TRA"]),
            float(divisions["results"]["Frame Buffer 0"]["Division F1"]),
        ]

    truth, result = folder / "01_GT" / "TRA", folder / "01_RES"
    pixels = {"seg_path": str(folder / "labels.zarr"), "seg_property": "label"}
    reads = {
        "ctc": loaders.load_ctc_data(str(result), str(result / "res_track.txt")),
        "geff": loaders.load_geff_data(str(folder / "t.geff"), **pixels),
    }
    out.write_text(json.dumps({name: scores(read) for name, read in reads.items()}))


if __name__ == "__main__":
    commands = {
        "yolo": yolo,
        "cellpose": cellpose,
        "cellpose-rois": cellpose_rois,
        "cellpose-seg": cellpose_seg,
        "stardist": stardist,
        "traccuracy": traccuracy,
    }
    commands[sys.argv[1]](*map(Path, sys.argv[2:]))
