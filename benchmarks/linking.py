"""Objects found on every plane of a stack, before and after linking, against the true objects.

`python -m benchmarks.linking --stacks stacks` finds all objects of the held-out stacks plane by
plane with the embedded model, as a batch does, and links them. An object is found if the IoU of its
voxels with one of ours is above 0.5. Objects of fewer than 5 planes or 200 voxels are not counted,
nor is what lies on them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.automatic import Matched, match_labels
from benchmarks.stacks import Stack, read_stacks
from napari_sam3.batch import Automatic, segment
from napari_sam3.images.lazy import open_image
from napari_sam3.labels.linking import LinkSettings, link_labels

__all__ = ["apart", "find_planes", "main", "match_objects"]

Labels = npt.NDArray[np.integer]


@dataclass(frozen=True)
class _Measured:
    stack: Stack
    before: Matched
    after: Matched


def find_planes(stack: Stack, output: Path, model: str = "tiny") -> Labels:
    """Find all objects of each plane, by a batch that resumes; return its labels."""
    for _ in segment(stack.image, Automatic(), model, output=output, rgb=False):
        pass
    with closing(open_image(output)) as image:
        return np.asarray((image.data[0] if image.multiscale else image.data)[:])


def apart(labels: Labels) -> Labels:
    """Give each label of each plane an id of its own, so that no object has two planes."""
    ids = np.zeros(labels.shape, np.int64)
    first = 0
    for plane, source in zip(ids, labels, strict=True):
        present, places = np.unique(source, return_inverse=True)
        numbers = np.where(present > 0, first + np.cumsum(present > 0), 0)
        plane[...] = numbers[places].reshape(plane.shape)
        first += int(np.count_nonzero(present))
    return ids


def match_objects(truth: Labels, objects: tuple[int, ...], labels: Labels) -> Matched:
    """Match objects by the IoU of their voxels.

    Parameters
    ----------
    truth, labels : ndarray of integers, planes x rows x columns
    objects : tuple of int
        True labels that count. What lies for the most part on others is left out.
    """
    counted = np.isin(truth, objects)
    present, places = np.unique(labels, return_inverse=True)
    places = places.reshape(labels.shape)
    sizes = np.bincount(places.ravel(), minlength=len(present))
    on_others = np.bincount(places[(truth > 0) & ~counted], minlength=len(present))
    kept = np.where(on_others > 0.5 * sizes, 0, present)
    return match_labels(np.where(counted, truth, 0), kept[places])


def main(argv: list[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stacks", type=Path, required=True, help="folder of npz of stacks")
    parser.add_argument("--side", choices=("train", "validation"), default="validation")
    parser.add_argument("--sets", nargs="+", default=[], help="only these sets")
    parser.add_argument("--keep", type=Path, help="folder of what was found; resumes there")
    parser.add_argument("--model", default="tiny", help="weights file, or tiny")
    for one in fields(LinkSettings):
        option = f"--{one.name.replace('_', '-')}"
        parser.add_argument(option, type=type(one.default), default=one.default)
    arguments = parser.parse_args(argv)
    settings = LinkSettings(arguments.min_iou, arguments.gap, arguments.min_planes)
    with TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        rows = []
        for row in _measure(arguments, folder, settings):
            rows.append(row)
            print(_line(f"{row.stack.domain} {row.stack.name}", [row]), flush=True)
    print("| set | stacks | true | found, planes | found, linked | F1, planes | F1, linked |")
    print("|---" * 7 + "|")
    for name in dict.fromkeys(row.stack.domain for row in rows):
        print(_line(name, [row for row in rows if row.stack.domain == name]))


def _measure(
    arguments: argparse.Namespace, folder: Path, settings: LinkSettings
) -> Iterator[_Measured]:
    for stack in read_stacks(arguments.stacks, arguments.side):
        if arguments.sets and stack.domain not in arguments.sets:
            continue
        output = folder / f"{stack.domain}-{stack.name}.zarr"
        planes = apart(find_planes(stack, output, arguments.model))
        ours: dict[str, Any] = {"before": planes, "after": link_labels(planes, settings)}
        yield _Measured(
            stack,
            **{name: match_objects(stack.labels, stack.objects, one) for name, one in ours.items()},
        )


def _line(name: str, rows: list[_Measured]) -> str:
    """Return a row of the table; F1 of all objects together."""
    before, after = (_together(getattr(row, side) for row in rows) for side in ("before", "after"))
    return (
        f"| {name} | {len(rows)} | {before.true} | {before.found} | {after.found} | "
        f"{before.f1:.2f} | {after.f1:.2f} |"
    )


def _together(matched: Iterator[Matched]) -> Matched:
    hits, true, found, iou = np.array(
        [(one.hits, one.true, one.found, one.iou) for one in matched]
    ).sum(axis=0)
    return Matched(int(hits), int(true), int(found), float(iou))


if __name__ == "__main__":
    main()
