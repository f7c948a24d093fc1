"""Files of tracks, each read back by itself and by the library that others read it with."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
import warnings
from pathlib import Path
from typing import Any

import geff
import numpy as np
import pytest
import tifffile
from ctc_metrics import evaluate_sequence
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sam3 import export_labels, open_image, read_labels, read_tracks
from napari_sam3.cli.main import main
from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.tracks import TrackError, Tracks
from napari_sam3.labels.formats.choice import TRACK_FORMATS, check_target, format_of
from napari_sam3.labels.formats.object_table import ObjectTable
from napari_sam3.labels.formats.tracks.ctc import write_ctc
from napari_sam3.labels.formats.tracks.geff import read_geff, write_geff
from napari_sam3.labels.formats.tracks.measuring import tracks_of
from napari_sam3.labels.formats.tracks.table import read_track_table
from napari_sam3.labels.output_files import ExportError
from sam3.errors import ImageError
from tests.napari_sam3.labels.track_samples import (
    FILES,
    PARENTS,
    Labels,
    Parents,
    dividing,
    lineages,
    renumbered,
)

QUICK = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def scores(result: Path, truth: Path, *metrics: str) -> dict[str, Any]:
    """Read two sequences by py-ctcmetrics, which warns of frames without an object."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Empty frame", UserWarning)
        found: dict[str, Any] = evaluate_sequence(
            str(result), str(truth), metrics=list(metrics) or None, threads=1
        )
    return found


