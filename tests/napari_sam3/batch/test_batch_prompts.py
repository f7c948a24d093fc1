"""Prompts of many planes: tables read strictly, layers read whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sam3.batch import BatchPrompts, prompts_from_layers, read_prompts, write_prompts
from napari_sam3.core.prompts import PromptSet
from sam3.errors import PromptError

GOOD = """\
t, z, object, x, y, polarity, x0, y0, x1, y1
0, 3, 7, 10.5, 20, , , , ,
0, 3, 7, 12, 21, background, , , ,
0, 3, 2, , , , 1, 2, 30, 40
1, 0, 7, 5, 6, 1, , , ,
"""


def table(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_gives_the_objects_of_each_plane(tmp_path: Path) -> None:
    prompts = read_prompts(table(tmp_path, GOOD), ("t", "z"))
    assert prompts.planes == {
        (0, 3): {
            2: PromptSet(box=(1, 2, 30, 40)),
            7: PromptSet(((10.5, 20), (12, 21)), (1, 0)),
        },
        (1, 0): {7: PromptSet(((5, 6),), (1,))},
    }
    assert prompts.objects == (2, 7)


def test_planes_stand_together_or_under_the_names_of_axes(tmp_path: Path) -> None:
    same = [
        ("plane,x,y\n0 3,1,2\n", "csv"),
        ("axis-0,axis-1,x,y\n0,3,1,2\n", "csv"),
        ("\ufefft,z,x,y\n0,3,1,2\n", "csv"),  # as spreadsheets write it
        ('[{"plane": [0, 3], "x": 1, "y": 2}]', "json"),
        ('[{"t": 0, "z": 3, "x": 1, "y": 2, "polarity": true}]', "json"),
    ]
    for text, suffix in same:
        found = read_prompts(table(tmp_path, text, f"table.{suffix}"), ("t", "z"))
        assert found.planes == {(0, 3): {1: PromptSet(((1.0, 2.0),), (1,))}}, text


def test_without_ids_boxes_and_foreground_clicks_start_objects(tmp_path: Path) -> None:
    text = "plane,object,x,y,polarity\n0,,1,1,1\n0,,2,2,0\n1,2,5,5,1\n1,,6,6,1\n0,,7,7,foreground\n"
    found = read_prompts(table(tmp_path, text), 1).planes
    assert found[0,] == {1: PromptSet(((1, 1), (2, 2)), (1, 0)), 4: PromptSet(((7, 7),), (1,))}
    assert found[1,] == {2: PromptSet(((5, 5),), (1,)), 3: PromptSet(((6, 6),), (1,))}


@pytest.mark.parametrize(
    "header", ["t,z,object,x,y", "T, Z, Object, X, Y", "AXIS-0,Axis-1,OBJECT,x,Y"]
)
def test_headers_are_known_in_any_case(header: str, tmp_path: Path) -> None:
    found = read_prompts(table(tmp_path, f"{header}\n1,2,3,4,5\n"), ("t", "z")).planes
    assert found == {(1, 2): {3: PromptSet(((4, 5),), (1,))}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plane,x,y\n0,1,2\n", r"line 2: plane is '0'. Expected 2 number\(s\) \(t z\)"),
        ("t,z,x,y\n0,1.5,1,2\n", r"line 2: z is '1.5'. Expected a whole number"),
        ("t,x,y\n0,1,2\n", r"line 2 has no 'z'. Expected the plane as t z"),
        ("t,z,x,y\n0,1,nan,2\n", r"line 2: x is 'nan'. Expected a number"),
        ("t,z,x\n0,1,3\n", r"line 2 has x 3. Expected a click .* or a box"),
        ("t,z,x,y,x0,y0,x1,y1\n0,1,3,4,1,1,9,9\n", r"line 2 has x 3, y 4, x0 1"),
        ("t,z,x0,y0,x1,y1\n0,1,3,4,3,9\n", r"line 2: the box of 0.0 x 5.0 px is too small"),
        ("t,z,x,y,polarity\n0,1,3,4,maybe\n", r"line 2: invalid polarity: 'maybe'"),
        ("t,z,object,x,y\n0,1,0,3,4\n", r"line 2: object is 0. Expected a number from 1"),
        ("t,z,object,x,y\n0,1,cell,3,4\n", r"line 2: object is 'cell'. Expected a whole number"),
        ("t,z,x,y,colour\n0,1,3,4,red\n", r"line 2 has the unknown column 'colour'"),
        ("t,z,x,y\n0,1,3\n", r"line 2 has 3 values. Expected 4: t, z, x, y"),
        ("t,t,x,y\n0,1,3,4\n", r"line 1: a column comes twice"),
        ("t,z,x,y\n", r"holds no prompt"),
        ("t,z,x,y,polarity\n0,1,3,4,0\n", r"line 2: a background click comes before any object"),
        ("t,z,object,x,y,polarity\n0,1,5,3,4,0\n", r"object 5 on plane 0 1 has background clicks"),
        (
            "t,z,object,x0,y0,x1,y1\n0,1,5,1,1,9,9\n0,1,5,2,2,8,8\n",
            r"line 3: object 5 has a second box on plane 0 1",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_line(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(PromptError, match=message):
        read_prompts(table(tmp_path, text), ("t", "z"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("{}", "Expected a list of prompts"),
        ("[3]", "prompt 1 is 3"),
        ('[{"x": true, "y": 1}]', "prompt 1: x is True. Expected a number"),
        ('[{"box": [1, 2, 3]}]', r"prompt 1: box is \[1, 2, 3\]"),
        ('[{"outline": [[0, 0], [5, 5]]}]', "the outline has 2 corners"),
        ('[{"outline": "round"}]', r"invalid outline: 'round'"),
        ('[{"plane": 2, "x": 1, "y": 1}]', "Remove the column"),
    ],
)
def test_what_is_wrong_with_json_is_said_with_its_number(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(PromptError, match=message):
        read_prompts(table(tmp_path, text, "table.json"))


def test_semicolons_and_decimal_commas_of_excel_are_read(tmp_path: Path) -> None:
    excel = read_prompts(table(tmp_path, "object;x;y\n3;12,5;7\n"))
    assert excel == read_prompts(table(tmp_path, "object,x,y\n3,12.5,7\n"))


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    for name, message in (("a.xlsx", "Expected a .csv or .json"), ("no.csv", "cannot be read")):
        with pytest.raises(PromptError, match=message):
            read_prompts(tmp_path / name)
    square = PromptSet().with_outline([(0, 0), (9, 0), (9, 9)])
    with pytest.raises(PromptError, match="holds no outlines"):
        write_prompts(tmp_path / "a.csv", BatchPrompts({(): {1: square}}))
    assert not (tmp_path / "a.csv").exists()


numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))
clicks = st.lists(st.tuples(numbers, numbers, st.integers(0, 1)), max_size=4)
boxes = st.none() | st.tuples(numbers, numbers, st.floats(3, 99), st.floats(3, 99))


@st.composite
def prompt_sets(draw: Any) -> PromptSet:
    points, box = draw(clicks), draw(boxes)
    corners = None if box is None else (box[0], box[1], box[0] + box[2], box[1] + box[3])
    found = PromptSet(
        tuple((x, y) for x, y, _ in points), tuple(label for _, _, label in points), corners
    )
    return found if found.has_target else found.with_point(1.5, 2.5)


@given(
    planes=st.dictionaries(
        st.tuples(st.integers(0, 9), st.integers(0, 9)),
        st.dictionaries(st.integers(1, 2**32 - 1), prompt_sets(), min_size=1, max_size=3),
        min_size=1,
        max_size=3,
    ),
    suffix=st.sampled_from(["csv", "json"]),
    leading=st.sampled_from([(), ("t", "z")]),
)
def test_written_prompts_are_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory,
    planes: dict[tuple[int, ...], dict[int, PromptSet]],
    suffix: str,
    leading: tuple[str, ...],
) -> None:
    path = tmp_path_factory.mktemp("tables") / f"table.{suffix}"
    prompts = BatchPrompts(planes)
    write_prompts(path, prompts, leading)
    assert read_prompts(path, ("t", "z")) == prompts


def test_outlines_go_through_json(tmp_path: Path) -> None:
    prompts = BatchPrompts({(): {3: PromptSet().with_outline([(0, 0), (9, 0), (9, 9.5)])}})
    write_prompts(tmp_path / "a.json", prompts)
    assert json.loads((tmp_path / "a.json").read_text())[0]["object"] == 3
    assert read_prompts(tmp_path / "a.json") == prompts


def test_layers_of_a_stack_are_read_on_all_planes() -> None:
    points: Any = [[0, 10, 20], [0, 11, 21], [2.4, 5, 6], [2.5, 7, 8]]
    polarity: Any = ["foreground", "background", "foreground", True]
    square = [[1, 2, 3], [1, 2, 13], [1, 12, 13], [1, 12, 3]]
    line = [[1, 2, 3], [1, 9, 9]]
    found = prompts_from_layers(points, polarity, [square, line], ["rectangle", "line"], ndim=3)
    assert found.planes == {
        (0,): {2: PromptSet(((20, 10), (21, 11)), (1, 0))},
        (1,): {1: PromptSet(box=(3, 2, 13, 12))},
        # Half-way between planes, as napari slices: to the even one.
        (2,): {3: PromptSet(((6, 5),), (1,)), 4: PromptSet(((8, 7),), (1,))},
    }
    ids = prompts_from_layers(points, polarity, ndim=3, point_objects=[5, 5, 5, 0])
    assert {position: tuple(one) for position, one in ids.planes.items()} == {
        (0,): (5,),
        (2,): (1, 5),
    }
    with pytest.raises(PromptError, match="Expected finite numbers, N x 2"):
        prompts_from_layers(points, polarity, ndim=2)
    with pytest.raises(PromptError, match="4 points came with 1 polarities"):
        prompts_from_layers(points, [True], ndim=3)
    assert prompts_from_layers(ndim=4).is_empty


def test_prompts_have_to_lie_in_the_image() -> None:
    prompts = BatchPrompts({(2,): {4: PromptSet(((50.0, 3.0),), (1,))}})
    prompts.check_inside((3, 20, 60))
    with pytest.raises(PromptError, match=r"object 4 on plane 2: the click at row 3.0"):
        prompts.check_inside((3, 20, 40))
    with pytest.raises(PromptError, match=r"plane 2, which the image .* Expected 0 to 1"):
        prompts.check_inside((2, 20, 60))
    with pytest.raises(PromptError, match="Expected no plane number"):
        prompts.check_inside((20, 60))
    assert np.asarray(prompts.at([(0,)]).objects).size == 0
