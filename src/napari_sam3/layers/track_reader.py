"""Readers for napari's File > Open: tracks as a Tracks layer, with labels if there are any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .features import METADATA
from .readers import placed
from .track_layer import OF, track_rows

__all__ = ["get_tracks_reader", "read_track_files"]

LayerData = tuple[Any, dict[str, Any], str]


def get_tracks_reader(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Return a reader if all paths are files or folders of tracks, by their names."""
    from napari_sam3.labels.formats.tracks.ctc import is_ctc

    paths = [path] if isinstance(path, str) else list(path)
    known = all(
        is_ctc(name) or Path(name).suffix == ".geff" or name.lower().endswith(".tracks.csv")
        for name in paths
    )
    return read_track_files if paths and known else None


def read_track_files(path: str | Sequence[str]) -> list[LayerData]:
    """Read tracks of the Cell Tracking Challenge, GEFF or tables as layers.

    Raises
    ------
    sam3.errors.Sam3Error
        If a file cannot be read, or its tracks contradict each other.
    """
    from napari_sam3.labels.formats.tracks.choice import read_tracks

    layers: list[LayerData] = []
    for file in [path] if isinstance(path, str) else path:
        found = read_tracks(file)
        name, mark = Path(file).name, str(Path(file).absolute())
        tracks, names = found.tracks, _axis_names(found.tracks.places.shape[1])
        if found.labels is not None:
            parents = {child: list(many) for child, many in tracks.parents.items()}
            about = {"parents": parents, "tracks": mark}
            layers.append(
                (
                    found.labels,
                    {"name": name, "axis_labels": names, "metadata": {METADATA: about}},
                    "labels",
                )
            )
        if len(tracks.ids):
            data, graph, features = track_rows(tracks)
            shown: dict[str, Any] = {"graph": graph, "features": features, "axis_labels": names}
            if found.axes is not None:
                shown |= placed(found.axes)
            layers.append(
                (data, {"name": f"{name} tracks", "metadata": {OF: mark}, **shown}, "tracks")
            )
    return layers


def _axis_names(space: int) -> tuple[str, ...]:
    return ("t", *"zyx"[-space:]) if space <= 3 else ()
