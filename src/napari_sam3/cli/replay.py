"""The command `napari-sam3 replay`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import DONE, add_json_option, add_rgb_option, print_json, raw

if TYPE_CHECKING:
    from collections.abc import Hashable

    import numpy as np
    import numpy.typing as npt

    from napari_sam3.images.lazy import LazyImage
    from napari_sam3.images.plane_image import RenderedPlane
    from napari_sam3.labels.targets import ArrayTarget

__all__ = ["add_arguments", "run"]

EXAMPLES = """\
examples:
  napari-sam3 replay cells.tif cells.session.json.gz -o labels.tif
      do again what was done in napari, on the same image
  napari-sam3 replay cells.tif cells.session.json -o labels.tif --model sam3.pt
      the same clicks with another model
  napari-sam3 replay cells.tif cells.session.json --labels before.tif -o labels.tif
      a session that began with labels

A session is replayed as a whole or not at all, and only into the labels that it began with.
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command's own arguments."""
    raw(command, EXAMPLES)
    command.add_argument("image", metavar="IMAGE", type=Path, help="the image of the session")
    command.add_argument(
        "session", metavar="SESSION", type=Path, help="session file by binding.save_session"
    )
    command.add_argument(
        "-o", "--output", required=True, metavar="LABELS", type=Path, help="labels to write"
    )
    command.add_argument(
        "--labels", metavar="LABELS", type=Path, help="labels at the start of the session, if any"
    )
    add_rgb_option(command)
    add_json_option(command)


def run(arguments: argparse.Namespace) -> int:
    """Replay a session file and write the labels; returns the exit code."""
    from napari_sam3.images.lazy import open_image
    from napari_sam3.labels.formats.choice import check_target
    from napari_sam3.labels.output_files import check_apart

    inputs = {
        "IMAGE": arguments.image,
        "SESSION": arguments.session,
        "--labels": arguments.labels,
    }
    check_apart({"--output": arguments.output}, inputs)
    check_target(arguments.output, overwrite=arguments.overwrite)
    image = open_image(arguments.image, rgb=arguments.rgb)
    try:
        return _replay(image, arguments)
    finally:
        image.close()


def _replay(image: LazyImage, arguments: argparse.Namespace) -> int:
    from napari_sam3.inference.models import model_loader
    from napari_sam3.labels.formats.choice import export_labels
    from napari_sam3.labels.formats.object_table import ObjectTable
    from napari_sam3.labels.start import describe_labels
    from napari_sam3.labels.table import ObjectRow
    from napari_sam3.records.session_file import read_session
    from napari_sam3.session.replay import is_start, replay_into
    from napari_sam3.session.session import LabelingSession

    stored, labels = read_session(arguments.session), _labels(image, arguments.labels)
    same = is_start(stored.start, describe_labels(labels), "Give them by --labels")
    session = LabelingSession(model_loader(arguments.model, arguments.device))
    rows = []
    try:
        count = replay_into(session, stored.operations, _Planes(image, labels), same_start=same)
        for accepted in session.objects:
            plane: Any = accepted.plane
            rows.append(ObjectRow.measure(accepted, labels[plane.slices()], plane.index))
    finally:
        session.close()
    export_labels(
        labels,
        arguments.output,
        axes=image.axes,
        table=ObjectTable.from_rows(rows),
        overwrite=arguments.overwrite,
    )
    if arguments.json:
        print_json({"labels": arguments.output, "operations": count, "objects": len(rows)})
    else:
        print(f"replayed {count} operations: {len(rows)} objects in {arguments.output}")
    return DONE


class _Planes:
    """Planes of an image and its labels by their `PlaneIndex`; each image is read once."""

    def __init__(self, image: LazyImage, labels: npt.NDArray[Any]) -> None:
        self._image, self._labels = image, labels
        self._rendered: dict[Hashable, RenderedPlane] = {}

    def __call__(self, key: Hashable) -> tuple[RenderedPlane, ArrayTarget]:
        """Return a plane; raises ImageError if the image does not have it."""
        from napari_sam3.core.planes import PlaneIndex
        from napari_sam3.images.plane_image import RenderedPlane
        from napari_sam3.labels.targets import ArrayTarget
        from sam3.errors import ImageError

        shape = self._labels.shape
        if (
            not isinstance(key, PlaneIndex)
            or key.ndim != len(shape)
            or any(at >= shape[axis] for axis, at in zip(key.other_axes, key.index, strict=True))
        ):
            raise ImageError(
                f"the session has {key}, and the image of shape {shape} does not. Expected the "
                "image of the session. Choose that image."
            )
        if key not in self._rendered:
            self._rendered[key] = RenderedPlane(self._image.channel(key))
        return self._rendered[key], ArrayTarget(self._labels, key, key)


def _labels(image: LazyImage, path: Path | None) -> npt.NDArray[np.integer[Any]]:
    import numpy as np

    from napari_sam3.labels.formats.label_files import open_label_file
    from sam3.errors import ImageError

    if path is None:
        return np.zeros(image.shape, np.uint32)
    opened = open_label_file(path)
    try:
        finest = opened.data[0] if opened.multiscale else opened.data
        labels = np.array(finest)
    finally:
        opened.close()
    if labels.shape != tuple(image.shape):
        raise ImageError(
            f"{path.name} has the shape {labels.shape}, and the image {tuple(image.shape)}. "
            "Expected labels of the image's shape. Choose labels made for this image."
        )
    return labels