def same(one: Tracks, other: Tracks) -> None:
    for name in ("ids", "frames", "places", "areas"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    assert one.parents == other.parents


@pytest.mark.parametrize("name", TRACK_FORMATS)
@QUICK
@given(lineage=lineages())
def test_round_trips_are_equal(
    name: str, lineage: tuple[Labels, Parents], tmp_path_factory: pytest.TempPathFactory
) -> None:
    labels, parents = lineage
    path = tmp_path_factory.mktemp("t") / FILES[name]
    assert format_of(path).name == name
    written = export_labels(labels, path, parents=parents)
    found = read_tracks(written)
    same(found.tracks, tracks_of(labels, parents=parents))
    if found.labels is not None:
        np.testing.assert_array_equal(found.labels, labels)


@pytest.mark.parametrize("name", TRACK_FORMATS)
@pytest.mark.parametrize("names", ["tcyx", "tczyx", "ctyx", "tzcyx"])
def test_an_axis_of_channels_is_no_axis_of_space(names: str, name: str, tmp_path: Path) -> None:
    cells = np.where(dividing() == 7, 5, dividing())  # numbered as in the files
    labels = np.expand_dims(cells, tuple(at for at, letter in enumerate(names) if letter in "cz"))
    channel = names.index("c")
    two = np.concatenate([np.zeros_like(labels), labels], channel)
    axes = ImageAxes.of(names)
    found = read_tracks(export_labels(two, tmp_path / FILES[name], axes=axes, parents=PARENTS))
    flat = "z" not in names or found.labels is not None
    same(found.tracks, tracks_of(cells if flat else cells[:, None], parents=PARENTS))
    if found.labels is not None:
        np.testing.assert_array_equal(found.labels, cells)
    both = np.concatenate([labels, labels], channel)
    with pytest.raises(TrackError, match=r"labels are on the channels 0, 1 of axis \d"):
        export_labels(both, tmp_path / f"b{FILES[name]}", axes=axes)


@pytest.mark.parametrize("name", TRACK_FORMATS)
def test_what_cannot_be_opened_as_labels_says_how_it_can(name: str, tmp_path: Path) -> None:
    written = export_labels(dividing(), tmp_path / FILES[name])
    frames, *plane = dividing().shape
    remedy = "Drop it on the viewer to see its tracks|Split the channels of the image"
    with pytest.raises(ImageError, match=remedy):
        read_labels(written, shape=(frames, 2, *plane), axes=ImageAxes.of("tcyx"))


@pytest.mark.parametrize("name", TRACK_FORMATS)
def test_any_ids_and_volumes(name: str, tmp_path: Path) -> None:
    flat = dividing().astype(np.int64)
    labels = np.stack([np.zeros_like(flat), flat, flat], axis=1)
    labels[labels == 7] = 70_001
    parents: Parents = {**PARENTS, 70_001: (3,)}
    path = export_labels(labels, tmp_path / FILES[name], parents=parents)
    found = read_tracks(path).tracks
    if name.startswith("ctc"):  # where a lone child after a gap is the same object
        again, links = renumbered(labels, parents)
        same(found, tracks_of(again, parents=links))
    else:
        same(found, tracks_of(labels, parents=parents))


@pytest.mark.parametrize("name", TRACK_FORMATS)
@pytest.mark.parametrize(
    ("parents", "message"),
    [
        ({2: 3}, "still present on frame 4"),
        ({1: 2}, "begins on frame 3, after its child"),
        ({2: 2}, "in a circle"),
        ({2: 9}, "track 9 has no pixels"),
    ],
)
def test_graphs_that_cannot_be_are_not_written(
    name: str, parents: dict[int, int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TrackError, match=message):
        export_labels(dividing(), tmp_path / FILES[name], parents=parents)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", TRACK_FORMATS)
def test_what_is_there_is_replaced_only_when_asked(name: str, tmp_path: Path) -> None:
    labels, path = dividing(), tmp_path / FILES[name]
    export_labels(labels, path, parents=PARENTS)
    for attempt in (check_target, lambda path: export_labels(labels[:2], path)):
        with pytest.raises(ExportError, match="exists already"):
            attempt(path)
    check_target(path, overwrite=True)
    export_labels(labels[:2], path, overwrite=True)
    second = 2 if name.startswith("ctc") else 4
    assert read_tracks(path).tracks.spans == {1: (0, 1), second: (0, 1)}
    assert [one.name for one in tmp_path.iterdir()] == [FILES[name]]


@pytest.mark.parametrize("name", ["ctc", "ctc-truth", "geff"])
def test_folders_of_others_are_left_alone(name: str, tmp_path: Path) -> None:
    path = tmp_path / FILES[name]
    path.mkdir()
    (path / "thesis.txt").write_text("mine")
    with pytest.raises(ExportError, match="overwritten"):
        export_labels(dividing(), path, overwrite=True)
    assert (path / "thesis.txt").read_text() == "mine"


# ------------------------------------------------------- the Cell Tracking Challenge


def test_a_gap_is_a_new_track_with_the_former_as_parent(tmp_path: Path) -> None:
    write_ctc(tmp_path / "01_RES", dividing(), parents=PARENTS)
    lines = (tmp_path / "01_RES" / "res_track.txt").read_text().splitlines()
    assert lines == ["1 0 2 0", "2 3 5 1", "3 3 4 1", "4 0 1 0", "5 5 5 0", "6 4 5 4"]
    masks = sorted(path.name for path in (tmp_path / "01_RES").glob("*.tif"))
    assert masks == [f"mask{at:03d}.tif" for at in range(6)]
    last = tifffile.imread(tmp_path / "01_RES" / "mask005.tif")
    assert last.dtype == np.uint16
    assert np.unique(last).tolist() == [0, 2, 5, 6]


def test_py_ctcmetrics_reads_it(tmp_path: Path) -> None:
    labels = dividing()
    result = write_ctc(tmp_path / "01_RES", labels, parents=PARENTS)
    truth = write_ctc(tmp_path / "01_GT", labels, parents=PARENTS, kind="truth")
    found = scores(result, truth)
    assert [found[name] for name in ("Valid", "TRA", "DET", "LNK", "SEG")] == [1] * 5
    assert found["gt_divisions"] == found["tp_div(0)"] == 1
    # Without the division, the file is worth less and is still valid.
    found = scores(write_ctc(tmp_path / "02_RES", labels), truth)
    assert found["Valid"] == 1
    assert found["TRA"] < 1


@QUICK
@given(lineage=lineages())
def test_py_ctcmetrics_finds_any_lineage_valid(
    lineage: tuple[Labels, Parents], tmp_path_factory: pytest.TempPathFactory
) -> None:
    labels, parents = lineage
    folder = tmp_path_factory.mktemp("t")
    result = write_ctc(folder / "01_RES", labels, parents=parents)
    truth = write_ctc(folder / "01_GT", labels, parents=parents, kind="truth")
    found = scores(result, truth, "Valid", "TRA")
    assert [found["Valid"], found["TRA"]] == [1, 1]


# ----------------------------------------------------------------------- GEFF


def test_geff_reads_it(tmp_path: Path) -> None:
    axes = ImageAxes.of("tyx", units=("min", "um", "um"), scale=(5, 0.2, 0.2), translate=(0, 3, 4))
    path = write_geff(
        tmp_path / "t.geff",
        dividing(),
        axes=axes,
        parents=PARENTS,
        labels_path="../labels.zarr",
    )
    graph, about = geff.read(path)
    labels = {node: int(known["label"]) for node, known in graph.nodes(data=True)}
    between = {(labels[a], labels[b]) for a, b in graph.edges}
    assert {pair for pair in between if pair[0] != pair[1]} == {(1, 2), (1, 3)}
    assert all(graph.nodes[a]["t"] < graph.nodes[b]["t"] for a, b in graph.edges)
    time, row = about.axes[:2]
    assert (time.type, time.unit, time.scale, time.scaled_unit) == ("time", "frame", 5, "minute")
    assert (row.unit, row.scale, row.scaled_unit, row.offset) == ("pixel", 0.2, "micrometer", 3)
    (related,) = about.related_objects
    assert (related.type, related.path, related.node_prop) == ("labels", "../labels.zarr", "label")


def test_graphs_of_others(tmp_path: Path) -> None:
    """Edges backwards in time, times in seconds, and labels that are no tracks."""
    networkx = pytest.importorskip("networkx")
    graph = networkx.DiGraph()
    rows = [(10, 0.0, 1), (11, 2.5, 1), (12, 5.0, 1), (13, 5.0, 2), (20, 5.0, 3)]
    for node, time, label in rows:
        graph.add_node(node, POSITION_T=time, POSITION_Y=1.0, POSITION_X=float(node), seg_id=label)
    graph.add_edges_from([(11, 10), (11, 12), (11, 13)])
    geff.write(
        graph,
        tmp_path / "t.geff",
        axis_names=["POSITION_T", "POSITION_Y", "POSITION_X"],
        axis_types=["time", "space", "space"],
    )
    found, axes = read_geff(tmp_path / "t.geff")
    assert (axes.scale, axes.translate, axes.units) == ((1,) * 3, (0,) * 3, (None,) * 3)
    assert found.spans == {1: (0, 1), 2: (2, 2), 3: (2, 2), 4: (2, 2)}
    assert found.parents == {2: (1,), 3: (1,)}


def test_edges_within_a_frame_and_other_folders_are_refused(tmp_path: Path) -> None:
    networkx = pytest.importorskip("networkx")
    graph = networkx.DiGraph()
    graph.add_node(0, t=0, x=1.0)
    graph.add_node(1, t=0, x=2.0)
    graph.add_edge(0, 1)
    geff.write(graph, tmp_path / "t.geff", axis_names=["t", "x"], axis_types=["time", "space"])
    with pytest.raises(TrackError, match="an edge joins two nodes of frame 0"):
        read_tracks(tmp_path / "t.geff")
    with pytest.raises(ImageError, match="cannot be read as GEFF"):
        read_tracks(tmp_path)


# ---------------------------------------------------------------------- tables


def test_napari_shows_the_first_columns(tmp_path: Path) -> None:
    from napari.layers import Tracks as TracksLayer

    path = export_labels(dividing(), tmp_path / "l.tracks.csv", parents=PARENTS)
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["track_id", "t", "y", "x", "area", "parent_id"]
    layer = TracksLayer(np.array([row[:4] for row in rows[1:]], float))
    expected = tracks_of(dividing())
    np.testing.assert_array_equal(layer.data[:, 0], expected.ids)
    np.testing.assert_array_equal(layer.data[:, 2:], expected.places)


def test_tables_of_others(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\ufeffX,Y,T,ID,parent\n1,2,0,5,0\n1,3,1,5,0\n4,4,2,6,5\n", encoding="utf-8")
    found = read_track_table(path)
    assert found.spans == {5: (0, 1), 6: (2, 2)}
    assert found.parents == {6: (5,)}
    assert found.places.tolist() == [[2, 1], [3, 1], [4, 4]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "is not a track table: it has a, b"),
        ("", "it has no line"),
        ("track_id,t,y,x\n1,0,1,x\n", "line 2 of .* Expected integers for track and frame"),
        ("track_id,t,y,x\n1,0.5,1,1\n", "line 2"),
        ("track_id,t,y,x\n1,0,1,1\n1,0,2,2\n", "track 1 is twice on frame 0"),
        ("track_id,t,y,x,parent_id\n1,0,1,1,\n2,1,1,1,1\n2,2,1,1,\n", "track 2 has the parents"),
        ("track_id,t,y,x,parent_id\n1,0,1,1,2\n2,0,1,1,\n", "the parent 2 is still present"),
    ],
)
def test_tables_that_cannot_be_read_are_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(TrackError, match=message):
        read_tracks(tmp_path / "t.csv")
    with pytest.raises(TrackError, match="cannot be read"):
        read_tracks(tmp_path / "none.csv")


# ------------------------------------------------------------ tables of objects, the command


def test_parents_come_from_the_table_of_objects(tmp_path: Path) -> None:
    table = ObjectTable({(2, ""): {"parent": 1.0}, (3, ""): {"parent": "1"}, (4, ""): {"score": 1}})
    path = export_labels(dividing(), tmp_path / "t.geff", table=table)
    assert read_tracks(path).tracks.parents == PARENTS
    wrong = ObjectTable({(2, ""): {"parent": "mother"}})
    with pytest.raises(TrackError, match="the parent of label 2 is 'mother' in the table"):
        export_labels(dividing(), tmp_path / "u.geff", table=wrong)


def test_the_command_writes_and_converts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "labels.npy", dividing())
    (tmp_path / "objects.csv").write_text("id,parent\n2,1\n3,1\n")
    folder, graph, table, zarr = (
        tmp_path / name for name in ("01_RES", "t.geff", "l.tracks.csv", "l.zarr")
    )
    start = ["export", str(tmp_path / "labels.npy"), "--table", str(tmp_path / "objects.csv")]
    assert main([*start, "-o", str(folder)]) == 0
    assert capsys.readouterr().out == f"ctc: {folder}\n"
    expected = read_tracks(folder).tracks
    assert expected.parents == PARENTS
    for path in (graph, table):
        assert main(["export", str(folder), "-o", str(path)]) == 0
        same(read_tracks(path).tracks, expected)
    assert main(["export", str(folder), "-o", str(zarr)]) == 0
    image = open_image(zarr)
    assert image.axes.names == ("t", "y", "x")
    # Parents are among the properties of the labels there, so that they come along.
    assert main(["export", str(zarr), "-o", str(tmp_path / "again.geff")]) == 0
    same(read_tracks(tmp_path / "again.geff").tracks, expected)
    (tmp_path / "objects.csv").write_text("id,parent\n1,2\n")
    assert main([*start, "-o", str(tmp_path / "02_RES")]) == 2
    assert "the parent 2 begins on frame 3" in capsys.readouterr().err


def test_graphs_need_a_library_that_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "geff", None)
    with pytest.raises(ExportError, match=r"pip install 'napari-sam3\[tracks\]'"):
        export_labels(dividing(), tmp_path / "t.geff")


@QUICK
@given(st.integers(1, 4), st.integers(1, 3))
def test_ids_of_graphs_are_those_of_labels(first: int, step: int) -> None:
    """However they are numbered, and though nodes are numbered otherwise."""
    labels = dividing().astype(np.int64)
    labels[labels > 0] = labels[labels > 0] * step + first
    assert set(tracks_of(labels).spans) == {one * step + first for one in (1, 2, 3, 4, 7)}
