"""Folders of the Cell Tracking Challenge: one mask per frame, and a text file of tracks.

    result         01_RES/  mask000.tif ...              res_track.txt     L B E P per track:
    ground truth   01_GT/TRA/  man_track000.tif ...      man_track.txt     id, first and last frame,
                   01_GT/SEG/  man_seg000.tif ...                          parent or 0

The format has no gaps: an object that reappears after a gap is written as a new track whose parent
is the track before the gap. `read_ctc` joins them again.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_sam3.core.tracks import Span, TrackError, Tracks
from napari_sam3.labels.output_files import ExportError, already_exists, cannot_write
from sam3.errors import ImageError

from .measuring import frame_of, tracks_of

__all__ = ["CtcKind", "is_ctc", "read_ctc", "write_ctc"]

CtcKind = Literal["result", "truth"]
_NAMES = {"result": ("mask", "res_track.txt"), "truth": ("man_track", "man_track.txt")}
_OURS = re.compile(r"(mask|man_track|man_seg)\d+\.tif|(res|man)_track\.txt")
# py-ctcmetrics adds the ids of both images in 16 bits, and loses matches above this id.
_MOST_16_BIT = 32767


@dataclass(frozen=True)
class CtcTrack:
    """One line of the text file."""

    track: int
    begin: int
    end: int
    parent: int


def write_ctc(
    path: str | os.PathLike[str],
    labels: Any,
    *,
    axis: int = 0,
    parents: Mapping[int, int | Sequence[int]] | None = None,
    kind: CtcKind = "result",
    overwrite: bool = False,
) -> Path:
    """Write a label image through time for the Cell Tracking Challenge.

    Parameters
    ----------
    path : str or path-like
        Folder to write, such as ``01_RES``; of the ground truth ``01_GT``, in which the folders
        TRA and SEG are made.
    labels : array-like of integers, T x (Z x) H x W
        Read a frame at a time. Tracks are numbered from 1.
    axis : int
        The time axis.
    parents : mapping of int to int or sequence of int, optional
        The parent of each label that has one.
    kind : {"result", "truth"}
        Names of the files.
    overwrite : bool
        Replace the files of this format in an existing folder.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    TrackError
        If there is no object, the parents contradict the labels, or a track has two parents.
    ExportError
        If the folder is there already, holds other files, or cannot be written.
    """
    tracks = tracks_of(labels, axis, parents)
    if not len(tracks.ids):
        raise TrackError(
            "the labels hold no object, so there is no track to write. Expected at least one. "
            "Accept an object first."
        )
    lines, numbers = _number(tracks)
    prefix, text = _NAMES[kind]
    folder = Path(path)
    with _replacing(folder, overwrite) as partial:
        place = partial / "TRA" if kind == "truth" else partial
        place.mkdir(exist_ok=True)
        _write_masks(place / prefix, labels, axis, numbers, len(lines))
        content = "\n".join(f"{a.track} {a.begin} {a.end} {a.parent}" for a in lines) + "\n"
        (place / text).write_text(content, encoding="ascii", newline="\n")
        if kind == "truth":
            (partial / "SEG").mkdir()
            for mask in sorted(place.glob("*.tif")):
                name = mask.name.replace("man_track", "man_seg")
                shutil.copyfile(mask, partial / "SEG" / name)
    return folder


def is_ctc(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a folder of masks and tracks, or its text file."""
    try:
        _text_of(Path(path))
    except ImageError:
        return False
    return True


