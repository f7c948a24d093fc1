"""Strategies for anything that somebody may hand over as an image, a prompt or labels."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: Generated inputs in all; `make faults` asks for ten thousand.
EXAMPLES = int(os.environ.get("NAPARI_SAM3_EXAMPLES", "120"))
MOST_PIXELS = 1 << 16

REAL: tuple[str, ...] = (
    "bool",
    "u1",
    "u2",
    "u4",
    "u8",
    "i1",
    "i2",
    "i4",
    "i8",
    "f2",
    "f4",
    "f8",
    ">u2",
    ">f4",
)
REAL += (np.dtype(np.longdouble).str,)
NO_PIXELS = ("c8", "c16", "O", "U3", "S3", "M8[s]", "m8[s]", "V4", "i4,f4")
DTYPES = st.sampled_from(REAL * 2 + NO_PIXELS)
SIDES = st.sampled_from((1, 2, 3, 4, 5, 17, 40, 64, 300, 5000, 17, 40, 0))
CONTENTS = ("noise", "constant", "zero", "nan", "some nan", "inf", "huge", "negative", "one pixel")


def faults(share: float) -> settings:
    """Settings of a test that gets a share of all examples."""
    return settings(
        max_examples=max(10, round(EXAMPLES * share)),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def shapes(draw: st.DrawFn, axes: st.SearchStrategy[int]) -> tuple[int, ...]:
    """Lengths of axes, with bounded pixels."""
    shape: list[int] = []
    for _ in range(draw(axes)):
        side = draw(SIDES)
        room = MOST_PIXELS // max(1, int(np.prod([n for n in shape if n], dtype=int)))
        shape.append(min(side, max(1, room)))
    return tuple(shape)


def filled(shape: tuple[int, ...], dtype: str, content: str, seed: int) -> npt.NDArray[Any]:
    """An array of any dtype with a certain kind of content."""
    random, kind = np.random.default_rng(seed), np.dtype(dtype)
    if kind.kind not in "biufc":
        array = np.zeros(shape, kind)
        if kind.kind == "O" and array.size:
            array.flat[0] = (None, "text", [1, 2], 10**40)[seed % 4]
        return array
    if kind.kind == "b":
        return (
            np.asarray(random.random(shape) < 0.5) if content == "noise" else np.ones(shape, kind)
        )
    values: npt.NDArray[Any] = np.asarray(random.random(shape) * 200)
    if content == "constant":
        values = np.full(shape, 7.0)
    elif content == "zero":
        values = np.zeros(shape)
    elif content == "negative":
        values = values - 500 if kind.kind != "u" else values
    elif content == "one pixel" and values.size:
        values = np.zeros(shape)
        values.flat[-1] = 1
    array = (
        values.astype(kind)
        if kind.kind != "i" or content != "negative"
        else (np.asarray(values.clip(-120, 120).astype(kind)))
    )
    if content == "huge":
        top = np.finfo(kind).max if kind.kind in "fc" else np.iinfo(kind).max
        low = np.finfo(kind).min if kind.kind in "fc" else np.iinfo(kind).min
        array = np.where(random.random(shape) < 0.5, np.array(top, kind), np.array(low, kind))
        array = np.asarray(array, kind)
    if kind.kind in "fc" and content in ("nan", "some nan", "inf"):
        where = np.ones(shape, bool) if content == "nan" else random.random(shape) < 0.3
        array = np.asarray(array)
        array[where] = np.nan if "nan" in content else np.inf
        if content == "inf":
            array[random.random(shape) < 0.1] = -np.inf
    return np.asarray(array)


@st.composite
def arrays(
    draw: st.DrawFn,
    axes: st.SearchStrategy[int] = st.sampled_from((2, 2, 2, 3, 3, 0, 1, 4, 5)),  # noqa: B008
) -> npt.NDArray[Any]:
    """Any array."""
    shape, dtype = draw(shapes(axes)), draw(DTYPES)
    array = filled(shape, dtype, draw(st.sampled_from(CONTENTS)), draw(st.integers(0, 99)))
    order = draw(st.sampled_from(("as it is", "as it is", "reversed", "transposed", "read-only")))
    if order == "reversed" and array.ndim:
        array = array[::-1]
    elif order == "transposed":
        array = array.T
    elif order == "read-only":
        array.flags.writeable = False
    return array


@st.composite
def pictures(draw: st.DrawFn) -> tuple[npt.NDArray[Any], bool]:
    """Arrays and whether they are in colour, most of them such that it can be."""
    if draw(st.integers(0, 3)) == 0:
        return draw(arrays()), draw(st.booleans())
    rgb = draw(st.booleans())
    shape = (*draw(shapes(st.just(2))), *((draw(st.sampled_from((3, 4))),) if rgb else ()))
    content, seed = draw(st.sampled_from(CONTENTS)), draw(st.integers(0, 99))
    return filled(shape, draw(st.sampled_from(REAL)), content, seed), rgb


#: Coordinates inside and outside of images, and such as nobody can have meant.
PLACES = st.one_of(
    st.floats(-3, 60),
    st.sampled_from((0.0, -0.5, -0.6, -1.0, 16.5, 39.5, 40.0, 299.0, 5000.0, 1e30, -1e30)),
    st.sampled_from((float("nan"), float("inf"), 1e308)),
)
SANE = st.floats(0, 4)
XY = st.tuples(PLACES, PLACES) | st.tuples(SANE, SANE)
BOXES = st.tuples(PLACES, PLACES, PLACES, PLACES) | st.tuples(SANE, SANE, SANE, SANE)
#: What may stand where an array is expected.
NONSENSE = st.sampled_from(
    ("text", [[1, 2], [3]], [[[1, 2]]], [], [[]], 5, {}, [None], [1j], b"ab", [[1, 2, 3]], object)
)
