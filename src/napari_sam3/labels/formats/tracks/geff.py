"""Track graphs in GEFF: one node per object and frame, edges between consecutive nodes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.tracks import TrackError, Tracks
from napari_sam3.labels.output_files import (
    ExportError,
    already_exists,
    cannot_write,
    missing_package,
)
from napari_sam3.labels.places import open_group
from sam3.errors import ImageError

from .measuring import tracks_of

__all__ = ["read_geff", "write_geff"]

#: Node property with the track id, which is the label of the pixels.
LABEL = "label"
_TRACK_PROPERTIES = (LABEL, "track_id", "track", "tracklet_id", "lineage_id")


def write_geff(
    path: str | os.PathLike[str],
    labels: Any,
    *,
    axis: int = 0,
    axes: ImageAxes | None = None,
    parents: Mapping[int, int | Sequence[int]] | None = None,
    labels_path: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the tracks of a label image as a graph.

    Parameters
    ----------
    path : str or path-like
        Folder to write, such as ``tracks.geff``.
    labels : array-like of integers, T x ... x H x W
        Read one frame at a time.
    axis : int
        The time axis.
    axes : ImageAxes, optional
        Names, units, scale and position of all axes, stored as metadata. Positions of nodes are
        in px and frames.
    parents : mapping of int to int or sequence of int, optional
        The parent of each label that has one, or its parents.
    labels_path : str, optional
        Path of the label image, relative to the graph. The node property "label" refers to its
        pixels.
    overwrite : bool
        Replace an existing graph.

    Raises
    ------
    ExportError
        If the package geff is not installed, or the graph cannot be written.
    TrackError
        If there is no object, or the parents contradict the labels.
    """
    core, spec = _geff()
    tracks = tracks_of(labels, axis, parents)
    if not len(tracks.ids):
        raise TrackError(
            "the labels hold no object, so there is no track to write. Expected at least one. "
            "Accept an object first."
        )
    axes = ImageAxes.default(len(labels.shape)) if axes is None else axes
    order = [axis, *(at for at in range(axes.ndim) if at != axis)]
    described = [_axis(spec, axes.take((at,)), time=at == axis) for at in order]
    values = np.column_stack([tracks.frames.astype(np.float64), tracks.places])
    properties = {
        one.name: {"values": values[:, at], "missing": None} for at, one in enumerate(described)
    }
    properties[LABEL] = {"values": tracks.ids.astype(np.uint64), "missing": None}
    properties["area"] = {"values": tracks.areas, "missing": None}
    path = Path(path)
    _check_free(path, overwrite)
    try:
        core.write_arrays(
            path,
            np.arange(len(tracks.ids), dtype=np.uint64),
            properties,
            _edges(tracks),
            {},
            _metadata(spec, described, labels_path),
            overwrite=overwrite,
        )
    except OSError as error:
        shutil.rmtree(path, ignore_errors=True)
        raise cannot_write(path, error) from error
    return path


def read_geff(path: str | os.PathLike[str]) -> tuple[Tracks, ImageAxes]:
    """Read a graph of tracks.

    Parameters
    ----------
    path : str or path-like
        The folder.

    Returns
    -------
    Tracks
        With the track ids of the nodes, if the edges confirm them; otherwise each chain without
        branches gets a new id.
    ImageAxes
        Time, then space: the scale, units and offset of the positions.

    Raises
    ------
    sam3.errors.ImageError
        If the folder is not a GEFF graph, or has no time axis.
    TrackError
        If an edge joins two nodes of the same frame.
    """
    core, spec = _geff()
    try:
        graph = core.read_to_memory(Path(path))
    except Exception as error:  # zarr, pydantic and geff raise many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ImageError(
            f"{str(path)!r} cannot be read as GEFF: {reason}. Expected a folder with a graph. "
            "Check the path."
        ) from error
    axes = graph["metadata"].axes or []
    times = [one.name for one in axes if one.type == "time" or one.name in ("t", "time")]
    space = [one.name for one in axes if one.name not in times and one.type != "channel"]
    if len(times) != 1 or not space:
        raise ImageError(
            f"{str(path)!r} has the axes {', '.join(one.name for one in axes) or 'none'}. Expected "
            "one of time and at least one of space. Add them to its metadata."
        )
    properties = {name: one["values"] for name, one in graph["node_props"].items()}
    frames = _frames(properties[times[0]])
    edges = _forward(frames, _rows(graph["node_ids"], graph["edge_ids"]))
    named = {related.node_prop for related in graph["metadata"].related_objects or ()}
    candidates = [*sorted(filter(None, named)), *_TRACK_PROPERTIES]
    given = (properties[name] for name in candidates if name in properties)
    ids = next((one for one in given if _confirms(one, frames, edges)), None)
    ids = _chains(len(frames), edges) if ids is None else ids.astype(np.int64)
    parents: dict[int, list[int]] = {}
    for before, after in edges.tolist():
        if ids[before] != ids[after]:
            parents.setdefault(int(ids[after]), []).append(int(ids[before]))
    places = np.column_stack([properties[name] for name in space])
    tracks = Tracks.of(ids, frames, places, properties.get("area"), parents)
    order = [one for name in (*times, *space) for one in axes if one.name == name]
    ranked = not np.array_equal(frames, properties[times[0]])
    return tracks, _placement(spec, order, ranked=ranked)


