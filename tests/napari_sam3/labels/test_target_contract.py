"""What every place for labels does: the same tests for each implementation of `LabelTarget`."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from napari.layers import Labels

import napari_sam3
from napari_sam3.core.masks import Region
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.labels.targets import ArrayTarget, LabelTarget
from napari_sam3.layers.label_layer import LabelStore, LayerTarget

FIRST, SECOND = PlaneIndex((1, 2), (0,)), PlaneIndex((1, 2), (2,))
#: Rows along the stack, columns along the image.
ACROSS = PlaneIndex((0, 2), (4,))
REGION: Region = (slice(2, 5), slice(1, 4))


@dataclass
class Opened:
    """Labels at a place: a target for each plane, and the array that another tool writes to."""

    target: Callable[[PlaneIndex], LabelTarget]
    data: Any

    def whole(self) -> npt.NDArray[Any]:
        """Return a copy of all labels."""
        return np.array(self.data[:])


class LabelTargetContract(ABC):
    """The tests; a subclass says how labels are put where it writes."""

    kind: ClassVar[type[LabelTarget]]

    @abstractmethod
    def open(self, labels: npt.NDArray[Any], folder: Path) -> Opened:
        """Put labels, Z x H x W, where the implementation finds them."""

    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        labels = np.zeros((3, 8, 10), np.uint16)
        labels[0, 1:4, 1:4], labels[2, 5:, 6:] = 7, 11
        opened = self.open(labels, tmp_path)
        assert isinstance(opened.target(FIRST), self.kind)
        return opened

    def test_a_plane_has_its_shape_and_the_type_of_the_labels(self, opened: Opened) -> None:
        assert opened.target(FIRST).shape == (8, 10)
        assert opened.target(ACROSS).shape == (3, 10)
        assert opened.target(FIRST).dtype == np.uint16

    @pytest.mark.parametrize("plane", [FIRST, SECOND, ACROSS])
    def test_a_region_is_read_as_a_copy(self, opened: Opened, plane: PlaneIndex) -> None:
        before = opened.whole()
        region = (slice(0, 3), slice(2, 9))
        read = opened.target(plane).read(region)
        np.testing.assert_array_equal(read, before[plane.slices(*region)])
        read[:] = 99
        np.testing.assert_array_equal(opened.whole(), before)

    @pytest.mark.parametrize("plane", [FIRST, SECOND, ACROSS])
    def test_a_region_is_written_and_nothing_else(self, opened: Opened, plane: PlaneIndex) -> None:
        region = (slice(1, 3), slice(2, 5))
        expected = opened.whole()
        values = np.arange(20, 26, dtype=np.uint16).reshape(2, 3)
        expected[plane.slices(*region)] = values
        opened.target(plane).write(region, values)
        np.testing.assert_array_equal(opened.whole(), expected)
        np.testing.assert_array_equal(opened.target(plane).read(region), values)

    def test_what_was_read_puts_the_labels_back(self, opened: Opened) -> None:
        before, target = opened.whole(), opened.target(FIRST)
        kept = target.read(REGION)
        target.write(REGION, np.full_like(kept, 5))
        target.write(REGION, kept)
        np.testing.assert_array_equal(opened.whole(), before)

    def test_the_largest_id_is_that_of_all_planes(self, opened: Opened) -> None:
        first, second = opened.target(FIRST), opened.target(SECOND)
        assert (first.maximum(), second.maximum()) == (11, 11)
        first.write(REGION, np.full((3, 3), 500, np.uint16))
        assert (first.maximum(), second.maximum()) == (500, 500)

    def test_the_largest_id_counts_what_others_wrote(self, opened: Opened) -> None:
        target = opened.target(FIRST)
        assert target.maximum() == 11
        opened.data[1, 0, 0] = 800
        assert target.maximum() >= 800
        assert opened.target(SECOND).holds(800)

    def test_a_label_is_held_wherever_it_is(self, opened: Opened) -> None:
        target = opened.target(FIRST)
        assert [target.holds(label) for label in (7, 11, 8, 5000)] == [True, True, False, False]
        opened.target(SECOND).write((slice(5, 8), slice(6, 10)), np.zeros((3, 4), np.uint16))
        assert not target.holds(11)

    def test_planes_share_their_source_and_differ_in_their_key(
        self, opened: Opened, tmp_path: Path
    ) -> None:
        first, second = opened.target(FIRST), opened.target(SECOND)
        assert hash(first.source) == hash(second.source)
        assert first.source == second.source == opened.target(FIRST).source
        assert first.key == opened.target(FIRST).key
        assert first.key != second.key
        other = self.open(opened.whole(), tmp_path / "other")
        assert other.target(FIRST).source != first.source


class TestArrayTarget(LabelTargetContract):
    kind = ArrayTarget

    def open(self, labels: npt.NDArray[Any], folder: Path) -> Opened:
        return Opened(lambda plane: ArrayTarget(labels, key=str(plane), plane=plane), labels)


class TestLayerTarget(LabelTargetContract):
    kind = LayerTarget

    def open(self, labels: npt.NDArray[Any], folder: Path) -> Opened:
        return self.of_layer(Labels(labels))

    def of_layer(self, layer: Labels) -> Opened:
        """Return what is opened of a layer that is in a viewer."""
        store = LabelStore(layer, alive=lambda: True, name_plane=str)
        return Opened(store.plane, store.data)


class TestLayerTargetOfZarr(TestLayerTarget):
    def open(self, labels: npt.NDArray[Any], folder: Path) -> Opened:
        return self.of_layer(Labels(zarr.create_array(folder / "l.zarr", data=labels)))


class TestLayerTargetOfAPyramid(TestLayerTarget):
    def open(self, labels: npt.NDArray[Any], folder: Path) -> Opened:
        return self.of_layer(Labels([labels, labels[:, ::2, ::2].copy()], multiscale=True))


def test_every_implementation_is_held_to_the_contract() -> None:
    needed = {name for name in vars(LabelTarget) if not name.startswith("_")}
    assert needed >= {"maximum", "read", "source", "write"}
    found = set()
    for path in Path(napari_sam3.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                given = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
                if needed - {"key"} <= given:
                    found.add(node.name)
    held = {one.kind.__name__ for one in LabelTargetContract.__subclasses__()}
    assert found == held | {"LabelTarget"}
