"""Axes, samples, units and scale of TIFF files, from OME and ImageJ metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from napari_sam3.core.axes import ImageAxes

if TYPE_CHECKING:
    from .tiff_file import TiffImage

__all__ = ["Samples", "TiffLayout", "tiff_axes", "tiff_layout"]

Samples = Literal["one", "colours", "alpha", "channels"]
_KNOWN = "tczyx"
_GREY = {0, 1, 3}  # photometric interpretations: white is zero, black is zero, palette
_ALPHA = {1, 2}  # extra samples: associated and unassociated alpha


@dataclass(frozen=True)
class TiffLayout:
    """Axes of the values of a TIFF series, by tifffile's letters.

    Parameters
    ----------
    samples : {"one", "colours", "alpha", "channels"}
        Values of a pixel: a single one; 3 or 4 colours; grey or an index with alpha, which is
        dropped; or channels.
    order : tuple of int
        Axes of the data in the order of the image: rows and columns last, followed by colours or
        alpha, and preceded by samples that are channels.
    letters : str
        Letters of the axes in that order, without colours and alpha; C for samples that are
        channels.
    """

    samples: Samples
    order: tuple[int, ...]
    letters: str

    @property
    def in_order(self) -> bool:
        """Whether the data can be used without a transpose."""
        return self.order == tuple(range(len(self.order))) and self.samples != "alpha"


def tiff_layout(series: Any, rgb: bool | None = None) -> TiffLayout:
    """Return the layout of a series.

    Parameters
    ----------
    series : tifffile.TiffPageSeries
        The series.
    rgb : bool, optional
        Whether 3 or 4 samples are colours. By default the file decides. With False, they are
        channels.
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
    """Return the axes of the image of a TIFF, without colours.

    Parameters
    ----------
    image : TiffImage
        Image of an open file.
    layout : TiffLayout
        Layout of its series.

    Returns
    -------
    ImageAxes
        In px without OME or ImageJ metadata: the resolution of other TIFFs is meant for printing.
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
    """Return the names of the axes. tifffile calls unknown axes Q and I."""
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
    except Exception:  # damaged XML raises various exceptions and does not affect the pixels
        return {}
    sizes: dict[str, tuple[float, str | None]] = {}
    for axis, size, unit in (
        *((axis, f"PhysicalSize{axis.upper()}", "micrometer") for axis in "zyx"),
        ("t", "TimeIncrement", "second"),
    ):
        step = _number(pixels.get(size))
        if step is not None:
            sizes[axis] = step, str(pixels.get(f"{size}Unit", unit))
    return sizes


def _imagej_sizes(file: Any) -> dict[str, tuple[float, str | None]]:
    metadata = file.imagej_metadata or {}
    sizes: dict[str, tuple[float, str | None]] = {}
    unit = metadata.get("unit")
    for axis, name in (("x", "XResolution"), ("y", "YResolution")):
        tag = file.pages.first.tags.get(name)
        pixels, whole = tag.value if tag is not None else (0, 0)
        if unit is not None and pixels and whole:  # pixels per unit, as a fraction
            sizes[axis] = whole / pixels, str(metadata.get(f"{axis}unit") or unit)
    for axis, name, unit_of in (("z", "spacing", unit), ("t", "finterval", metadata.get("tunit"))):
        step = _number(metadata.get(name))
        if step is not None and (axis == "t" or unit is not None):
            sizes[axis] = step, str(unit_of or "second")
    return sizes


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if number > 0 else None
