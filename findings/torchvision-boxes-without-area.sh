#!/usr/bin/env bash
# torchvision's boxes of masks leave out the last row and column, so thin objects have no area and no IoU.
#
# Guess:    masks_to_boxes encloses the mask, as torchvision's other box functions count: a line of 6 x 1 px has an
#           area of 6, and every box has an IoU of 1 with itself.
# Truth:    it returns the indices of the first and last pixel, while box_area and box_iou take the second corner as
#           the end. A 6 x 1 line has area 0, its IoU with itself is NaN, and a square of 2 x 2 px has area 1. A 10 px
#           nucleus loses a fifth of its area.
# Matters:  the functions are meant for each other. Small or thin objects are lost without an error in evaluation
#           (NaN is above no threshold) and in RoI align, and boxes made by others match less than they should.
# Instead:  add 1 to the last two columns.
# Seen:     torchvision 0.29.1, torch 2.14.1, on 2026-11-28. Installs PyTorch, which takes several minutes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
venv/bin/python - <<'PY'
import torch
import torchvision
from torchvision.ops import box_area, box_iou, masks_to_boxes

print("torchvision", torchvision.__version__, "torch", torch.__version__)
masks = torch.zeros(4, 20, 20, dtype=torch.bool)
masks[0, 3, 2:8] = True
masks[1, 5, 5] = True
masks[2, 2:4, 2:4] = True
masks[3, 5:15, 5:15] = True
boxes = masks_to_boxes(masks)
whole = boxes + torch.tensor([0, 0, 1, 1])
areas, overlaps = box_area(boxes), box_iou(boxes, boxes).diag()
for row in zip(("line", "pixel", "2 x 2", "10 x 10"), masks.flatten(1).sum(1), areas, overlaps, box_area(whole)):
    print("{}: {} px, box area {:g}, IoU with itself {:g}; with 1 added {:g}".format(row[0], *map(float, row[1:])))
assert areas.tolist() == [0, 0, 1, 81]
assert overlaps[:2].isnan().all()
assert overlaps[2:].tolist() == [1, 1]
assert box_area(whole).tolist() == [6, 1, 4, 100]
PY
