"""The calls of the public SAM 3 notebook for concepts: by text, by one example box, by several.

Run ``python examples/find_concepts.py --checkpoint sam3.pt --output pictures``. The calls are the
notebook's, unchanged. matplotlib is needed for the pictures: ``pip install "napari-sam3[plot]"``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import skimage.data
import torch
from matplotlib import pyplot
from PIL import Image

from sam3 import build_sam3_image_model
from sam3.model.box_ops import box_xywh_to_cxcywh
from sam3.model.sam3_image_processor import Sam3Processor
from sam3.visualization_utils import draw_box_on_image, normalize_bbox, plot_results


def main(argv: list[str] | None = None) -> list[Path]:
    """Find concepts on a picture of coins and save a figure of each; return the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", help="weights file with a concept detector")
    parser.add_argument("--output", type=Path, default=Path("concepts"))
    parser.add_argument("--threshold", type=float, default=0.5)
    arguments = parser.parse_args(argv)
    arguments.output.mkdir(parents=True, exist_ok=True)
    mpl.use("Agg")  # figures are saved, not shown
    files = []

    def save(name: str) -> None:
        files.append(arguments.output / f"{name}.png")
        pyplot.savefig(files[-1])
        pyplot.close("all")

    model = build_sam3_image_model(checkpoint_path=arguments.checkpoint)
    image = Image.fromarray(skimage.data.coins()).convert("RGB")
    width, height = image.size
    processor = Sam3Processor(model, confidence_threshold=arguments.threshold)
    inference_state = processor.set_image(image)

    # by text
    processor.reset_all_prompts(inference_state)
    inference_state = processor.set_text_prompt(state=inference_state, prompt="coin")
    print(f"by text: {len(inference_state['scores'])} instances")
    plot_results(image, inference_state)
    save("text")

    # by one example box
    box_input_xywh = torch.tensor([314.0, 102.0, 45.0, 46.0]).view(-1, 4)
    box_input_cxcywh = box_xywh_to_cxcywh(box_input_xywh)
    norm_box_cxcywh = normalize_bbox(box_input_cxcywh, width, height).flatten().tolist()
    processor.reset_all_prompts(inference_state)
    inference_state = processor.add_geometric_prompt(
        state=inference_state, box=norm_box_cxcywh, label=True
    )
    print(f"by one box: {len(inference_state['scores'])} instances")
    plot_results(draw_box_on_image(image, box_input_xywh.flatten().tolist()), inference_state)
    save("one-box")

    # by several, one of which is not wanted
    boxes_xywh = [[314.0, 102.0, 45.0, 46.0], [130.0, 105.0, 47.0, 47.0]]
    labels = [True, False]
    boxes_cxcywh = normalize_bbox(box_xywh_to_cxcywh(torch.tensor(boxes_xywh)), width, height)
    processor.reset_all_prompts(inference_state)
    for box, label in zip(boxes_cxcywh.tolist(), labels, strict=True):
        inference_state = processor.add_geometric_prompt(
            state=inference_state, box=box, label=label
        )
    print(f"by two boxes: {len(inference_state['scores'])} instances")
    image_with_boxes = image
    for xywh, label in zip(boxes_xywh, labels, strict=True):
        color = (0, 255, 0) if label else (255, 0, 0)
        image_with_boxes = draw_box_on_image(image_with_boxes, xywh, color)
    plot_results(image_with_boxes, inference_state)
    save("two-boxes")
    return files


if __name__ == "__main__":
    main()
