"""Deletion, merging and splitting of labels on a plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from napari_sam3.core.errors import LabelError
from napari_sam3.core.masks import PlaneMask

from .edits import LabelEdit, mask_of_label
from .targets import LabelTarget, check_id_fits

__all__ = ["delete_label", "merge_labels", "split_label"]

# Parts of a label smaller than this fraction of its largest one are debris, not objects.
_DEBRIS = 0.02


def delete_label(target: LabelTarget, label: int) -> LabelEdit:
    """Compute the edit that deletes a label; raises LabelError if it is not on the plane."""
    edit = _relabel(target, mask_of_label(target, label), 0)
    assert edit is not None, "a label on the plane differs from the background"
    return edit


def merge_labels(target: LabelTarget, labels: Sequence[int]) -> list[LabelEdit]:
    """Compute the edits that merge labels into the first one, which may be on other planes alone.

    Raises
    ------
    LabelError
        If fewer than two different labels are given, the first one does not fit the data type, or
        another one is not on the plane.
    """
    kept, *others = dict.fromkeys(labels)
    if not others or 0 in labels:
        raise LabelError(
            f"{list(labels)} cannot be merged. Expected at least two different labels, none of "
            "them 0. Choose others."
        )
    check_id_fits(kept, target.dtype)
    edits = [_relabel(target, mask_of_label(target, other), kept) for other in others]
    return [edit for edit in edits if edit is not None]


def split_label(
    target: LabelTarget, label: int, next_id: Callable[[], int]
) -> list[tuple[PlaneMask, LabelEdit | None, int]]:
    """Compute the edits that split a label into its separate parts, or else into two halves.

    The halves are those of a watershed on the distance to the label's edge (Beucher and Lantuejoul,
    1979), with its two most prominent maxima as seeds.

    Parameters
    ----------
    target : LabelTarget
        The plane.
    label : int
        The label to split.
    next_id : callable
        Returns a new id on each call.

    Returns
    -------
    list of (PlaneMask, LabelEdit or None, int)
        Mask, edit and id of each part; the largest comes first, without edit, and keeps its id.

    Raises
    ------
    LabelError
        If the label is not on the plane, or has no constriction at which to split it.
    """
    mask = mask_of_label(target, label)
    parts = _separate_parts(mask) or _halves(mask)
    if len(parts) < 2:
        raise LabelError(
            f"label {label} is one piece without a constriction, so it cannot be split. Expected "
            "two pieces, or a constriction between them. Refine it with background clicks on the "
            "part that does not belong to it."
        )
    parts.sort(key=lambda part: -part.area)
    ids = [label] + [next_id() for _ in parts[1:]]
    check_id_fits(max(ids), target.dtype)
    edits = [None] + [
        _relabel(target, part, new) for part, new in zip(parts[1:], ids[1:], strict=True)
    ]
    return list(zip(parts, edits, ids, strict=True))


def _relabel(target: LabelTarget, mask: PlaneMask, label: int) -> LabelEdit | None:
    values = target.read(mask.region)
    values[mask.crop] = label
    return LabelEdit.between(target, mask.region, values)


def _separate_parts(mask: PlaneMask) -> list[PlaneMask]:
    """Return the 8-connected parts, with debris added to the nearest; empty for a single part."""
    from scipy import ndimage

    parts, count = ndimage.label(mask.crop, structure=np.ones((3, 3)))
    areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    large = np.flatnonzero(areas >= _DEBRIS * areas.max()) + 1
    if len(large) < 2:
        return []
    kept = np.where(np.isin(parts, large), parts, 0)
    if len(large) < count:
        nearest = ndimage.distance_transform_edt(
            kept == 0, return_distances=False, return_indices=True
        )
        kept = kept[tuple(nearest)] * mask.crop
    return _masks(mask, kept, large)


def _halves(mask: PlaneMask) -> list[PlaneMask]:
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    padded = np.pad(mask.crop, 1)
    depth = ndimage.distance_transform_edt(padded)
    # Light smoothing merges the many maxima of a ragged edge.
    smooth = ndimage.gaussian_filter(depth, max(1.0, 0.15 * float(depth.max())))
    peaks = peak_local_max(smooth, min_distance=2, labels=padded.astype(np.int32), num_peaks=2)
    if len(peaks) < 2:
        return []
    seeds = np.zeros(padded.shape, np.int32)
    seeds[tuple(peaks.T)] = (1, 2)
    halves = watershed(-smooth, seeds, mask=padded)[1:-1, 1:-1]
    return _masks(mask, halves, np.array([1, 2]))


def _masks(
    mask: PlaneMask, parts: npt.NDArray[np.integer], numbers: npt.NDArray[np.integer]
) -> list[PlaneMask]:
    return [PlaneMask.from_array(parts == number, mask.row, mask.column) for number in numbers]
