"""Results of batches, and labels of any file or folder, read as candidates."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.batch import BatchError, read_objects
from napari_sam3.core.errors import LabelError
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import Instance
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.labels.formats.loaded import LoadedLabels
from napari_sam3.labels.formats.reading import read_labels
from napari_sam3.records.saved_session import read_saved_session
from napari_sam3.records.session_file import SessionFileError
from napari_sam3.session.candidate_filter import CandidateFilter
from napari_sam3.session.candidates import CandidatePlane

from .label_layer import image_shape
from .opened_labels import facts_of
from .saved_sessions import labels_of, objects_table

if TYPE_CHECKING:
    from .binding import Binding

__all__ = ["open_candidates"]


def open_candidates(binding: Binding, path: str | os.PathLike[str]) -> int:
    """Show results of a batch, or any labels, as candidates of the image of a binding.

    Scores are those of the batch, or of the table that comes with the labels; others are 1. A label
    on several planes is one object.

    Parameters
    ----------
    binding : Binding
        Connects session and image.
    path : str or path-like
        Labels of a batch or the folder of its records, a saved session, or what `read_labels`
        takes.

    Returns
    -------
    int
        The number of candidates; one on several planes is one.

    Raises
    ------
    LabelError
        If the labels have another shape than the image.
    sam3.errors.Sam3Error
        If they cannot be read.
    """
    session, path = binding.session, Path(path)
    if path.suffix == ".batch" and path.is_dir():
        path = path.with_suffix("")
    with closing(_read(path, binding)) as labels:
        shape = tuple(int(n) for n in labels.data.shape)
        if shape != image_shape(binding.image):
            raise LabelError(
                f"the labels of {os.fspath(path)!r} have shape {shape}, but the image "
                f"{image_shape(binding.image)}. Expected one shape. Choose labels of this image."
            )
        scores = _scores(path)
        axes, objects = (len(shape) - 2, len(shape) - 1), set()
        for index in np.ndindex(*shape[:-2]):
            found = _instances(np.asarray(labels.data[index]), index, labels, scores)
            plane = PlaneIndex(axes, tuple(int(i) for i in index))
            target = binding.labels_on(plane)
            session.candidates.put(CandidatePlane(target.key, target), found)
            objects |= {one.id for one in found}
        session.candidates.filter = CandidateFilter()  # no other candidates are left
    return len(objects)


def _read(path: Path, binding: Binding) -> LoadedLabels:
    if path.name.lower().endswith((".json", ".json.gz")):
        try:
            saved = read_saved_session(path)
        except SessionFileError:
            if path.suffix.lower() == ".gz":
                raise
        else:
            return LoadedLabels(labels_of(saved), table=objects_table(saved))
    return read_labels(path, **facts_of(binding.image))


def _instances(
    plane: Any, index: tuple[int, ...], labels: Any, scores: dict[tuple[int, str], float]
) -> list[Instance]:
    from scipy import ndimage

    present, places = np.unique(plane, return_inverse=True)
    numbers = places.reshape(plane.shape) + (present[0] != 0)
    ids = present[present != 0].tolist()
    found = []
    for label, box in zip(ids, ndimage.find_objects(numbers), strict=True):
        mask = PlaneMask.from_array(plane[box] == label, box[0].start, box[1].start)
        known = labels.table.known(label, index).get("score", 1.0)
        score = scores.get((label, " ".join(map(str, index))), known)
        found.append(Instance(label, mask, float(score)))
    return found


def _scores(path: str | os.PathLike[str]) -> dict[tuple[int, str], float]:
    """Return the scores of a batch by label and plane; nothing for other labels."""
    try:
        return {(row.id, row.plane): row.score or 0.0 for row in read_objects(path)}
    except BatchError:
        return {}