def _placement(spec: Any, axes: Sequence[Any], *, ranked: bool) -> ImageAxes:
    """Return how positions are placed, time first; ranked times count frames."""
    units = []
    for at, one in enumerate(axes):
        unit = one.unit if one.scaled_unit is None else one.scaled_unit
        valid = spec.validate_space_unit if at else spec.validate_time_unit
        counts = unit in (None, "frame", "pixel")
        units.append(unit if not counts and valid(unit) else None)
    scale, offset = [one.scale or 1.0 for one in axes], [one.offset or 0.0 for one in axes]
    if ranked:
        units[0], scale[0], offset[0] = None, 1.0, 0.0
    names = [one.name for one in axes]
    return ImageAxes.of(names, units=units, scale=scale, translate=offset)


def _geff() -> tuple[Any, Any]:
    try:
        import geff_spec
        from geff import core_io
    except ImportError as error:
        raise missing_package("geff", "GEFF", "tracks", ", or write a CSV") from error
    return core_io, geff_spec


def _metadata(spec: Any, axes: Sequence[Any], labels_path: str | None) -> Any:
    related = None
    if labels_path is not None:
        related = [spec.RelatedObject(type="labels", path=labels_path, node_prop=LABEL)]
    return spec.GeffMetadata(
        directed=True,
        axes=axes,
        node_props_metadata={},
        edge_props_metadata={},
        related_objects=related,
    )


def _axis(spec: Any, axes: ImageAxes, *, time: bool) -> Any:
    """Describe an axis: positions in px or frames, with their scale and unit."""
    (name,), (unit,) = axes.names, axes.units
    valid = spec.validate_time_unit if time else spec.validate_space_unit
    known = unit is not None and valid(unit)
    return spec.Axis(
        name=name,
        type="time" if time else "space",
        unit="frame" if time else "pixel",
        scale=axes.scale[0],
        scaled_unit=unit if known else None,
        offset=axes.translate[0],
    )


def _check_free(path: Path, overwrite: bool) -> None:
    if path.is_file() or (path.exists() and not overwrite and any(path.iterdir())):
        raise already_exists(path)
    if path.is_dir() and any(path.iterdir()):
        try:
            ours = "geff" in open_group(path, "r").attrs
        except (OSError, ValueError):
            ours = False
        if not ours:
            raise ExportError(
                f"{str(path)!r} exists already. Expected a GEFF graph, which may be overwritten, "
                "or a new name. Choose another name."
            )


def _edges(tracks: Tracks) -> npt.NDArray[np.uint64]:
    """Return pairs of rows: consecutive nodes of a track, and parents with children."""
    same = np.flatnonzero(np.diff(tracks.ids) == 0)
    ids, starts = np.unique(tracks.ids, return_index=True)
    stops = np.append(starts[1:], len(tracks.ids)) - 1
    first = dict(zip(ids.tolist(), starts.tolist(), strict=True))
    last = dict(zip(ids.tolist(), stops.tolist(), strict=True))
    links = [(last[one], first[child]) for child, many in tracks.parents.items() for one in many]
    pairs = [*zip(same.tolist(), (same + 1).tolist(), strict=True), *links]
    return np.array(pairs, np.uint64).reshape(-1, 2)


def _frames(times: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return integer frames; times in other units are ranked."""
    whole = np.round(times).astype(np.int64)
    if np.array_equal(whole, times) and whole.min(initial=0) >= 0:
        return whole
    return np.unique(times, return_inverse=True)[1].astype(np.int64)


def _rows(nodes: npt.NDArray[Any], edges: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return edges as pairs of row indices."""
    order = np.argsort(nodes)
    return order[np.searchsorted(nodes[order], edges)].reshape(-1, 2).astype(np.int64)


def _forward(frames: npt.NDArray[np.int64], edges: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return edges from earlier to later frames; some programs store them reversed."""
    times = frames[edges]
    level = np.flatnonzero(times[:, 0] == times[:, 1]) if len(edges) else np.zeros(0, int)
    if level.size:
        raise TrackError(
            f"an edge joins two nodes of frame {times[level[0], 0]}. Expected edges from a frame "
            "to a later one. Remove the edge."
        )
    back = times[:, 0] > times[:, 1]
    return np.where(back[:, None], edges[:, ::-1], edges)


def _confirms(
    ids: npt.NDArray[Any], frames: npt.NDArray[np.int64], edges: npt.NDArray[np.int64]
) -> bool:
    """Return whether edges join consecutive nodes of each id, which makes it a track id."""
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer) or ids.min(initial=1) <= 0:
        return False
    order = np.lexsort((frames, ids))
    pairs = np.column_stack([order[:-1], order[1:]])[np.diff(ids[order]) == 0]
    return set(map(tuple, pairs.tolist())) <= set(map(tuple, edges.tolist()))


def _chains(count: int, edges: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Assign numbers from 1 to the chains of nodes without branches and merges."""
    following = np.bincount(edges[:, 0], minlength=count)
    leading = np.bincount(edges[:, 1], minlength=count)
    alone = edges[(following[edges[:, 0]] == 1) & (leading[edges[:, 1]] == 1)]
    next_of = dict(alone.tolist())
    ids = np.zeros(count, np.int64)
    starts = sorted(set(range(count)) - set(next_of.values()))
    for number, start in enumerate(starts, 1):
        node: int | None = start
        while node is not None:
            ids[node] = number
            node = next_of.get(node)
    return ids
