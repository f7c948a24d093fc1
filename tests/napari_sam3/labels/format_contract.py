"""What every output format does: tests that a class for each format takes over."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import dask.array
import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.core.axes import ImageAxes
from napari_sam3.labels.formats.choice import FORMATS, check_target, export_labels, format_of
from napari_sam3.labels.formats.loaded import LoadedLabels
from napari_sam3.labels.formats.object_table import ObjectTable
from napari_sam3.labels.formats.reading import read_labels
from napari_sam3.labels.output_files import ExportError
from sam3.errors import ImageError

#: Label, plane of the stack, area in px.
Objects = set[tuple[int, int, int]]
SHAPE = (2, 12, 15)
AXES = ImageAxes.of("zyx", units=("um",) * 3, scale=(2, 0.5, 0.25), translate=(1, 2, 3))
PIXELS = ImageAxes.default(3)
OURS = "napari-sam3"
TABLE = ObjectTable(
    {
        (1, "0"): {"class": "cell body; ß", "score": 0.5, "points": 3},
        (40, "0"): {"class": "object", "score": 0.25},
        (300, "1"): {"class": "007"},
    }
)


def some_labels() -> npt.NDArray[np.uint16]:
    """Return an object with a hole, one of two parts on two planes, and one of a large id."""
    labels = np.zeros(SHAPE, np.uint16)
    labels[0, 1:6, 1:6], labels[0, 3, 3] = 1, 0
    labels[0, 8, 2:5] = labels[0, 10:12, 12:15] = labels[1, 2:4, 2:4] = 40
    labels[1, 6:, 9:14] = 300
    return labels


def filled(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Fill the holes of objects."""
    made = labels.copy()
    made[0, 3, 3] = labels[0, 3, 2]
    return made


def objects_of(pixels: Any) -> Objects:
    """Count the pixels of each label on each plane."""
    return {
        (int(label), plane, int(area))
        for plane, picture in enumerate(np.asarray(pixels))
        for label, area in zip(*np.unique(picture, return_counts=True), strict=True)
        if label
    }


