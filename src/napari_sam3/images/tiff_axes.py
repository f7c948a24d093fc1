"""Axes, samples, units and scale from the metadata of TIFF files: OME's and ImageJ's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from napari_sam3.core.axes import ImageAxes

from .tiff_file import TiffImage

__all__ = ["Samples", "TiffLayout", "tiff_axes", "tiff_layout"]

Samples = Literal["one", "colours", "alpha", "channels"]
_KNOWN = "tczyx"
_GREY = {0, 1, 3}  # photometric interpretations: white is zero, black is zero, palette
_ALPHA = {1, 2}  # extra samples: associated and unassociated alpha


@dataclass(frozen=True)
class TiffLayout:
    """How the values of a series of a TIFF lie, by its own letters.

    Parameters
    ----------
    samples : {"one", "colours", "alpha", "channels"}
        What the values of a pixel are: a single one; 3 or 4 colours; grey or an index, and alpha,
        which is left out; anything else.
    order : tuple of int
        The axes of the data in the order in which they are taken: rows and columns last, colours
        or alpha after them, and samples that are channels in front of them.
    letters : str
        Those of the axes in that order, without colours and alpha; C for samples that are channels.
    """

    samples: Samples
    order: tuple[int, ...]
    letters: str

    @property
    def in_order(self) -> bool:
        """Whether the data can be taken as they lie."""
        return self.order == tuple(range(len(self.order))) and self.samples != "alpha"


def tiff_layout(series: Any, rgb: bool | None = None) -> TiffLayout:
    """Return how the values of a series lie.

    Parameters
    ----------
    series : tifffile.TiffPageSeries
        The series.
    rgb : bool, optional
        Whether 3 or 4 samples are colours; by default as the file says. If not, they are channels.
    """
    letters, shape = str(series.axes), series.shape
    samples = _samples(series, rgb)
    at = [axis for axis, letter in enumerate(letters) if letter != "S"]
    if "Y" in letters and "X" in letters:
        plane = [letters.index("Y"), letters.index("X")]
        at = [axis for axis in at if axis not in plane] + plane
    if "S" in letters:
        own = letters.index("S")
        at.insert(len(at) - 2 if samples == "channels" else len(at), own)
    named = "".join(letters[axis] for axis in at)
    named = named.replace("S", "C" if samples == "channels" else "")
    assert sorted(at) == list(range(len(shape)))
    return TiffLayout(samples, tuple(at), named)


def _samples(series: Any, rgb: bool | None) -> Samples:
    if "S" not in series.axes:
        return "one"
    count, page = series.shape[series.axes.index("S")], series.keyframe
    grey = int(page.photometric) in _GREY
    extra = [int(sample) for sample in page.extrasamples]
    if grey and count == 2 and extra and extra[0] in _ALPHA:
        return "alpha"
    in_colour = not grey if rgb is None else rgb
    return "colours" if in_colour and count in (3, 4) else "channels"


def tiff_axes(image: TiffImage, layout: TiffLayout) -> ImageAxes:
    """Return the axes of the image of a TIFF, colours left out.

    Parameters
    ----------
    image : TiffImage
        Open.
    layout : TiffLayout
        Of its series.

    Returns
    -------
    ImageAxes
        In px where the file says nothing: the resolution of other TIFFs is that of a printer.
    """
    letters = [letter.lower() for letter in layout.letters]
    sizes: Mapping[str, tuple[float, str | None]] = {}
    if image.file.is_ome:
        sizes = _ome_sizes(image.file, image.number or 0)
    elif image.file.is_imagej:
        sizes = _imagej_sizes(image.file)
    return ImageAxes.of(
        _names(letters),
        scale=[sizes.get(letter, (1.0, None))[0] for letter in letters],
        units=[sizes.get(letter, (1.0, None))[1] for letter in letters],
    )


def _names(letters: list[str]) -> tuple[str, ...]:
    """Name the axes: tifffile calls those that it knows nothing of Q and I."""
    default = ImageAxes.default(len(letters)).names
    if not any(letter in _KNOWN for letter in letters[:-2]):
        return default
    known = letters.count
    return tuple(
        letter if letter in _KNOWN and known(letter) == 1 else f"axis_{at}"
        for at, letter in enumerate(letters)
    )


def _ome_sizes(file: Any, number: int) -> dict[str, tuple[float, str | None]]:
    import tifffile

    try:
        images = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
        pixels = (images[number] if isinstance(images, list) else images)["Pixels"]
    except Exception:  # damaged XML raises many kinds; the pixels can be read all the same
        return {}
    found: dict[str, tuple[float, str | None]] = {}
    for axis, size, unit in (
        *((axis, f"PhysicalSize{axis.upper()}", "micrometer") for axis in "zyx"),
        ("t", "TimeIncrement", "second"),
    ):
        step = _number(pixels.get(size))
        if step is not None:
            found[axis] = step, str(pixels.get(f"{size}Unit", unit))
    return found


def _imagej_sizes(file: Any) -> dict[str, tuple[float, str | None]]:
    about = file.imagej_metadata or {}
    found: dict[str, tuple[float, str | None]] = {}
    unit = about.get("unit")
    for axis, name in (("x", "XResolution"), ("y", "YResolution")):
        tag = file.pages.first.tags.get(name)
        pixels, whole = tag.value if tag is not None else (0, 0)
        if unit is not None and pixels and whole:  # pixels a unit, as a fraction
            found[axis] = whole / pixels, str(about.get(f"{axis}unit") or unit)
    for axis, name, unit_of in (("z", "spacing", unit), ("t", "finterval", about.get("tunit"))):
        step = _number(about.get(name))
        if step is not None and (axis == "t" or unit is not None):
            found[axis] = step, str(unit_of or "second")
    return found


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if number > 0 else None
