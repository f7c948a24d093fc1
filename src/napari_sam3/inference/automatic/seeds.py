"""Seeds for finding all objects: blobs and grid points."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_sam3.core.fields import FieldSizes, field_side, top_level
from napari_sam3.core.masks import Region
from napari_sam3.core.rendering import PlaneImage

from .settings import AutomaticSettings

__all__ = ["Seed", "blob_seeds", "find_seeds", "grid_seeds"]

# Blobs are detected in blocks, so that memory does not grow with the plane.
BLOCK = 1024
SIGMAS = 6
# A Gaussian is negligible beyond this many sigmas.
REACH = 4.0


@dataclass(frozen=True, order=True)
class Seed:
    """Position of a click.

    Parameters
    ----------
    y, x : float
        Position in px of the plane.
    size : float, optional
        Longer side in px of the blob or object, None for a grid point.
    """

    y: float
    x: float
    size: float | None = None


def find_seeds(
    plane: PlaneImage, config: FieldSizes, settings: AutomaticSettings, region: Region
) -> tuple[Seed, ...]:
    """Return the seeds of a region. They do not depend on the division of the plane into regions.

    Parameters
    ----------
    plane : PlaneImage
        Plane, of which the region and a margin are read.
    config : FieldSizes
        Input size of the model, and the default level of fields.
    settings : AutomaticSettings
        Kinds of seeds.
    region : tuple of slice
        Rows and columns, with start and stop.
    """
    seeds: list[Seed] = []
    if settings.seeds in ("auto", "blobs", "both"):
        seeds += blob_seeds(plane, settings, region)
    if settings.seeds in ("grid", "both"):
        seeds += grid_seeds(plane.shape, config, settings, region)
    return tuple(seeds)


def grid_seeds(
    shape: tuple[int, int], config: FieldSizes, settings: AutomaticSettings, region: Region
) -> tuple[Seed, ...]:
    """Return the points within a region of a regular grid over a plane of ``shape`` (H, W)."""
    level = config.default_level if settings.level is None else settings.level
    level = min(level, top_level(shape, config.resolution))
    side = min(field_side(config.resolution, level), max(shape))
    axes = []
    for length, part in zip(shape, region, strict=True):
        count = max(1, round(length * settings.grid / side))
        places = (np.arange(count) + 0.5) * length / count - 0.5
        axes.append(places[(places >= part.start) & (places < part.stop)])
    return tuple(Seed(float(y), float(x)) for y in axes[0] for x in axes[1])


def blob_seeds(plane: PlaneImage, settings: AutomaticSettings, region: Region) -> tuple[Seed, ...]:
    """Return the centres of blobs in a region, brighter or darker than their surroundings.

    Blobs are extrema of the Laplacian of Gaussians in scale space (Lindeberg 1998), found with
    scikit-image.
    """
    rows, columns = region
    return tuple(
        sorted(
            seed
            for top in _starts(rows)
            for left in _starts(columns)
            for seed in _blobs(
                plane,
                settings,
                slice(top, min(top + BLOCK, rows.stop)),
                slice(left, min(left + BLOCK, columns.stop)),
            )
        )
    )


def _starts(span: slice) -> range:
    return range(span.start, span.stop, BLOCK)


def _blobs(
    plane: PlaneImage, settings: AutomaticSettings, rows: slice, columns: slice
) -> Iterator[Seed]:
    from skimage.feature import blob_log

    small, large = (radius / math.sqrt(2) for radius in settings.blob_radii)
    margin = math.ceil(REACH * large) + 2
    height, width = plane.shape
    window = (
        slice(max(0, rows.start - margin), min(height, rows.stop + margin)),
        slice(max(0, columns.start - margin), min(width, columns.stop + margin)),
    )
    grey = _grey(plane, window)
    for image in (grey, 1 - grey):
        # Keep overlapping blobs: the model decides which of them are objects.
        blobs = blob_log(
            image,
            min_sigma=small,
            max_sigma=large,
            num_sigma=SIGMAS,
            threshold=settings.blob_contrast,
            overlap=1.0,
            log_scale=True,
            exclude_border=False,
        )
        for y, x, sigma in blobs:
            row, column = int(y) + window[0].start, int(x) + window[1].start
            if rows.start <= row < rows.stop and columns.start <= column < columns.stop:
                yield Seed(float(row), float(column), float(sigma) * 2 * math.sqrt(2))


def _grey(plane: PlaneImage, region: Region) -> npt.NDArray[np.float32]:
    pixels = plane.region(*region)
    return np.asarray(pixels.mean(axis=-1, dtype=np.float32) / np.float32(255))
