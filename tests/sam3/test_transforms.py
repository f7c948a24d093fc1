"""Images and coordinates into the model's frame, and masks back; crops are in test_features.py."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sam3.errors import ImageError
from sam3.preprocess.masks import UndrawnMask, crop_mask, fill_holes, upsample, write_mask
from sam3.preprocess.transforms import image_to_model, rgb_image, to_model_frame

RAMP = np.arange(12).reshape(3, 4)
GREY = np.rint(RAMP * 255 / 11).astype(np.uint8)
COLOURS = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
ALPHA = np.concatenate([COLOURS, np.full((3, 4, 1), 7, np.uint8)], 2)
IMAGES: dict[str, tuple[Any, Any]] = {
    "uint8 grey": (GREY, GREY),
    "uint8 one channel": (GREY[..., None], GREY),
    "uint8 RGB": (COLOURS, COLOURS),
    "uint8 RGBA": (ALPHA, COLOURS),
    "bool": (RAMP % 2 == 0, (RAMP % 2 == 0) * 255),
    "float32": ((RAMP / 11).astype(np.float32), GREY),
    "float64 RGB": (COLOURS / 255, COLOURS),
    "constant uint16": (np.full((3, 4), 700, np.uint16), np.zeros((3, 4))),
    "PIL RGB": (Image.fromarray(COLOURS), COLOURS),
    "PIL grey": (Image.fromarray(GREY), GREY),
    "PIL with alpha": (Image.fromarray(ALPHA), COLOURS),
    "PIL grey with alpha": (Image.fromarray(GREY).convert("LA"), GREY),
    "PIL palette": (Image.fromarray(GREY).convert("P"), GREY),
    "tensor": (torch.from_numpy(COLOURS).movedim(-1, 0), COLOURS),
    "flat tensor": (torch.from_numpy(GREY), GREY),
    "tensor with a gradient": (torch.from_numpy(RAMP / 11).requires_grad_(), GREY),
    "transposed": (GREY.T.copy().T, GREY),
}


@pytest.mark.parametrize(("image", "values"), IMAGES.values(), ids=IMAGES.keys())
def test_images_of_every_kind_become_rgb(image: Any, values: Any) -> None:
    rgb = rgb_image(image)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    expected = values if np.ndim(values) == 3 else np.repeat(np.asarray(values)[..., None], 3, 2)
    assert np.array_equal(rgb, expected)


@pytest.mark.parametrize(
    "image",
    [
        (RAMP * 300).astype(np.uint16),
        (RAMP - 6).astype(np.int32),
        RAMP.tolist(),
        Image.fromarray((RAMP * 300).astype(np.uint16)),
        Image.fromarray(RAMP.astype(np.int32)),
        Image.fromarray((RAMP * 40 - 5).astype(np.float32)),
    ],
    ids=["uint16", "int32", "list", "PIL 16-bit", "PIL 32-bit", "PIL float"],
)
def test_wide_images_are_stretched(image: Any) -> None:
    rgb = rgb_image(image)
    assert rgb.shape == (3, 4, 3)
    assert np.abs(rgb.astype(int) - GREY[..., None]).max() <= 1
    assert rgb.min() == 0
    assert rgb.max() == 255


def test_16_bit_images_use_the_whole_range() -> None:
    image = np.zeros((100, 100), np.uint16)
    image[:, 50:] = 700  # a dim 16-bit image
    image[0, 0] = 65535  # and one hot pixel
    rgb = rgb_image(image)
    assert rgb[50, 20, 0] == 0
    assert rgb[50, 70, 0] == 255


SHAPES = (
    "cannot be encoded. Expected height x width, or height x width x 1, 3 or 4 channels (torch "
    "tensors: channels first). Choose up to three channels."
)
KINDS = "cannot be encoded. Expected uint8, uint16, bool or floating point. Convert it."
NO_NUMBER = (
    "values that are NaN or infinite. Expected finite values. Replace them, for example with "
    "numpy.nan_to_num."
)
EMPTY = "Expected at least one pixel. Choose another image."
RANGE = (
    "Expected values in [0, 1]. Rescale it, for example with skimage.exposure.rescale_intensity."
)
REFUSED: dict[str, tuple[Any, str]] = {
    "two channels": (np.zeros((4, 4, 2), np.uint8), f"an image of shape (4, 4, 2) {SHAPES}"),
    "five channels": (np.zeros((4, 4, 5), np.uint8), f"an image of shape (4, 4, 5) {SHAPES}"),
    "a line": (np.zeros(4, np.uint8), f"an image of shape (4,) {SHAPES}"),
    "a stack": (np.zeros((2, 4, 4, 3), np.uint8), f"an image of shape (2, 4, 4, 3) {SHAPES}"),
    "no rows": (np.zeros((0, 4)), f"the image is empty: shape (0, 4). {EMPTY}"),
    "no columns": (
        np.zeros((4, 0)),
        f"the image is empty: shape (4, 0). {EMPTY}",
    ),
    "NaN": (np.array([[0.5, np.nan, np.inf]]), f"the image holds 2 {NO_NUMBER}"),
    "too bright": (
        np.array([[0.5, 300.25]]),
        f"the floating-point image spans [0.5, 300.25]. {RANGE}",
    ),
    "too dark": (
        np.array([[-0.5, 1]]),
        f"the floating-point image spans [-0.5, 1]. {RANGE}",
    ),
    "complex": (np.zeros((4, 4), np.complex64), f"an image of data type complex64 {KINDS}"),
}


@pytest.mark.parametrize(("image", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_images_are_refused(image: Any, message: str) -> None:
    with pytest.raises(ImageError) as caught:
        rgb_image(image)
    assert str(caught.value) == message


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(
        ImageError,
        match=r"^a list is not an image \(.*\)\. Expected an array of numbers\. Convert it\.$",
    ):
        rgb_image([[1, 2], [3]])


def test_the_model_sees_a_square_in_minus_one_to_one() -> None:
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, 4:, 0], image[..., 2] = 255, 51
    seen = image_to_model(image, 4)
    assert seen.shape == (1, 3, 4, 4)
    assert seen.dtype == torch.float32
    assert seen[0, 0, :, 0].tolist() == [-1] * 4
    assert seen[0, 0, :, 3].tolist() == [1] * 4
    assert (seen[0, 1] == -1).all()
    assert torch.allclose(seen[0, 2], torch.tensor(51 / 255 * 2 - 1))


def test_shrinking_averages() -> None:
    stripes = np.zeros((24, 24, 3), np.uint8)
    stripes[::2] = 255
    # Every third line alone would be black and white by turns.
    assert image_to_model(stripes, 8).abs().max() < 0.15


def test_coordinates_are_scaled_by_each_axis() -> None:
    scaled = to_model_frame(np.array([[[35.0, 12.0], [70.0, 48.0]]]), (48, 70), 336)
    assert scaled.dtype == np.float32
    assert scaled.tolist() == [[[168, 84], [336, 336]]]


def test_holes_are_filled_up_to_their_area() -> None:
    logits = torch.full((1, 1, 20, 20), 5.0)
    logits[0, 0, 2:4, 2:4] = -1
    logits[0, 0, 4, 4] = -1  # touches the first by a corner: one component of five
    logits[0, 0, 10:13, 10:12] = 0
    filled = fill_holes(logits, 5)
    assert (filled[0, 0, 2:4, 2:4] == 10).all()
    assert filled[0, 0, 4, 4] == 10
    assert (filled[0, 0, 10:13, 10:12] == 0).all()
    assert (filled != logits).sum() == 5
    assert logits[0, 0, 2, 2] == -1
    assert fill_holes(logits, 4) is logits
    assert (fill_holes(logits, 6)[0, 0, 10:13, 10:12] == 10).all()


def test_holes_of_each_mask_are_its_own() -> None:
    logits = torch.ones(2, 3, 16, 16)
    for number in range(6):
        logits.view(6, 16, 16)[number, number + 2, 3] = -1
    filled = fill_holes(logits, 1)
    assert ((filled == 10) == (logits == -1)).all()


@pytest.mark.parametrize("value", [-1, 1])
def test_masks_without_an_edge(value: int) -> None:
    logits = torch.full((9, 9), float(value))
    crop = crop_mask(logits, (30, 20))
    mask = np.zeros((30, 20), bool)
    write_mask(mask, logits)
    assert (crop.row, crop.column) == (0, 0)
    assert crop.pixels.dtype == bool
    assert crop.pixels.shape == ((0, 0) if value < 0 else (30, 20))
    assert crop.pixels.all()
    assert mask.all() == (value > 0)


def test_a_spot_between_pixels_leaves_nothing() -> None:
    logits = torch.full((32, 32), -50.0)
    logits[15, 15] = 0.01  # above zero, but no pixel of a small image lies near its middle
    crop = crop_mask(logits, (4, 4))
    assert (crop.row, crop.column, crop.pixels.shape) == (0, 0, (0, 0))


def test_masks_too_large_for_memory_are_refused() -> None:
    logits = torch.ones(64, 64)
    with pytest.raises(ImageError) as caught:
        crop_mask(logits, (100_000, 90_000))
    assert str(caught.value) == (
        "the mask is too large: about 100000 x 90000 px. Expected one that fits into memory. "
        "Zoom in on a smaller part of the image, or segment a copy of lower resolution."
    )
    logits[:] = -1
    logits[10, 20] = 1
    crop = crop_mask(logits, (100_000, 90_000))
    assert 0 < crop.pixels.size < 5_000 * 5_000


def test_upsampling_keeps_the_corners_of_pixels() -> None:
    logits = torch.tensor([[0.0, 4.0], [8.0, 12.0]], dtype=torch.bfloat16)[None, None]
    full = upsample(logits, (2, 4))
    assert full.dtype == torch.float32
    assert full[0, 0].tolist() == [[0, 1, 3, 4], [8, 9, 11, 12]]


def test_masks_drawn_later_are_filled() -> None:
    logits = np.full((16, 16), -5, np.float32)
    logits[4:12, 4:12] = 5
    logits[7, 7] = -5
    undrawn = UndrawnMask((64, 64), 1, None)
    assert undrawn.draw(logits).pixels[2:-2, 2:-2].all()
    assert not UndrawnMask((64, 64), 0, None).draw(logits).pixels[2:-2, 2:-2].all()
    assert not undrawn.draw(np.full((16, 16), -1, np.float32)).pixels.size