def read_ctc(path: str | os.PathLike[str]) -> tuple[npt.NDArray[Any], dict[int, tuple[int, ...]]]:
    """Read the labels and parents of a sequence of the Cell Tracking Challenge.

    Parameters
    ----------
    path : str or path-like
        The folder (``01_RES``, ``01_GT`` or ``01_GT/TRA``), or the text file in it. Frames are
        ordered by the numbers in their names.

    Returns
    -------
    labels : ndarray, T x (Z x) H x W
        An object has one label before and after a gap.
    parents : dict
        The parent of each label that has one.

    Raises
    ------
    sam3.errors.ImageError
        If the folder has another format, or its masks cannot be read.
    TrackError
        If the text file contradicts the masks or itself.
    """
    text = _text_of(Path(path))
    prefix = "mask" if text.name == "res_track.txt" else "man_track"
    lines = _parse(text)
    labels = _read_masks(text.parent, prefix)
    measured = tracks_of(labels)
    _compare(text, lines, measured)
    joined, parents = _join_gaps(lines)
    if joined:
        known = np.unique(labels)
        new = np.array([joined.get(int(label), int(label)) for label in known], labels.dtype)
        labels = new[np.searchsorted(known, labels)]
    return labels, parents


# --------------------------------------------------------------------- writing


def _number(tracks: Tracks) -> tuple[list[CtcTrack], dict[tuple[int, int], int]]:
    """Give numbers to the runs of tracks from 1, and return them by label and first frame."""
    runs = tracks.runs()
    order = [(label, spans[0]) for label, spans in sorted(runs.items())]
    order += sorted(
        ((label, span) for label, spans in runs.items() for span in spans[1:]),
        key=lambda one: (one[1], one[0]),
    )
    numbers = {(label, span[0]): number for number, (label, span) in enumerate(order, 1)}
    lines = []
    for label, span in order:
        before = [one for one in runs[label] if one[1] < span[0]]
        parent = numbers[label, before[-1][0]] if before else 0
        several = tracks.parents.get(label, ()) if not before else ()
        if len(several) > 1:
            raise TrackError(
                f"track {label} has the parents {', '.join(map(str, several))}. Expected one: the "
                "Cell Tracking Challenge has no merging of tracks. Remove a link, or write GEFF."
            )
        for one in several:
            parent = numbers[one, runs[one][-1][0]]
        lines.append(CtcTrack(numbers[label, span[0]], span[0], span[1], parent))
    return lines, numbers


def _write_masks(
    prefix: Path, labels: Any, axis: int, numbers: Mapping[tuple[int, int], int], count: int
) -> None:
    import tifffile

    frames = int(labels.shape[axis])
    digits = max(3, len(str(frames - 1)))
    dtype = np.uint16 if count <= _MOST_16_BIT else np.uint32
    # The number of a label changes at the start of each run.
    begins: dict[int, list[tuple[int, int]]] = {}
    for (label, begin), number in numbers.items():
        begins.setdefault(begin, []).append((label, number))
    now: dict[int, int] = {}
    for at in range(frames):
        now.update(begins.get(at, ()))
        frame = frame_of(labels, axis, at)
        known = np.unique(frame)
        new = np.array([now[int(one)] if one else 0 for one in known], dtype)
        mask = new[np.searchsorted(known, frame)]
        mask = mask.reshape([n for n in mask.shape[:-2] if n > 1] + list(mask.shape[-2:]))
        tifffile.imwrite(
            prefix.with_name(f"{prefix.name}{at:0{digits}d}.tif"),
            mask,
            compression="zlib",
            photometric="minisblack",
            metadata=None,
        )


