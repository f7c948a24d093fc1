"""The calls of the public SAM 3 notebook for the "SAM 2 task": objects tracked through frames.

Run ``python examples/sam2_task.py --preset tiny --output pictures`` for the embedded model, or give
``--checkpoint sam3.pt`` for the released one. The calls are the notebook's, unchanged. The frames
are planes of the plugin's sample "Nuclei, 3D stack", whose true labels are known.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.segmentation import find_boundaries

from napari_sam3.layers.sample_data import stack
from sam3.model_builder import build_sam3_video_model

#: Planes of the sample, and (x, y) of a click on each nucleus on the first of them.
FIRST, LAST = 12, 18
CLICKS = {1: (189, 61), 2: (52, 111), 3: (125, 70)}


def main(argv: list[str] | None = None) -> list[float]:
    """Track the nuclei, save a picture per plane, and return the IoU of each volume."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("sam2-task"))
    parser.add_argument("--preset", help='"tiny" for the embedded model')
    parser.add_argument("--checkpoint", help="weights file")
    arguments = parser.parse_args(argv)
    arguments.output.mkdir(parents=True, exist_ok=True)
    image, truth = (data[FIRST:LAST] for data, _, _ in stack())
    low, high = np.percentile(image, (0.1, 99.9))
    frames = (np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    height, width = frames.shape[1:]

    sam3_model = build_sam3_video_model(
        checkpoint_path=arguments.checkpoint, preset=arguments.preset
    )
    predictor = sam3_model.tracker
    predictor.backbone = sam3_model.detector.backbone
    inference_state = predictor.init_state(video_path=frames)
    for obj_id, (x, y) in CLICKS.items():
        predictor.add_new_points(
            inference_state=inference_state,
            frame_idx=0,
            obj_id=obj_id,
            points=torch.tensor([[x / width, y / height]], dtype=torch.float32),
            labels=torch.tensor([1], dtype=torch.int32),
            clear_old_points=False,
        )
    found = np.zeros((len(CLICKS), *frames.shape), bool)
    for (
        frame_idx,
        obj_ids,
        _low_res_masks,
        video_res_masks,
        _scores,
    ) in predictor.propagate_in_video(
        inference_state,
        start_frame_idx=0,
        max_frame_num_to_track=len(frames),
        reverse=False,
        propagate_preflight=True,
    ):
        for number, mask in zip(obj_ids, video_res_masks, strict=True):
            found[number - 1, frame_idx] = (mask[0] > 0).numpy()
        picture = np.stack([frames[frame_idx]] * 3, axis=-1)
        for mask in found[:, frame_idx]:
            picture[find_boundaries(mask)] = (230, 159, 0)
        Image.fromarray(picture).save(arguments.output / f"plane-{frame_idx}.png")
    agreement = []
    for number, (x, y) in CLICKS.items():
        true = truth == truth[0, y, x]
        agreement.append(float((found[number - 1] & true).sum() / (found[number - 1] | true).sum()))
        print(f"nucleus {number}: IoU with the truth {agreement[-1]:.2f}")
    return agreement


if __name__ == "__main__":
    main()
