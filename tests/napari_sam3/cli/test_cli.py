"""The command line, run as a user runs it."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import skimage.io
import tifffile

from napari_sam3.cli.main import main
from napari_sam3.labels.ome_zarr import create_labels
from napari_sam3.session.headless import Prompt, group_prompts
from sam3.errors import PromptError

# Places on skimage's coins, in px: (x, y) in the middle of two coins, and a box around one.
COIN, OTHER_COIN = "154,127", "336,125"
COIN_BOX = "130,106,178,149"


@pytest.fixture(scope="module")
def coins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("coins") / "coins.png"
    skimage.io.imsave(path, skimage.data.coins())
    return path


def fails(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """Run a command that ends with the code for bad input; return its one line of complaint."""
    try:
        code = main([str(argument) for argument in argv])
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("napari-sam3 ")
    return err


def test_two_clicks_and_a_box_become_three_labels(
    coins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, table = tmp_path / "labels.tif", tmp_path / "objects.csv"
    prompts = ["--point", COIN, "--point", "154,160,0", "--point", OTHER_COIN]
    prompts += ["--box", "188,26,247,77"]
    code = main(["segment", str(coins), *prompts, "-o", str(labels), "--table", str(table)])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    written = tifffile.imread(labels)
    assert written.shape == skimage.data.coins().shape
    assert written.dtype == np.uint16
    assert written[127, 154] == 1
    assert written[125, 336] == 2
    assert set(np.unique(written)) == {0, 1, 2, 3}
    assert len(table.read_text().splitlines()) == 4
    assert str(np.count_nonzero(written == 2)) in out


def test_one_plane_of_a_stack(tmp_path: Path) -> None:
    stack = np.stack([np.zeros_like(skimage.data.coins()), skimage.data.coins()])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    labels = tmp_path / "labels.tif"
    argv = ["segment", str(tmp_path / "stack.tif"), "--plane", "1", "--box", COIN_BOX]
    assert main([*argv, "-o", str(labels)]) == 0
    written = tifffile.imread(labels)
    assert written.shape == stack.shape
    assert not written[0].any()
    assert written[1, 127, 154] == 1


@pytest.mark.parametrize(
    ("prompt", "complaint"),
    [
        (["--point", "12"], "--point '12' cannot be read. Expected X,Y"),
        (["--point", "12,13,2"], "--point '12,13,2' cannot be read"),
        (["--point", "a,b"], "--point 'a,b' cannot be read"),
        (["--box", "1,2,3"], "--box '1,2,3' cannot be read. Expected X0,Y0,X1,Y1"),
        (["--box", "5,5,5,40"], "too small"),
        (["--point", "nan,4"], "finite numbers"),
        (["--point", "900,4"], "row 4.0, column 900.0 lies outside the image"),
        (["--point", "9,4,0"], "comes before any object"),
        ([], "no prompt"),
        (["--point", "9,4", "--plane", "2"], "a single plane"),
        (["--point", "9,4", "--plane", "x"], "'x' is not a plane"),
        (["--point", "9,4", "--model", "/no/weights.pt"], "/no/weights.pt"),
        (["--point", "9,4", "--device", "abacus"], "abacus"),
    ],
)
def test_bad_input_is_one_line_that_names_it(
    coins: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    prompt: list[str],
    complaint: str,
) -> None:
    assert complaint in fails(capsys, "segment", coins, *prompt, "-o", tmp_path / "labels.tif")
    assert list(tmp_path.iterdir()) == []


def test_images_and_tables_are_never_replaced_by_outputs(
    coins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, table = tmp_path / "labels.tif", tmp_path / "clicks.csv"
    table.write_text("x,y\n154,127\n")
    tifffile.imwrite(labels, np.eye(9, dtype=np.uint8))
    create_labels(tmp_path / "group.zarr", (9, 9), np.uint8)
    inner = tmp_path / "group.zarr" / "0"
    before = [path.read_bytes() for path in (coins, labels, table)]
    prompt = ["--point", COIN, "-o"]
    for argv, complaint in (
        (["segment", coins, *prompt, coins], "--output and IMAGE"),
        (["segment", coins, *prompt, labels, "--table", labels], "--table and --output"),
        (["segment", coins, "--prompts", table, "-o", labels, "--table", table], "--prompts"),
        (["segment", inner, *prompt, tmp_path / "group.zarr"], "holds IMAGE"),
        (["export", labels, "-o", labels], "--output and LABELS"),
        (["export", labels, "-o", coins, "--image", coins], "--output and --image"),
        (["export", labels, "-o", table, "--table", table], "--output and --table"),
        (["replay", coins, table, "-o", coins], "--output and IMAGE"),
        (["replay", coins, table, "-o", labels, "--labels", labels], "--output and --labels"),
    ):
        assert complaint in fails(capsys, *argv, "--overwrite")
        assert [path.read_bytes() for path in (coins, labels, table)] == before
    assert "--output and IMAGE" in fails(capsys, "precompute", coins, "-o", coins)


def test_values_that_begin_with_a_minus_are_explained(
    coins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["-o", tmp_path / "labels.tif"]
    assert "--box=VALUE" in fails(capsys, "segment", coins, "--box", "-2,-2,30,30", *output)
    assert main(["segment", str(coins), "--box=-2,-2,30,30", *map(str, output)]) == 0


def test_files_that_cannot_be_used_are_named(
    coins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = tmp_path / "note.tif"
    note.write_text("no pixels")
    cut = tmp_path / "cut.png"
    cut.write_bytes(coins.read_bytes()[:4000])
    blank = tmp_path / "blank.tif"
    tifffile.imwrite(blank, np.full((50, 60), np.nan, np.float32))
    prompt = ["--point", COIN, "-o"]
    assert "truncated" in fails(capsys, "segment", cut, *prompt, tmp_path / "labels.tif")
    assert "NaN" in fails(capsys, "segment", blank, *prompt, tmp_path / "labels.tif")
    assert "note.tif" in fails(capsys, "segment", note, *prompt, tmp_path / "labels.tif")
    assert "exists already" in fails(capsys, "segment", coins, *prompt, note)
    assert "cannot be written to" in fails(capsys, "segment", coins, *prompt, note / "labels.tif")


def test_grouping_of_prompts() -> None:
    click, background = Prompt("point", (5, 6)), Prompt("point", (9, 9), 0)
    box = Prompt("box", (1, 2, 30, 40))
    first, second = group_prompts([click, background, box])
    assert (first.points, first.labels, first.box) == (((5, 6), (9, 9)), (1, 0), None)
    assert (second.points, second.box) == ((), (1, 2, 30, 40))
    (together,) = group_prompts([background, click, box], one_object=True)
    assert (together.labels, together.box) == ((0, 1), (1, 2, 30, 40))
    with pytest.raises(PromptError, match="2 boxes"):
        group_prompts([box, box], one_object=True)
    with pytest.raises(PromptError, match="background click"):
        group_prompts([background], one_object=True)