class FormatContract(ABC):
    """The tests; a subclass names a format and reads it back."""

    name: ClassVar[str]
    file: ClassVar[str]
    #: How many planes the format holds, up to those of `SHAPE`.
    planes: ClassVar[int] = SHAPE[0]

    @pytest.fixture
    def labels(self) -> npt.NDArray[np.uint16]:
        """Return as many planes of `some_labels` as the format holds."""
        return some_labels()[: self.planes]

    @abstractmethod
    def read(self, path: Path) -> Objects:
        """Return what a file of the format holds, as its own programs see it."""

    def strip(self, path: Path) -> None:
        """Take out of a file what other programs do not write; nothing by default."""
        assert path.exists()

    def expected(self, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return labels as the format can hold them."""
        keeps = FORMATS[self.name].keeps
        return filled(labels) if keeps.holes == "no" != keeps.pixels else labels

    def reread(self, path: Path, **options: Any) -> LoadedLabels:
        """Read a file as labels into memory."""
        loaded = read_labels(path, **options)
        try:
            return dataclasses.replace(loaded, data=np.asarray(loaded.data[...]))
        finally:
            loaded.close()

    def test_the_file_name_means_the_format(self) -> None:
        assert format_of(self.file).name == self.name
        assert format_of(self.file.upper()).name == self.name

    def test_objects_come_back(self, labels: npt.NDArray[Any], tmp_path: Path) -> None:
        path = export_labels(labels, tmp_path / self.file)
        assert path == tmp_path / self.file
        assert self.read(path) == objects_of(self.expected(labels))
        assert [one.name for one in tmp_path.iterdir()] == [self.file]

    @pytest.mark.parametrize("kind", ["uint8", "int64", "uint32", "lazy", "big-endian"])
    def test_any_integers_do(self, labels: npt.NDArray[Any], tmp_path: Path, kind: str) -> None:
        made = np.where(labels > 255, 255, labels)
        given: Any = made.astype(">u2" if kind == "big-endian" else np.uint16)
        if kind == "lazy":
            given = dask.array.from_array(made, chunks=(1, 5, 7))
        elif kind != "big-endian":
            given = made.astype(kind)
        expected = objects_of(self.expected(made))
        assert self.read(export_labels(given, tmp_path / self.file)) == expected

    def test_what_is_known_of_objects_may_be_given(
        self, labels: npt.NDArray[Any], tmp_path: Path
    ) -> None:
        rows: dict[tuple[int, str], dict[str, Any]] = {
            (1, "0"): {"class": "nucleus", "score": 0.5},
            (300, "1"): {"score": 1},
        }
        table = ObjectTable({row: rows[row] for row in rows if int(row[1]) < self.planes})
        path = export_labels(labels, tmp_path / self.file, table=table)
        assert self.read(path) == objects_of(self.expected(labels))

    def test_no_objects_are_a_file_too(self, tmp_path: Path) -> None:
        for number, kind in enumerate((np.uint16, bool)):
            empty: Any = np.zeros((self.planes, *SHAPE[1:]), kind)
            assert self.read(export_labels(empty, tmp_path / f"{number}{self.file}")) == set()

    @pytest.mark.parametrize("unusable", [np.zeros(SHAPE), np.zeros(3, int), np.zeros((0, 3), int)])
    def test_what_is_no_label_image_is_refused(
        self, tmp_path: Path, unusable: npt.NDArray[Any]
    ) -> None:
        with pytest.raises(ImageError, match="labels of"):
            export_labels(unusable, tmp_path / self.file)
        assert list(tmp_path.iterdir()) == []

    def test_what_is_there_is_replaced_only_when_asked(
        self, labels: npt.NDArray[Any], tmp_path: Path
    ) -> None:
        path = export_labels(labels, tmp_path / self.file)
        other = labels.copy()
        other[0, 8:] = 0
        for attempt in (check_target, lambda path: export_labels(other, path)):
            with pytest.raises(ExportError, match="exists already"):
                attempt(path)
        assert self.read(path) == objects_of(self.expected(labels))
        check_target(path, overwrite=True)
        export_labels(other, path, overwrite=True)
        assert self.read(path) == objects_of(self.expected(other))
        assert [one.name for one in tmp_path.iterdir()] == [self.file]

    def test_missing_folders_are_made(self, labels: npt.NDArray[Any], tmp_path: Path) -> None:
        path = export_labels(labels, tmp_path / "new" / "folder" / self.file)
        assert self.read(path) == objects_of(self.expected(labels))

    # ------------------------------------------------------------- file -> labels -> file

    def test_what_is_kept_comes_back_twice(self, labels: npt.NDArray[Any], tmp_path: Path) -> None:
        """Nothing is promised that does not come back, and nothing comes back unannounced."""
        keeps = FORMATS[self.name].keeps
        rows = {row: TABLE.rows[row] for row in TABLE.rows if int(row[1]) < self.planes}
        path = export_labels(labels, tmp_path / self.file, axes=AXES, table=ObjectTable(rows))
        if keeps.pixels == "no":
            with pytest.raises(ImageError, match="is a table, which holds no pixels"):
                read_labels(path)
            kept = ObjectTable.read(path)
            assert kept.known(1, (0,))["class"] == TABLE.known(1, (0,))["class"]
            assert kept.known(40, (0,))["score"] == 0.25
            return
        for _ in range(2):
            loaded = self.reread(path)
            self.compare(loaded, labels, dataclasses.asdict(keeps))
            again = tmp_path / f"again_{self.file}"
            path = export_labels(
                loaded.data, again, self.name, axes=loaded.axes, table=loaded.table, overwrite=True
            )

    def test_other_programs_find_what_is_kept_for_them(
        self, labels: npt.NDArray[Any], tmp_path: Path
    ) -> None:
        """One plane, since the places of planes are ours in many formats."""
        keeps = {
            name: "no" if value == "ours" else value
            for name, value in dataclasses.asdict(FORMATS[self.name].keeps).items()
        }
        if keeps["pixels"] == "no":
            return
        labels, axes = labels[0], AXES.take((1, 2))
        table = ObjectTable({(n, ""): TABLE.known(n, (0,)) for n in (1, 40)})
        path = export_labels(labels, tmp_path / self.file, axes=axes, table=table)
        self.strip(path)
        loaded = self.reread(path, shape=labels.shape)
        self.compare(loaded, labels[None], {**keeps, "planes": "no"})

    def compare(
        self, loaded: LoadedLabels, labels: npt.NDArray[Any], keeps: dict[str, str]
    ) -> None:
        """Compare what was read with labels, `AXES` and `TABLE`."""
        pixels = np.asarray(loaded.data[...]).reshape(labels.shape)
        expected = filled(labels) if keeps["holes"] == "no" else labels
        np.testing.assert_array_equal(pixels > 0, expected > 0)
        same = keeps["labels"] != "no" and keeps["parts"] != "no"
        assert np.array_equal(pixels, expected) == same
        one, two = int(pixels[0, 1, 1]), int(pixels[0, 8, 2])
        assert (pixels[0, 10, 13] == two) == (keeps["parts"] != "no")
        axes, wanted = loaded.axes, AXES.take(range(3 - loaded.axes.ndim, 3))
        scaled = axes.scale == wanted.scale and axes.units == wanted.units
        assert scaled == (keeps["scale"] != "no")
        assert (axes.translate == wanted.translate) == (keeps["place"] != "no")
        at = (0,) * (loaded.data.ndim - 2)
        first, second = loaded.table.known(one, at), loaded.table.known(two, at)
        has = first.get("class"), second.get("class")
        assert (has == ("cell body; ß", "object")) == (keeps["classes"] != "no")
        values = first.get("score"), first.get("points"), second.get("score")
        assert (values == (0.5, 3, 0.25)) == (keeps["table"] != "no")
        if keeps["planes"] != "no" and keeps["classes"] != "no":
            assert loaded.table.known(300, (1,)) == {"class": "007"}

    def test_stacks_are_kept_or_refused(self, tmp_path: Path) -> None:
        if FORMATS[self.name].keeps.planes == "no":
            with pytest.raises(ExportError, match="Expected a single plane"):
                export_labels(some_labels(), tmp_path / self.file)
            assert list(tmp_path.iterdir()) == []
