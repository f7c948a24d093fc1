"""The eight predictions of the public SAM 3 notebook for the "SAM 1 task", drawn as pictures.

Run ``python examples/sam1_task.py --preset tiny --output pictures`` for the embedded model, or give
``--checkpoint sam3.pt`` for the released one. The calls are the notebook's, unchanged; only the
pictures are scikit-image's own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import skimage.data
from PIL import Image, ImageDraw
from skimage.segmentation import find_boundaries

from sam3 import build_sam3_image_model
from sam3.model.sam3_image_processor import Sam3Processor

COLOURS = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167))
Picture = npt.NDArray[np.uint8]


def main(argv: list[str] | None = None) -> list[Path]:
    """Make all eight predictions and save a picture of each; return the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("sam1-task"))
    parser.add_argument("--preset", help='"tiny" for the embedded model')
    parser.add_argument("--checkpoint", help="weights file")
    arguments = parser.parse_args(argv)
    arguments.output.mkdir(parents=True, exist_ok=True)
    model = build_sam3_image_model(
        checkpoint_path=arguments.checkpoint,
        enable_inst_interactivity=True,
        preset=arguments.preset,
    )
    processor = Sam3Processor(model)
    files = []

    def save(name: str, picture: Picture) -> None:
        files.append(arguments.output / f"{name}.png")
        Image.fromarray(picture).save(files[-1])

    coins = np.stack([skimage.data.coins()] * 3, axis=-1)
    tissue = skimage.data.immunohistochemistry()[:400, :400]
    state = processor.set_image(Image.fromarray(coins))

    # 1: one point, three masks
    point, label = np.array([[154, 127]]), np.array([1])
    masks, scores, logits = model.predict_inst(
        state, point_coords=point, point_labels=label, multimask_output=True
    )
    best = np.argsort(scores)[::-1]
    masks, scores, logits = masks[best], scores[best], logits[best]
    save("1-point", np.hstack([draw(coins, [m], points=point, labels=label) for m in masks]))

    # 2: two points and the best logits of before
    points, labels = np.array([[154, 127], [160, 120]]), np.array([1, 1])
    masks, _, _ = model.predict_inst(
        state,
        point_coords=points,
        point_labels=labels,
        mask_input=logits[0, :, :][None, :, :],
        multimask_output=False,
    )
    save("2-two-points", draw(coins, masks, points=points, labels=labels))

    # 3: foreground and background
    points, labels = np.array([[154, 127], [154, 160]]), np.array([1, 0])
    masks, _, _ = model.predict_inst(
        state,
        point_coords=points,
        point_labels=labels,
        mask_input=logits[0, :, :][None, :, :],
        multimask_output=False,
    )
    save("3-background", draw(coins, masks, points=points, labels=labels))

    # 4: a box
    box = np.array([314, 102, 359, 148])
    masks, _, _ = model.predict_inst(
        state, point_coords=None, point_labels=None, box=box[None, :], multimask_output=False
    )
    save("4-box", draw(coins, masks, boxes=box[None]))

    # 5: a box and a background point
    points, labels = np.array([[318, 106]]), np.array([0])
    masks, _, _ = model.predict_inst(
        state, point_coords=points, point_labels=labels, box=box, multimask_output=False
    )
    save("5-box-and-point", draw(coins, masks, points=points, labels=labels, boxes=box[None]))

    # 6: four boxes at once
    boxes = np.array(
        [[314, 102, 359, 148], [129, 104, 178, 151], [244, 100, 300, 156], [20, 32, 80, 92]]
    )
    masks, _, _ = model.predict_inst(
        state, point_coords=None, point_labels=None, box=boxes, multimask_output=False
    )
    save("6-four-boxes", draw(coins, masks[:, 0], boxes=boxes))

    # 7: two images with four boxes each
    boxes_of_tissue = np.array(
        [[20, 20, 90, 90], [150, 60, 220, 130], [250, 250, 330, 330], [60, 280, 140, 360]]
    )
    images, box_batch = [coins, tissue], [boxes, boxes_of_tissue]
    batch = processor.set_image_batch([Image.fromarray(image) for image in images])
    masks_batch, _, _ = model.predict_inst_batch(
        batch, None, None, box_batch=box_batch, multimask_output=False
    )
    for i, (image, found, given) in enumerate(zip(images, masks_batch, box_batch, strict=True)):
        save(f"7-batch-boxes-{i}", draw(image, found[:, 0], boxes=given))

    # 8: two images with points, the best of three by score
    points_batch = [np.array([[[154, 127]], [[272, 128]]]), np.array([[[55, 55]], [[290, 290]]])]
    labels_batch = [np.array([[1], [1]])] * 2
    masks_batch, scores_batch, _ = model.predict_inst_batch(
        batch, points_batch, labels_batch, box_batch=None, multimask_output=True
    )
    for i, (image, found, quality) in enumerate(
        zip(images, masks_batch, scores_batch, strict=True)
    ):
        chosen = found[range(len(found)), np.argmax(quality, axis=-1)]
        given, kinds = points_batch[i][:, 0], labels_batch[i][:, 0]
        save(f"8-batch-points-{i}", draw(image, chosen, points=given, labels=kinds))
    return files


def draw(
    image: Picture,
    masks: Any,
    *,
    points: npt.NDArray[Any] | None = None,
    labels: npt.NDArray[Any] | None = None,
    boxes: npt.NDArray[Any] | None = None,
) -> Picture:
    """Return the image with masks and their contours, points as + and o, and boxes."""
    picture = image.astype(np.float64)
    for mask, colour in zip(masks, COLOURS * (1 + len(masks) // 4), strict=False):
        inside = np.asarray(mask, bool)
        picture[inside] = 0.55 * picture[inside] + 0.45 * np.array(colour)
        picture[find_boundaries(inside, mode="inner")] = 255
    canvas = Image.fromarray(picture.astype(np.uint8))
    pen = ImageDraw.Draw(canvas)
    for x0, y0, x1, y1 in boxes if boxes is not None else ():
        pen.rectangle([x0, y0, x1, y1], outline=(0, 255, 0), width=2)
    if points is not None and labels is not None:
        for (x, y), label in zip(points, labels, strict=True):
            if label:
                pen.line([x - 5, y, x + 5, y], fill=(0, 255, 0), width=2)
                pen.line([x, y - 5, x, y + 5], fill=(0, 255, 0), width=2)
            else:
                pen.ellipse([x - 4, y - 4, x + 4, y + 4], outline=(255, 0, 0), width=2)
    return np.asarray(canvas)


if __name__ == "__main__":
    for file in main():
        print(file)
