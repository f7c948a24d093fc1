"""Scenes of CZI and LIF files: listed, read and labelled as a series, with axes and scale."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.images.scenes import open_scene, scenes_of
from napari_sam3.session.series import ImageSeries
from sam3.errors import ImageError

Pixels = npt.NDArray[np.uint16]
# Name, pixels (channels x planes x rows x columns), and steps in micrometers.
Scene = tuple[str, Pixels, tuple[float, float, float]]


def scenes(*shapes: tuple[int, int, int, int]) -> list[Scene]:
    random = np.random.default_rng(0)
    return [
        (f"P{number}", random.integers(1, 4000, shape).astype(np.uint16), (1.5, 0.3, 0.2))
        for number, shape in enumerate(shapes)
    ]


def write_czi(path: Path, images: Sequence[Scene]) -> None:
    """Write scenes with the names that ZEN gives; pylibCZIrw alone leaves them out."""
    czi = pytest.importorskip("pylibCZIrw.czi")
    room = "x" * 1000
    with czi.create_czi(str(path)) as file:
        for scene, (_, pixels, _) in enumerate(images):
            for channel, depth in np.ndindex(*pixels.shape[:2]):
                place = {"C": channel, "Z": depth, "T": 0}
                plane = pixels[channel, depth][..., None]
                file.write(plane, plane=place, scene=scene, location=(900 * scene, 500 * scene))
        z, y, x = images[0][2]
        file.write_metadata(
            document_name=room, scale_x=x * 1e-6, scale_y=y * 1e-6, scale_z=z * 1e-6
        )
    content = path.read_bytes()
    found = re.search(rb"<ImageDocument.*?</ImageDocument>", content, re.DOTALL)
    assert found is not None
    names = "".join(f'<Scene Index="{at}" Name="{one[0]}"/>' for at, one in enumerate(images))
    named = f"<Dimensions><S><Scenes>{names}</Scenes></S>".encode()
    text = found.group().replace(room.encode(), b"").replace(b"<Dimensions>", named)
    end = b"</ImageDocument>"
    text = text.removesuffix(end) + b" " * (len(found.group()) - len(text)) + end
    path.write_bytes(content.replace(found.group(), text))


def write_lif(path: Path, images: Sequence[Scene]) -> None:
    """Write the few parts of a LIF file that its readers need."""
    pytest.importorskip("bioio_lif")
    inside = "".join(_lif_element(at, *one) for at, one in enumerate(images))
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="cells" UniqueID="root"><Data/>'
        f'<Memory Size="0" MemoryBlockID="MemBlock_root"/><Children>{inside}</Children>'
        "</Element></LMSDataContainerHeader>"
    ).encode("utf-16-le")
    content = struct.pack("<IIBI", 0x70, len(xml) + 5, 0x2A, len(xml) // 2) + xml
    for at, (_, pixels, _) in enumerate(images):
        name = f"MemBlock_{at}".encode("utf-16-le")
        head = struct.pack("<BQBI", 0x2A, pixels.nbytes, 0x2A, len(name) // 2) + name
        content += struct.pack("<II", 0x70, len(head)) + head
        content += pixels.swapaxes(0, 1).tobytes()  # the channels of a plane after one another
    path.write_bytes(content)


def _lif_element(at: int, name: str, pixels: Pixels, steps: tuple[float, float, float]) -> str:
    channels, depth, height, width = pixels.shape
    plane = 2 * height * width
    described = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="16" Min="0" Max="4095" '
        f'Unit="" LUTName="Gray" IsLUTInverted="0" NameOfMeasuredQuantity="" '
        f'BytesInc="{channel * plane}" BitInc="0"/>'
        for channel in range(channels)
    )
    axes = zip(
        (1, 2, 3), (width, height, depth), steps[::-1], (2, 2 * width, channels * plane),
        strict=True,
    )  # fmt: skip
    dimensions = "".join(
        f'<DimensionDescription DimID="{number}" NumberOfElements="{length}" Origin="0" '
        f'Length="{(length - 1) * step * 1e-6:.9e}" Unit="m" BitInc="0" BytesInc="{stride}"/>'
        for number, length, step, stride in axes
    )
    return (
        f'<Element Name="{name}" UniqueID="{at}"><Data><Image><ImageDescription><Channels>'
        f"{described}</Channels><Dimensions>{dimensions}</Dimensions></ImageDescription></Image>"
        f'</Data><Memory Size="{pixels.nbytes}" MemoryBlockID="MemBlock_{at}"/></Element>'
    )


WRITERS: dict[str, Callable[[Path, Sequence[Scene]], None]] = {"czi": write_czi, "lif": write_lif}
SHAPES = {
    "czi": ((2, 3, 20, 30),) * 3,  # scenes of one CZI share their planes
    "lif": ((2, 3, 20, 30), (1, 1, 12, 14), (1, 4, 9, 8)),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_scenes_are_listed_and_read(kind: str, tmp_path: Path) -> None:
    pytest.importorskip(f"bioio_{kind}")
    path, images = tmp_path / f"many.{kind}", scenes(*SHAPES[kind])
    WRITERS[kind](path, images)
    assert scenes_of(path) == ("0", "1", "2")
    for scene, (_, pixels, steps) in zip(scenes_of(path), images, strict=True):
        image = open_scene(path, scene)
        kept = "".join(
            axis for axis, n in zip("czyx", pixels.shape, strict=True) if axis in "yx" or n > 1
        )
        assert "".join(image.axes.names) == kept
        np.testing.assert_array_equal(np.asarray(image.data), pixels.squeeze())
        step = {"c": 1.0, **dict(zip("zyx", steps, strict=True))}
        assert image.axes.scale == pytest.approx([step[axis] for axis in kept])
        units = [None if axis == "c" else "micrometer" for axis in kept]
        assert list(image.axes.units) == units
    with pytest.raises(ImageError, match=r"no scene '7'.*Expected 0 to 2"):
        open_scene(path, "7")


@pytest.mark.parametrize("kind", WRITERS)
def test_one_scene_needs_no_name(kind: str, tmp_path: Path) -> None:
    pytest.importorskip(f"bioio_{kind}")
    path, images = tmp_path / f"one.{kind}", scenes((1, 2, 15, 11))
    WRITERS[kind](path, images)
    assert scenes_of(path) == ("",)
    np.testing.assert_array_equal(np.asarray(open_scene(path).data), images[0][1][0])


@pytest.mark.parametrize("kind", WRITERS)
def test_scenes_are_labelled_as_a_series(kind: str, tmp_path: Path) -> None:
    pytest.importorskip(f"bioio_{kind}")
    path, images = tmp_path / f"many.{kind}", scenes(*SHAPES[kind])
    WRITERS[kind](path, images)
    with ImageSeries(path) as series:
        assert [item.scene for item in series.items] == ["0", "1", "2"]
        read = series.read(series.items[1])
        labels: Any = np.zeros(read.image.shape, np.uint16)
        labels[..., 2:5, 2:5] = 4
        series.save(series.items[1], labels, axes=read.image.axes, state="done")
    with ImageSeries(path) as series:
        assert series.counts() == {"done": 1, "todo": 2}
        found = series.read(series.items[1]).labels
        assert found is not None
        np.testing.assert_array_equal(found, labels)
        assert series.read(series.items[2]).labels is None


@pytest.mark.parametrize("kind", ["czi", "lif", "nd2"])
@pytest.mark.parametrize("content", [b"", b"nothing", b"\x70\x00\x00\x00" * 40])
def test_damaged_files_are_named(kind: str, content: bytes, tmp_path: Path) -> None:
    pytest.importorskip(f"bioio_{kind}")
    path = tmp_path / f"broken.{kind}"
    path.write_bytes(content)
    for command in (scenes_of, open_scene):
        with pytest.raises(ImageError, match=rf"broken\.{kind}.*Expected a complete"):
            command(path)
