"""Output of a batch: labels as OME-Zarr, and a folder with its manifest and records."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam3.core.axes import ImageAxes
from napari_sam3.images.identity import join_blocks
from napari_sam3.labels.ome_zarr import LabelImage, create_labels, open_labels
from napari_sam3.labels.output_files import check_place
from napari_sam3.records.locks import try_hold
from napari_sam3.records.strict import parse
from sam3.files import read_bounded, write_whole

from .modes import of_another_version, present_mode
from .prompts import Position
from .results import BatchError
from .unit_records import Painted, Records, name_of

__all__ = ["BatchFolder", "folder_beside"]

FORMAT = "napari-sam3 batch"
VERSION = 1
CHUNK = 1024
# A manifest holds all prompts of a batch.
MAX_MANIFEST_BYTES = 1 << 29


def folder_beside(output: str | os.PathLike[str]) -> Path:
    """Return the folder of manifest and records for an output."""
    path = Path(output)
    return path.with_name(f"{path.name}.batch")


class BatchFolder:
    """The output of one batch, new or resumed.

    Parameters
    ----------
    output : path-like, optional
        Folder of the labels. Without one, no labels are written, and records are kept in a
        temporary folder during the batch, which bounds the memory.
    question : mapping
        All that results depend on, as JSON values under ``image``, ``model``, ``mode`` and others.
    shape : sequence of int
        Shape of the labels.
    axes : ImageAxes
        Axes of the image.
    version : str, optional
        OME-Zarr version.
    overwrite : bool
        Replace an existing output.

    Attributes
    ----------
    records : Records
        Records of finished units.
    resumed : bool
        Whether an earlier run is being resumed.

    Raises
    ------
    BatchError
        If the output belongs to another batch, is in use by another process, or cannot be written.
    sam3.errors.Sam3Error
        If the labels cannot be created or opened.
    """

    def __init__(
        self,
        output: str | os.PathLike[str] | None,
        question: Mapping[str, Any],
        shape: Sequence[int],
        axes: ImageAxes,
        *,
        version: str | None = None,
        overwrite: bool = False,
    ) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._lock: int | None = None
        self.resumed = False
        self.output = None if output is None else Path(output)
        if self.output is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="napari-sam3-batch-")
            self.path = Path(self._temporary.name)
            self.records = Records(self.path)
            return
        self.path = folder_beside(self.output)
        self.records = Records(self.path)
        try:
            self._open(question, shape, axes, version, overwrite)
        except BaseException:
            self.close()
            raise

    @property
    def manifest(self) -> Path:
        """File with the question of the batch."""
        return self.path / "manifest.json"

    def close(self) -> None:
        """Release the output to other processes."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._temporary is not None:
            self._temporary.cleanup()

    def finish(self, positions: Sequence[Position]) -> None:
        """Compute the coarser levels and write the properties of labels; may be repeated."""
        if self.output is None:
            return
        properties: dict[int, dict[str, Any]] = {}
        digest = hashlib.blake2b(digest_size=16)
        for position, painted in self._painted(positions):
            digest.update(f"{position} {painted.made_from}".encode())
            for extent, score in zip(painted.extents, painted.scores, strict=True):
                entry = properties.setdefault(extent.id, {"area": 0, "planes": 0, "score": 0.0})
                if extent.area:
                    entry["area"] += extent.area
                    entry["planes"] += 1
                    entry["score"] = round(max(entry["score"], score), 4)
        properties = {
            number: entry for number, entry in sorted(properties.items()) if entry["area"]
        }
        # Unchanged planes need no new pyramid.
        marker, state = self.path / "finished", digest.hexdigest().encode()
        if marker.exists() and read_bounded(marker, CHUNK) == state:
            return
        self.labels().finish(properties)
        write_whole(marker, state)

    def labels(self) -> LabelImage:
        """Open the labels."""
        assert self.output is not None
        return open_labels(self.output)

    def _painted(self, positions: Sequence[Position]) -> Iterator[tuple[Position, Painted]]:
        for position in positions:
            painted = self.records.painted(name_of(position))
            if painted is not None:
                yield position, painted

    def _open(
        self,
        question: Mapping[str, Any],
        shape: Sequence[int],
        axes: ImageAxes,
        version: str | None,
        overwrite: bool,
    ) -> None:
        assert self.output is not None
        check_place(self.output)  # before its folder of records is created
        try:
            if overwrite and self.path.exists():
                self._hold()
                self._remove()
            if self.manifest.exists():
                self._hold()
                self._compare(question)
                self.resumed = True
            elif self.output.exists() and not overwrite:
                raise BatchError(
                    f"{str(self.output)!r} was not made by a batch. Expected the output of one, or "
                    "a new name. Choose another output or overwrite it (--overwrite)."
                )
            else:
                _check_name(self.output)
                self.path.mkdir(parents=True, exist_ok=True)
                self._hold()
                self._write_manifest(question)
        except OSError as error:
            raise BatchError(
                f"{str(self.path)!r} cannot be written: {error.strerror or error}. Expected "
                "a writable folder with free space. Free some space, or choose another output."
            ) from error
        if not self.resumed or not self.output.exists():
            self.records.clear("painted")
            (self.path / "finished").unlink(missing_ok=True)
            chunks = (*(1,) * (len(shape) - 2), CHUNK, CHUNK)
            create_labels(
                self.output, shape, np.uint32, axes, chunks=chunks, version=version,
                overwrite=overwrite,
            )  # fmt: skip

    def _hold(self) -> None:
        """Lock the output against other processes, and delete leftovers of killed ones."""
        if self._lock is not None:
            return
        descriptor = os.open(self.path / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        held = True
        with contextlib.suppress(OSError):  # a file system without locks
            held = try_hold(descriptor)
        if not held:
            os.close(descriptor)
            raise BatchError(
                f"{str(self.output)!r} is being written by another process. Expected one at a "
                "time. Wait for it to end, or choose another output."
            )
        self._lock = descriptor
        self.records.tidy()

    def _remove(self) -> None:
        """Delete an earlier batch, its manifest first, so that a partial one cannot be resumed."""
        self.manifest.unlink(missing_ok=True)
        for entry in list(self.path.iterdir()):
            if entry.is_dir():
                shutil.rmtree(entry)

    def _write_manifest(self, question: Mapping[str, Any]) -> None:
        content = {"format": FORMAT, "version": VERSION, "question": question}
        write_whole(self.manifest, json.dumps(content, indent=1).encode())

    def _compare(self, question: Mapping[str, Any]) -> None:
        try:
            content = parse(read_bounded(self.manifest, MAX_MANIFEST_BYTES), "it")
            stored, version = dict(content["question"]), content["version"]
            stored["mode"] = present_mode(stored["mode"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BatchError(
                f"{str(self.manifest)!r} is damaged, so that the batch cannot be resumed. "
                "Expected the record of a batch. Choose another output or overwrite it "
                "(--overwrite)."
            ) from error
        if content.get("format") != FORMAT or version != VERSION:
            raise BatchError(
                f"{str(self.manifest)!r} has version {version!r}. Expected version {VERSION}. "
                "Choose another output or overwrite it (--overwrite)."
            )
        # Converted to JSON and back, since tuples become lists.
        requested = json.loads(json.dumps(question))
        repaired = _join_images(stored, requested)
        names = sorted({*stored, *requested})
        different = [name for name in names if stored.get(name) != requested.get(name)]
        if different == ["mode"] and of_another_version(stored["mode"], requested["mode"]):
            raise BatchError(
                f"{str(self.output)!r} was started with other weights of the rules for where "
                "objects end, as of another version of napari-sam3. Expected those of this "
                "version. Finish it with that version, change the output or overwrite it "
                "(--overwrite)."
            )
        if "mode" in different and stored["mode"]["mode"] != requested["mode"]["mode"]:
            # Other modes have other options, which need not be compared.
            stored, requested = ({"mode": one["mode"]["mode"]} for one in (stored, requested))
            different = ["mode"]
        if different:
            differences = _differences(different, stored, requested)
            raise BatchError(
                f"{str(self.output)!r} was started with {differences}. Expected the same options. "
                "Give the same options to resume, change the output or overwrite it (--overwrite)."
            )
        if repaired is not None:
            self._write_manifest({**stored, "image": repaired})


def _check_name(output: Path) -> None:
    """Refuse the name of a file of another format for the folder that a batch writes."""
    from napari_sam3.labels.formats.choice import ALL_FORMATS, FORMATS

    names = [one for one in ALL_FORMATS.values() if output.name.lower().endswith(one.suffixes)]
    if names and FORMATS["ome-zarr"] not in names:
        raise BatchError(
            f"{str(output)!r} is the name of another format ({names[0].title}). Expected an "
            f"OME-Zarr such as '{output.stem}.zarr'. Rename it, and write other formats from it "
            "by `napari-sam3 export`."
        )


def _join_images(stored: dict[str, Any], requested: dict[str, Any]) -> Any:
    """Make two images equal that differ only by parts that could not be read in one of them.

    Returns what is known of the image by now if that is more than before, otherwise None.
    """
    old, new = dict(stored.get("image") or {}), dict(requested.get("image") or {})
    before, now = old.pop("blocks", None), new.pop("blocks", None)
    stored["image"], requested["image"] = old, new
    blocks = join_blocks(before, now) if before and now else None
    if blocks is None or {**old, "digest": ""} != {**new, "digest": ""}:
        return None
    stored["image"] = new
    return {**new, "blocks": blocks} if blocks != before else None


def _differences(
    names: Sequence[str], stored: Mapping[str, Any], requested: Mapping[str, Any]
) -> str:
    parts = []
    for name in names:
        old, new = stored.get(name), requested.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
            parts += [_difference(f"{name} {key}", old.get(key), new.get(key)) for key in inner]
        else:
            parts.append(_difference(name, old, new))
    return " and ".join(parts)


def _difference(name: str, old: Any, new: Any) -> str:
    texts = [json.dumps(value) for value in (old, new)]
    if max(map(len, texts)) > 60:
        return f"another {name}"
    return f"{name} {texts[0]}, not {texts[1]}"
