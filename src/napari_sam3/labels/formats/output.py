"""The label image that a format writes, with its axes, its table and its path."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from napari_sam3.core.axes import ImageAxes

from .label_planes import check_labels
from .object_table import ObjectTable

__all__ = ["LabelOutput"]


@dataclass(frozen=True, eq=False)
class LabelOutput:
    """A label image to write.

    Parameters
    ----------
    path : Path
        File or folder to write.
    labels : array-like of integers, ... x H x W
        numpy, dask or zarr; read plane by plane.
    axes : ImageAxes
        Names, units, scale and position of the axes.
    given_table : ObjectTable
        Values of the objects, as the caller passed them.
    overwrite : bool
        Replace an existing file.
    """

    path: Path
    labels: Any = field(repr=False)
    axes: ImageAxes
    given_table: ObjectTable = field(default_factory=ObjectTable, repr=False)
    overwrite: bool = False

    @classmethod
    def of(
        cls,
        path: str | os.PathLike[str],
        labels: Any,
        *,
        axes: ImageAxes | None = None,
        table: ObjectTable | None = None,
        overwrite: bool = False,
    ) -> LabelOutput:
        """Fill in the defaults: axes in pixels, and an empty table.

        Raises
        ------
        sam3.errors.ImageError
            If the labels are not a label image.
        """
        check_labels(labels)
        axes = ImageAxes.default(len(labels.shape)) if axes is None else axes
        return cls(Path(path), labels, axes, table or ObjectTable(), overwrite)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the labels."""
        return tuple(int(length) for length in self.labels.shape)

    @cached_property
    def table(self) -> ObjectTable:
        """The table with the planes of these labels; warns about rows that do not fit."""
        return self.given_table.fitted(self.shape, self.axes.names)
