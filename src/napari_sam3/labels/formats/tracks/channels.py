"""Labels of one channel: tracks have places in time and space alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.axes import axis_letter
from napari_sam3.core.tracks import TrackError
from napari_sam3.labels.formats.label_planes import plane_positions, read_region

if TYPE_CHECKING:
    from napari_sam3.labels.formats.output import LabelOutput

__all__ = ["of_one_channel"]


@dataclass(frozen=True, eq=False)
class _OneChannel:
    """Labels at an index of an axis, which is left out; read when indexed.

    Parameters
    ----------
    labels : array-like of integers
        numpy, dask or zarr.
    axis, at : int
        The axis and the index.
    """

    labels: Any
    axis: int
    at: int

    @property
    def dtype(self) -> Any:
        return self.labels.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        shape = tuple(int(length) for length in self.labels.shape)
        return (*shape[: self.axis], *shape[self.axis + 1 :])

    def __getitem__(self, index: tuple[Any, ...]) -> npt.NDArray[Any]:
        whole = (*index[: self.axis], self.at, *index[self.axis :])
        return np.asarray(self.labels[whole])


def of_one_channel(output: LabelOutput) -> LabelOutput:
    """Return labels without an axis of channels: those of the only channel that holds any.

    Raises
    ------
    TrackError
        If several channels hold labels.
    """
    axes = output.axes
    found = [at for at in range(axes.ndim - 2) if axis_letter(axes.names[at]) == "c"]
    if not found:
        return output
    axis = found[0]
    channels = sorted(
        {
            position[axis]
            for position in plane_positions(output.labels)
            if read_region(output.labels, position).any()
        }
    )
    if len(channels) > 1:
        raise TrackError(
            f"labels are on the channels {', '.join(map(str, channels))} of axis {axis} "
            f"({', '.join(axes.names)}). Expected those of one channel, as tracks have places in "
            "time and space alone. Delete the labels of the other channels, or choose another "
            "format."
        )
    one = _OneChannel(output.labels, axis, channels[0] if channels else 0)
    kept = axes.take(at for at in range(axes.ndim) if at != axis)
    return replace(output, labels=one, axes=kept)
