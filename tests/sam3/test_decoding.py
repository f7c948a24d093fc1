"""What is kept between clicks, left out or done in parts changes no mask."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data
from torch.nn import functional as F

from sam3 import ImageFeatures, Predictor, load_predictor
from sam3.config import get_preset
from sam3.model.mask_decoder import MaskDecoder, RawMasks, select_masks
from sam3.model_builder import build_click_model
from sam3.preprocess.device_holes import small_components
from sam3.preprocess.masks import UndrawnMask, crop_mask, crop_masks, fill_holes, upsample

SMALL = replace(
    get_preset("sam3").with_resolution(336),
    trunk=replace(get_preset("tiny").trunk, depth=1, global_blocks=(0,)),
)
"""The decoder of the full-size model, without drawn prompts, on few tokens."""
POINT: dict[str, Any] = {"point_coords": [[150, 90]], "point_labels": [1]}
BOXES = np.array([[100, 50, 500, 350], [20, 20, 120, 220], [300, 100, 580, 380]])


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(build_click_model(SMALL), device="cpu")


@pytest.fixture(scope="module")
def features(predictor: Predictor) -> ImageFeatures:
    return predictor.encode(data.coffee())


def many_points(count: int) -> dict[str, Any]:
    places = np.random.default_rng(0).uniform(0, 399, (count, 2))
    return {"point_coords": places, "point_labels": np.arange(count) % 2}


PROMPTS: dict[str, dict[str, Any]] = {
    "click": POINT,
    "boxes": {"box": BOXES},
    "more points than projections save work for": many_points(14),
    "mask": {"mask_input": np.random.default_rng(1).normal(size=(1, 96, 96))},
}


def straightforward(
    decoder: MaskDecoder,
    image: torch.Tensor,
    positions: torch.Tensor,
    sparse: torch.Tensor,
    dense: torch.Tensor,
    high_res: tuple[torch.Tensor, torch.Tensor],
) -> RawMasks:
    """Decode as the papers write it: every projection, on copies of the image for each object."""
    batch, transformer = len(sparse), decoder.transformer
    output = torch.cat([decoder.object_score_token, decoder.iou_token, decoder.mask_tokens])
    tokens = torch.cat([output.expand(batch, -1, -1), sparse], 1)
    source = (image + dense).repeat(batch // len(dense), 1, 1, 1).flatten(2).mT
    pos, token_pos = positions.flatten(2).mT, tokens
    layers: Any = transformer.layers
    for number, layer in enumerate(layers):
        q = tokens if number == 0 else tokens + token_pos
        attended = layer.self_attn(q, q, tokens)
        tokens = layer.norm1(attended if number == 0 else tokens + attended)
        attended = layer.cross_attn_token_to_image(tokens + token_pos, source + pos, source)
        tokens = layer.norm2(tokens + attended)
        tokens = layer.norm3(tokens + layer.lin2(layer.lin1(tokens).relu()))
        attended = layer.cross_attn_image_to_token(source + pos, tokens + token_pos, tokens)
        source = layer.norm4(source + attended)
    last = transformer.final_attn_token_to_image
    tokens = transformer.norm_final_attn(tokens + last(tokens + token_pos, source + pos, source))
    grid = source.mT.unflatten(2, image.shape[-2:])
    fine, middle = high_res
    grid = F.gelu(decoder.upscale_norm(decoder.upscale_1(grid) + middle))
    grid = F.gelu(decoder.upscale_2(grid) + fine)
    kernels = torch.stack([n(tokens[:, 2 + i]) for i, n in enumerate(decoder.hypernetworks)], 1)
    return RawMasks(
        torch.einsum("bkc,bchw->bkhw", kernels, grid),
        decoder.iou_head(tokens[:, 1]).sigmoid(),
        decoder.object_score_head(tokens[:, 0]),
    )


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("points", [2, 15])
@torch.inference_mode()
def test_the_decoder_is_that_of_the_papers(
    predictor: Predictor, features: ImageFeatures, points: int, with_mask: bool
) -> None:
    model, batch = predictor.model, 3
    draw = torch.Generator().manual_seed(points)
    coords = 336 * torch.rand(batch, points, 2, generator=draw)
    labels = torch.randint(0, 2, (batch, points), generator=draw)
    mask = torch.randn(batch, 1, 96, 96, generator=draw) if with_mask else None
    sparse, dense = model.prompt_encoder(coords, labels, mask)
    encoded = features.encoded
    expected = straightforward(
        model.mask_decoder,
        model.without_memory(encoded.embedding),
        model.prompt_encoder.dense_positions(),
        sparse,
        dense,
        (encoded.fine, encoded.middle),
    )
    side = model.image_side(encoded)
    found = model.decode(side, coords, labels, mask)
    for ours, theirs in zip(found[:3], expected[:3], strict=True):  # and no tokens
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5)
    for multimask in (True, False):
        chosen = model.decode(side, coords, labels, mask, multimask)
        logits, iou = select_masks(expected, multimask=multimask)
        torch.testing.assert_close(chosen.logits, logits, rtol=1e-4, atol=2e-5)
        torch.testing.assert_close(chosen.iou, iou, rtol=1e-4, atol=2e-5)


def test_gradients_reach_all_weights(predictor: Predictor, features: ImageFeatures) -> None:
    model = build_click_model(SMALL)
    encoded = type(features.encoded)(*(t.clone() for t in features.encoded))
    side = model.image_side(encoded)
    raw = model.decode(side, torch.full((2, 2, 2), 90.0), torch.ones(2, 2, dtype=torch.long), None)
    (raw.logits.square().mean() + raw.iou.sum() + raw.object_score.sum()).backward()
    # The neck's convolutions are used by the encoder. The bias of keys changes no softmax.
    without = {
        name
        for name, weight in model.mask_decoder.named_parameters()
        if weight.grad is None and "conv_s" not in name
    }
    assert all(name.endswith("k_proj.bias") for name in without)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS.keys())
def test_an_image_side_that_is_kept_changes_nothing(
    predictor: Predictor, features: ImageFeatures, prompts: dict[str, Any], multimask: bool
) -> None:
    first = predictor.predict(features, **prompts, multimask_output=multimask)
    kept = predictor.predict(features, **prompts, multimask_output=multimask)
    fresh = Predictor(predictor.model, device="cpu")
    anew = fresh.predict(features, **prompts, multimask_output=multimask)
    for other in (kept, anew):
        assert (other.logits == first.logits).all()
        assert (other.scores == first.scores).all()
        assert (other.masks == first.masks).all()


def test_an_image_side_is_kept_for_one_image_and_not_longer_than_it(predictor: Predictor) -> None:
    sides = Predictor(predictor.model, device="cpu")._image_sides
    one, two = (predictor.encode(image).encoded for image in (data.coffee(), data.astronaut()))
    with torch.inference_mode():
        first = sides.get(one)
        assert sides.get(one) is first
        assert sides.get(two) is not first
        assert sides.get(one) is not first
    assert sides._last is not None
    del one
    gc.collect()
    assert sides._last is None


def test_changed_weights_are_noticed(features: ImageFeatures) -> None:
    predictor = Predictor(build_click_model(SMALL).requires_grad_(False), device="cpu")
    before = predictor.predict(features, **POINT)
    predictor.model.get_parameter(
        "mask_decoder.transformer.layers.0.cross_attn_token_to_image.v_proj.bias"
    ).add_(0.5)
    after = predictor.predict(features, **POINT)
    fresh = Predictor(predictor.model, device="cpu")
    fresh.fingerprint = predictor.fingerprint  # of the features that both are given
    assert (after.logits != before.logits).any()
    assert (after.logits == fresh.predict(features, **POINT).logits).all()


def test_features_know_nothing_of_their_image_side(
    predictor: Predictor, features: ImageFeatures
) -> None:
    before = features.nbytes, set(vars(features))
    predictor.predict(features, **POINT)
    assert (features.nbytes, set(vars(features))) == before


@pytest.mark.parametrize("multimask", [True, False])
def test_an_object_is_the_same_to_the_last_bit_in_any_company(
    predictor: Predictor, features: ImageFeatures, multimask: bool, one_torch_thread: None
) -> None:
    together = predictor.predict(features, box=BOXES, multimask_output=multimask)
    for number, box in enumerate(BOXES):
        alone = predictor.predict(features, box=box, multimask_output=multimask)
        assert (together.logits[number] == alone.logits).all()
        assert (together.scores[number] == alone.scores).all()
        assert (together.masks[number] == alone.masks).all()


@torch.inference_mode()
def test_objects_decoded_together_are_those_decoded_alone(
    predictor: Predictor, features: ImageFeatures
) -> None:
    """An accelerator decodes many at once."""
    model = predictor.model
    side = model.image_side(features.encoded)
    coords = 336 * torch.rand(5, 2, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([1, -1]).expand(5, 2)
    together = model.decode(side, coords, labels, None, multimask=True)
    for i in range(5):
        alone = model.decode(side, coords[i : i + 1], labels[:1], None, multimask=True)
        for ours, theirs in zip(together, alone, strict=True):
            assert ours is not None
            torch.testing.assert_close(ours[i : i + 1], theirs, rtol=1e-5, atol=1e-5)


def test_a_mask_drawn_later_is_the_same(predictor: Predictor, features: ImageFeatures) -> None:
    now = predictor.predict(features, box=BOXES, crop=True)
    later = predictor.predict(features, box=BOXES, crop="later")
    assert (now.logits == later.logits).all()
    for crop, undrawn, low in zip(
        now.masks.flat, later.masks.flat, later.logits.reshape(-1, 96, 96), strict=True
    ):
        drawn = undrawn.draw(low)
        assert (drawn.row, drawn.column) == (crop.row, crop.column)
        assert (drawn.pixels == crop.pixels).all()


def test_clamped_logits_do_not_move_the_edge_of_a_mask_drawn_later() -> None:
    logits = np.full((8, 8), -30, np.float32)
    logits[2:5, 2:5] = 90
    clamped = logits.clip(-32, 32)
    exact = UndrawnMask((80, 80), 0, logits).draw(clamped)
    assert (exact.pixels == crop_mask(torch.from_numpy(logits), (80, 80)).pixels).all()
    assert exact.pixels.sum() > UndrawnMask((80, 80), 0, None).draw(clamped).pixels.sum()


@pytest.mark.parametrize("size", [(400, 600), (37, 41), (1200, 90), (96, 96)])
def test_full_masks_are_the_upsampled_logits_above_zero(size: tuple[int, int]) -> None:
    from sam3.preprocess.masks import write_mask

    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(5, 96, 96)), (0, 6, 6)) - 0.03
    smooth[4] = -1
    for values in smooth:
        logits = torch.tensor(values, dtype=torch.float32)
        full = upsample(logits[None, None], size)[0, 0].numpy()
        mask = np.zeros(size, bool)
        write_mask(mask, logits)
        assert np.abs(full[mask != (full > 0)]).max(initial=0) < 1e-6


def filled_plainly(logits: np.ndarray[Any, Any], max_area: int) -> np.ndarray[Any, Any]:
    components, _ = ndimage.label(logits <= 0, structure=np.ones((3, 3)))
    small = np.bincount(components.ravel()) <= max_area
    small[0] = False
    return np.where(small[components], np.float32(10), logits)


@pytest.mark.parametrize("max_area", [0, 3, 12, 40, 2000])
def test_holes_are_those_of_the_whole_array(max_area: int) -> None:
    rng = np.random.default_rng(max_area)
    for sigma in (0.5, 1.0, 2.0):
        for shift in (-2.0, -0.5, 0.0, 0.5, 2.0):
            noise = ndimage.gaussian_filter(rng.normal(size=(30, 30)), sigma) * 2 * sigma
            logits = (noise + shift).astype(np.float32)
            ours = fill_holes(torch.from_numpy(logits)[None], max_area)[0].numpy()
            assert (ours == filled_plainly(logits, max_area)).all()
    for logits in (np.full((30, 30), -1, np.float32), np.ones((30, 30), np.float32)):
        ours = fill_holes(torch.from_numpy(logits)[None], max_area)[0].numpy()
        assert (ours == filled_plainly(logits, max_area)).all()


@pytest.mark.parametrize("max_area", [0, 3, 12, 40, 130])
def test_holes_on_a_gpu_are_those_of_the_cpu(max_area: int) -> None:
    rng = np.random.default_rng(max_area)
    snake = np.ones((24, 31))  # a path of 12 rows, joined at alternate ends
    snake[::2] = -1
    snake[1::4, -1] = snake[3::4, 0] = -1
    noise = ndimage.gaussian_filter(rng.normal(size=(9, 24, 31)), (0, 0.8, 0.8))
    stack = np.concatenate([noise, [snake, snake * 0 + 1, snake * 0 - 1]]).astype(np.float32)
    logits = torch.from_numpy(stack).unflatten(0, (4, 3))
    filled = logits.masked_fill(small_components(logits <= 0, max_area), 10.0)
    expected = [filled_plainly(mask, max_area) for mask in stack]
    assert (filled.flatten(0, 1).numpy() == np.stack(expected)).all()


def test_masks_drawn_as_on_a_gpu_are_those_of_the_cpu() -> None:
    """All holes at once, then each mask where its logits are; wide and high images, and an edge."""
    predictor = load_predictor(device="cpu")
    for image in (data.coins(), data.coffee()[:, :90], data.coffee()[:60]):
        size = image.shape[:2]
        grid = np.stack(np.meshgrid(*[np.linspace(0, n - 1, 4) for n in size[::-1]]), -1)
        clicks = grid.reshape(-1, 1, 2)
        area = predictor.config.fill_hole_area
        expected = predictor.predict(predictor.encode(image), clicks, np.ones((16, 1)), crop=True)
        low = torch.from_numpy(expected.logits).flatten(0, 1)
        filled = low.masked_fill(small_components(low <= 0, area), 10.0)
        assert (filled != low).any()
        drawn = list(crop_masks(filled, size))
        for ours, theirs in zip(drawn, expected.masks.flat, strict=True):
            assert (ours.row, ours.column) == (theirs.row, theirs.column)
            assert (ours.pixels == theirs.pixels).all()
    empty, full = crop_masks(torch.tensor([[[-1.0]], [[1.0]]]), (5, 4))
    assert empty.pixels.size == 0
    assert full.pixels.all()
    assert full.pixels.shape == (5, 4)