@contextmanager
def _replacing(folder: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder that replaces an empty folder or one of this format."""
    inside = [one for one in folder.rglob("*") if not one.is_dir()] if folder.is_dir() else []
    if folder.exists() and not folder.is_dir():
        raise ExportError(
            f"{str(folder)!r} is a file. Expected a folder or a new name. Choose another one."
        )
    if inside and not overwrite:
        raise already_exists(folder)
    other = next((one for one in inside if not _OURS.fullmatch(one.name)), None)
    if other is not None:
        raise ExportError(
            f"{str(folder)!r} holds {other.name!r}, which is not a track file. Expected track "
            "files only, since they are overwritten. Choose another folder."
        )
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)
    except OSError as error:
        if isinstance(error, ExportError):
            raise
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


# --------------------------------------------------------------------- reading


def _text_of(path: Path) -> Path:
    names = [text for _, text in _NAMES.values()]
    if path.is_file() and path.name in names:
        return path
    for folder in (path, path / "TRA"):
        found = [folder / name for name in names if (folder / name).is_file()]
        if found:
            return found[0]
    raise ImageError(
        f"{str(path)!r} is not a sequence of the Cell Tracking Challenge: it has no "
        f"{' or '.join(names)}. Expected a folder such as 01_RES or 01_GT/TRA. Choose another "
        "folder."
    )


def _parse(text: Path) -> list[CtcTrack]:
    lines = []
    for number, line in enumerate(text.read_text(encoding="utf-8-sig").splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 4 or not all(re.fullmatch(r"\d+", part) for part in parts):
            raise TrackError(
                f"line {number} of {str(text)!r} is {line!r}. Expected four whole numbers: track, "
                "first frame, last frame, parent. Correct the line."
            )
        track, begin, end, parent = map(int, parts)
        # btrack writes the own id as the parent of a track without one.
        lines.append(CtcTrack(track, begin, end, 0 if parent == track else parent))
    twice = [track for track, count in Counter(line.track for line in lines).items() if count > 1]
    if twice:
        raise TrackError(
            f"track {twice[0]} has two lines in {str(text)!r}. Expected one line per track. "
            "Renumber the tracks."
        )
    return lines


def _read_masks(folder: Path, prefix: str) -> npt.NDArray[Any]:
    import tifffile

    named = re.compile(rf"{prefix}(\d+)\.tiff?", re.IGNORECASE)
    found = {int(match[1]): one for one in folder.iterdir() if (match := named.fullmatch(one.name))}
    if sorted(found) != list(range(len(found))) or not found:
        missing = next((at for at in range(max(found, default=0)) if at not in found), 0)
        raise ImageError(
            f"{str(folder)!r} has no mask of frame {missing}. Expected {prefix}000.tif and so on "
            "without gaps. Add the missing file."
        )
    try:
        masks = [tifffile.imread(found[at]) for at in range(len(found))]
    except Exception as error:  # tifffile raises many kinds for damaged files
        raise ImageError(
            f"a mask in {str(folder)!r} cannot be read: {error}. Expected TIFF files. Check the "
            "files."
        ) from error
    shapes = {mask.shape for mask in masks}
    if len(shapes) > 1:
        raise ImageError(
            f"the masks in {str(folder)!r} have several shapes: {sorted(shapes)}. Expected one. "
            "Check the files."
        )
    return np.stack(masks)


def _compare(text: Path, lines: Sequence[CtcTrack], measured: Tracks) -> None:
    """Raise TrackError if the text file contradicts the masks."""
    spans: dict[int, Span] = {line.track: (line.begin, line.end) for line in lines}
    seen = measured.spans
    for track in sorted(spans.keys() | seen.keys()):
        if spans.get(track) != seen.get(track):
            raise TrackError(
                f"track {track} is on frames {_frames(seen.get(track))} in the masks and on "
                f"{_frames(spans.get(track))} in {str(text)!r}. Expected the same. Correct "
                "the text file."
            )
    parents = {line.track: (line.parent,) for line in lines if line.parent}
    Tracks.of(measured.ids, measured.frames, measured.places, parents=parents)


def _frames(span: Span | None) -> str:
    return "none" if span is None else f"{span[0]} to {span[1]}"


def _join_gaps(lines: Sequence[CtcTrack]) -> tuple[dict[int, int], dict[int, tuple[int, ...]]]:
    """Return the first track of each track that continues one after a gap, and the parents."""
    children: dict[int, list[CtcTrack]] = {}
    for line in lines:
        if line.parent:
            children.setdefault(line.parent, []).append(line)
    ends = {line.track: line.end for line in lines}
    joined: dict[int, int] = {}
    parents: dict[int, tuple[int, ...]] = {}
    for line in sorted(lines, key=lambda one: one.begin):
        if not line.parent:
            continue
        first = joined.get(line.parent, line.parent)
        if len(children[line.parent]) == 1 and line.begin > ends[line.parent] + 1:
            joined[line.track] = first
        else:
            parents[line.track] = (first,)
    return joined, parents
