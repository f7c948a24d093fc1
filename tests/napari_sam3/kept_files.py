"""Files of earlier versions and what they hold; as a program, it writes those of this version.

``python -m tests.napari_sam3.kept_files FOLDER`` writes them into a new folder. They are committed
under ``tests/napari_sam3/records/kept`` and never written again: they prove that old files open.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_sam3.batch import Automatic, BatchPrompts, EndRules, Mode, Placed, Propagate, segment
from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.fields import FieldOfView
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import LabelChange, LabelWrite, Operation
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import Rendering
from napari_sam3.images.identity import ImageIdentity
from napari_sam3.records.journal import Journal
from napari_sam3.records.packed import PackedWrite
from napari_sam3.records.session_file import write_session
from tests.napari_sam3.batch_samples import ANYTHING, small_predictor, stack

KEPT = Path(__file__).parent / "records" / "kept"
# The last letter is half of one, as names of files may have them on Linux.
IMAGE = ImageIdentity("Zellen 細胞 µm 🔬 \udcff", (3, 4, 60, 80), "uint16", "0f" * 16)
PLANE = PlaneIndex((2, 3), (1, 2))
BATCHES = ("placed", "carried", "automatic")
BATCH_PLANES = 3


def _object(label: int, **values: object) -> AcceptedObject:
    usual = AcceptedObject(
        id=label,
        plane=PLANE,
        bbox=(2, 3, 10, 12),
        area=40,
        score=0.1 + 0.2,
        draft=Draft(
            label,
            (
                Turn(PromptSet(((4.5, 5.0), (1e-7, 1 / 3)), (1, 0)), 2),
                Turn(
                    PromptSet(((4.5, 5.0),), (1,), (1.0, 2.25, 8.0, 9.0), ((1.0, 2.5), (8.0, 3.0)))
                ),
            ),
            PlaneMask(2, 3, np.eye(4, dtype=bool)),
            label,
        ),
        field=FieldOfView(-1, (0, 60), (3, 80), (0, 1), (5, 5)),
        candidate=2,
        level=None,
        typical_size=None,
        model="tiny",
        fingerprint="abc" * 10,
        precision="bfloat16",
        rendering=Rendering(("DAPI µ", "核"), ((-0.5, 1e22), (5e-324, 65535.0))),
        category='Kern "ä" \\ \u2028 🔬',
        time="2025-02-03T04:05:06+00:00",
    )
    return replace(usual, **values)  # type: ignore[arg-type]


def _write(dtype: str, row: int, *, packed: bool = False) -> LabelWrite:
    values = (np.arange(12).reshape(3, 4) * 9).astype(dtype)
    write = LabelWrite(PLANE, (slice(row, row + 3), slice(5, 9)), values)
    return PackedWrite.of(write) if packed else write


def operations() -> tuple[Operation, ...]:
    """Operations of every kind, with whatever the parts of one may hold."""
    clicked = _object(1)
    seeded = _object(
        1 << 31, draft=Draft(0, (), PlaneMask(0, 79, np.ones((5, 1), bool))), level=-2,
        typical_size=12.75, category="", rendering=Rendering(),
    )  # fmt: skip
    carried = _object(7, draft=Draft(0), area=0, bbox=(0, 0, 0, 0), score=-0.0)
    again = _object(1, score=1e-300, category="reopened")
    return (
        Operation("accept", PLANE, (clicked, seeded)),
        Operation("accept", PLANE, (again,), policy="overwrite"),  # the same label once more
        Operation("paint", PLANE, writes=(_write("int8", 0), _write("uint64", 9))),
        Operation("merge", PLANE, labels=(1, 1 << 31)),
        Operation("split", PLANE, labels=(1, 2, 3)),
        Operation("delete", PLANE, labels=(3,)),
        Operation(
            "batch", PLANE, (carried,), policy="inside", writes=(_write("uint16", 4, packed=True),)
        ),
        *(
            Operation("delete", plane, labels=(5,))
            for plane in (PlaneIndex(), PlaneIndex((0, 2), (7,)), "名 \udc80", -3, (0, -1))
        ),
    )


def changes() -> tuple[LabelChange, ...]:
    """The operations done, the last but one undone, done again, and undone with the last."""
    done = operations()
    last, before = done[2], done[1]
    pixels = (_write("int32", 20),)
    return (
        LabelChange(done[0], "do", pixels),
        LabelChange(before, "do", pixels),
        LabelChange(before, "undo", (_write("uint8", 20),)),
        LabelChange(before, "redo", pixels),
        LabelChange(last, "do", last.writes),  # its pixels stand in the file once
        LabelChange(last, "undo", pixels),
        *(LabelChange(operation, "do", pixels) for operation in done[3:]),
    )


def question(name: str) -> Mode:
    """What a batch was asked."""
    first = PromptSet(
        box=(8.125, 8.0, 33.0, 32.0), outline=((8.125, 8.0), (33.0, 32.0), (8.5, 32.0))
    )
    second = PromptSet(((55.0, 34.1), (20.0, 1 / 3)), (1, 0))
    if name == "automatic":
        return Automatic(ANYTHING, tile=48)
    prompts = BatchPrompts({(0,): {1: first, 4: second}, (2,): {1: first.with_point(25, 20)}})
    if name == "placed":
        return Placed(prompts)
    # As earlier versions named and wrote it.
    rules = {"min_score": 0, "max_change": 1e9, "min_overlap": 0, "min_area": 1}
    return Propagate(prompts, rules=EndRules.from_json(rules))


def main(folder: Path) -> None:
    """Write one file of each kind."""
    folder.mkdir(parents=True)
    write_session(folder / "session.json", operations(), IMAGE, start="given 細胞")
    write_session(folder / "session.json.gz", operations(), IMAGE)
    with tempfile.TemporaryDirectory() as aside:
        journal = Journal(IMAGE, IMAGE.shape, np.int32, start="given 細胞", folder=aside)
        for change in changes():
            journal.append(change)
        journal.close()
        shutil.copy(journal.path, folder / "labels.journal")
    predictor = small_predictor()
    for name in BATCHES:
        for result in segment(
            stack(BATCH_PLANES), question(name), predictor, output=folder / f"{name}.ome.zarr"
        ):
            assert not result.error


if __name__ == "__main__":
    main(Path(sys.argv[1]))
