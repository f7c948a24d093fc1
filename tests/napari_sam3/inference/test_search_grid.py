"""Fields of a search cover a plane, overlap a little, and do not depend on tiles."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam3.core.field_grid import fields_over
from napari_sam3.inference.automatic.proposed import FINER_OVERLAP, TINY
from napari_sam3.inference.automatic.search_grid import OVERLAP, SearchGrid

SIDE = 448


@pytest.mark.parametrize("shape", [(448, 448), (1024, 1024), (520, 696), (300, 2000), (1, 1)])
@pytest.mark.parametrize("level", [0, -1])
def test_fields_cover_the_plane_and_overlap(shape: tuple[int, int], level: int) -> None:
    grid = SearchGrid(shape, SIDE, level)
    fields = grid.over((slice(0, shape[0]), slice(0, shape[1])))
    covered = np.zeros(shape, int)
    for field in fields:
        covered[slice(*field.rows), slice(*field.columns)] += 1
    assert covered.min() == 1 or max(shape) > 3 * SIDE
    assert covered.all()
    assert len(fields) <= len(tuple(fields_over(shape, SIDE, level)))
    side = SIDE * 2.0**level
    for field in fields:
        for other in fields:
            if field.rows == other.rows and 0 < other.columns[0] - field.columns[0] < side:
                assert field.columns[1] - other.columns[0] >= int(OVERLAP * side) - 1


def test_few_fields_of_the_finer_level_hold_each_tiny_object_whole() -> None:
    shape = (1024, 1024)
    grid = SearchGrid(shape, SIDE, -1, FINER_OVERLAP)
    fields = grid.over((slice(0, shape[0]), slice(0, shape[1])))
    assert len(fields) == 25, "36 with the overlap of the first level"
    half = int(TINY * SIDE / 2)
    for y, x in np.random.default_rng(0).uniform(half, 1023 - half, (500, 2)):
        field = grid.field_at(y, x)
        for place, (start, stop) in ((y, field.rows), (x, field.columns)):
            assert start <= place - half
            assert place + half < stop


def test_a_tile_has_the_fields_of_its_positions() -> None:
    shape = (1100, 900)
    grid = SearchGrid(shape, SIDE, -1)
    tile = (slice(300, 600), slice(0, 333))
    fields = grid.over(tile)
    rng = np.random.default_rng(0)
    places = rng.uniform((300, 0), (599, 332), (300, 2))
    assert {grid.field_at(y, x) for y, x in places} <= set(fields)
    rows, columns = grid.reach(tile)
    assert rows.start <= 300
    assert rows.stop >= 600
    assert (columns.start, columns.stop >= 333) == (0, True)
    for y, x in places:
        field = grid.field_at(y, x)
        assert rows.start <= field.rows[0] <= y < field.rows[1] <= rows.stop
        assert columns.start <= field.columns[0] <= x < field.columns[1] <= columns.stop
