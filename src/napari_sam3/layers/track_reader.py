"""napari's File > Open for files of tracks: labels where there are some, and a Tracks layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .features import METADATA
from .track_layer import OF, track_rows

__all__ = ["get_tracks_reader", "read_track_files"]

LayerData = tuple[Any, dict[str, Any], str]


def get_tracks_reader(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Return a reader if all paths are files or folders of tracks by their names."""
    from napari_sam3.labels.formats.tracks.ctc import is_ctc

    paths = [path] if isinstance(path, str) else list(path)
    known = all(
        is_ctc(one) or Path(one).suffix == ".geff" or one.lower().endswith(".tracks.csv")
        for one in paths
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
    for one in [path] if isinstance(path, str) else path:
        found = read_tracks(one)
        name, mark = Path(one).name, str(Path(one).absolute())
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
            shown = {"graph": graph, "features": features, "axis_labels": names}
            layers.append(
                (data, {"name": f"{name} tracks", "metadata": {OF: mark}, **shown}, "tracks")
            )
    return layers


def _axis_names(space: int) -> tuple[str, ...]:
    return ("t", *"zyx"[-space:]) if space <= 3 else ()
