"""The user's own measurements in the features table of labels, while objects come and go."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from napari.components import ViewerModel
from skimage.measure import regionprops_table

from napari_sam3 import bind
from napari_sam3.labels.formats.object_table import ObjectTable
from napari_sam3.layers.binding import Binding
from napari_sam3.layers.feature_table import find_rows, replace_rows, with_index
from sam3.predictor import Predictor

Image = npt.NDArray[np.uint8]


def accept(binding: Binding, row: int, column: int) -> int:
    """Accept an object by a click; returns its label."""
    binding.points.add([row, column])
    accepted = binding.accept()
    assert accepted is not None
    return accepted.id


@pytest.fixture
def viewer(blobs: Image) -> ViewerModel:
    """A viewer with an image, and labels of three objects that were there before."""
    viewer = ViewerModel()
    viewer.add_image(blobs)
    data = np.zeros(blobs.shape, np.uint16)
    for label, column in ((1, 60), (2, 70), (3, 80)):
        data[98:, column : column + 3 + label] = label
    viewer.add_labels(data)
    return viewer


def measured(data: Any) -> dict[str, Any]:
    return regionprops_table(data, properties=("label", "area"))  # type: ignore[no-any-return]


@pytest.mark.parametrize("undone", [False, True])
def test_rows_of_labels_without_pixels_come_back_with_undo(
    viewer: Any, predictor: Predictor, undone: bool
) -> None:
    labels = viewer.layers[1]
    labels.data[:] = 0  # the measurements are all that is left of them
    labels.features = pd.DataFrame(
        {"label": [1, 2, 3], "good": [True, False, True], "class": ["a", "b", "c"]}
    )
    with bind(viewer, viewer.layers[0], labels, predictor=predictor) as binding:
        taken = [accept(binding, 20, 20), accept(binding, 50, 45)]
        assert taken == [1, 2]
        if undone:
            for _ in range(6):
                binding.undo()
        else:
            for label in taken:
                binding.session.delete(label)
        assert not labels.data.any()
        rows = labels.features.sort_values("label")
        assert rows["label"].tolist() == [1, 2, 3]
        assert rows["good"].tolist() == [True, False, True]
        if undone:
            assert rows["class"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("way", ["label", "label_value", "position", "float", "text"])
def test_measurements_stay_when_an_object_is_accepted(
    viewer: Any, predictor: Predictor, way: str
) -> None:
    labels = viewer.layers[1]
    table = pd.DataFrame(measured(labels.data)).rename(columns={"area": "size"})
    if way == "position":
        table = pd.concat([pd.DataFrame({"size": [0.0]}), table[["size"]]])
    elif way == "label_value":
        table = table.rename(columns={"label": "label_value"})
    elif way != "label":
        table["label"] = table["label"].astype(float if way == "float" else str)
    sizes = table["size"].tolist()
    labels.features = table
    with bind(viewer, viewer.layers[0], labels, predictor=predictor) as binding:
        new = accept(binding, 20, 20)
        found = labels.features
        assert found["size"].iloc[: len(sizes)].tolist() == sizes
        first = 0 if way == "position" else 1
        assert found["index"].tolist() == [*range(first, 4), new]
        if way == "label":
            assert found["label"].tolist() == [1, 2, 3, new]
            assert found["label"].dtype == table["label"].dtype
        # napari shows them by the label, too.
        assert f"size: {sizes[-1]:g}" in labels.get_status((99, 82), world=True)["value"]
        binding.undo()
        assert labels.features["size"].tolist() == sizes
        binding.redo()
        assert labels.features["index"].tolist()[-1] == new
        assert ObjectTable.from_features(labels.features).known(3, ())["size"] == sizes[-1]


def test_measurements_of_an_object_come_back_with_it(viewer: Any, predictor: Predictor) -> None:
    labels = viewer.layers[1]
    with bind(viewer, viewer.layers[0], labels, predictor=predictor) as binding:
        first = accept(binding, 20, 20)
        # Everything measured anew, as users do in between: no row of ours is left.
        labels.features = measured(labels.data) | {"mine": np.arange(4) * 10}
        second = accept(binding, 60, 70)
        table = labels.features.set_index("index")
        assert table.loc[first, "mine"] == 30
        assert np.isnan(table.loc[second, "mine"])
        while binding.session.objects:
            binding.undo()
        assert labels.features["index"].tolist() == [1, 2, 3]
        redo(binding)
        assert labels.features.set_index("index").loc[first, "mine"] == 30
        assert labels.features["index"].tolist() == [1, 2, 3, first]
        labels.features["later"] = ["a", "b", "c", "d"]
        while binding.session.objects:
            binding.undo()
        redo(binding)
        assert labels.features.set_index("index").loc[first, "later"] == "d"


def redo(binding: Binding) -> None:
    """Bring the first object back."""
    while not binding.session.objects:
        binding.redo()


def columns() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": np.array([3, 1], np.uint16),
            "kind": pd.Categorical(["a", "b"]),
            "text": pd.Series(["x", "y"], dtype="string"),
            "object": pd.Series([(1, 2), None], dtype=object),
            "count": pd.array([1, None], "Int64"),
            "good": pd.array([True, None], "boolean"),
            "when": pd.to_datetime(["2026-01-02", None]),
            "took": pd.to_timedelta(["1h", None]),
            "plain": [True, False],
            "large": np.array([2**63 + 1, 1], np.uint64),
            "whole": [1, 2],
            ("a", "tuple"): [0.5, np.nan],
            7: [1.5, 2.5],
            "class": pd.Categorical(["a", "b"]),
        }
    )


def test_values_of_every_type_stay() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = with_index(columns())
        after = replace_rows(before, [], [{"index": 9, "class": "new", "area": 5}])
        again = replace_rows(after, [2], [{"index": 9, "class": "b", "area": 6}])
    for table in (after, again):
        for name in columns():
            old, new = columns()[name].tolist(), table[name].tolist()[:2]
            for a, b in zip(old, new, strict=True):
                assert (pd.isna(a) is True and pd.isna(b) is True) or a == b, name
        assert table["label"].tolist() == [3, 1, 9]
    for name in ("label", "kind", "text", "count", "good", "when", "took"):
        assert after[name].dtype == columns()[name].dtype, name
    assert after["large"].iloc[0] == 2**63 + 1  # which no float is
    assert (after["class"].iloc[2], again["area"].iloc[2]) == ("new", 6)


def test_rows_that_are_not_clearly_of_an_object_stay() -> None:
    series = with_index(pd.DataFrame({"label": [1, 1, 2], "frame": [0, 1, 0]}))
    assert find_rows(series, [(1, "0", "now"), (2, "0", "now")]) == [None, 2]
    planes = pd.DataFrame({"index": [1.0, 1.0, np.nan], "plane": [0, 1, 2]})
    assert find_rows(planes, [(1, "1", "now"), (1, "3", "now")]) == [1, None]
    both = pd.DataFrame({"index": [1, 1], "time": [None, "now"], "model": [None, "m"]})
    assert find_rows(both, [(1, "", "now"), (1, "", "later")]) == [1, 1]
    assert find_rows(pd.DataFrame(), [(1, "", "now")]) == [None]


def test_the_index_is_filled_in() -> None:
    for labels, expected in (
        (pd.array([2, None], "Int64"), [2, pd.NA]),
        ([2.0, np.nan], [2, pd.NA]),
        (["2", "1"], [2, 1]),
        (["cell", "debris"], [0, 1]),
        ([0.5, 1.5], [0, 1]),
        (pd.Categorical([4, 2]), [4, 2]),
    ):
        found = with_index(pd.DataFrame({"label": labels}))["index"].tolist()
        assert all((a is b) or a == b for a, b in zip(found, expected, strict=True)), labels
    grouped = pd.DataFrame({"label": [1, 2], "area": [2, 4]}).groupby("label", as_index=False)
    nested = with_index(grouped.agg({"area": ["max"]}))
    assert (nested["index"].tolist(), list(nested)) == ([1, 2], ["index", "label", "area max"])
    assert with_index(pd.DataFrame()).empty
    own = pd.DataFrame({"label": [5], "index": [7]})
    assert with_index(own)["index"].tolist() == [7]
