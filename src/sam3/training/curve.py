"""Plot of the log of a training run."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from PIL import Image, ImageDraw

__all__ = ["draw_curve"]

_SERIES = {
    "best_scored": "#88bbee",
    "single": "#f0c080",
    "held_out_best_scored": "#0060c0",
    "held_out_single": "#d07000",
    "held_out_corrected_single": "#008050",
}
_SIZE, _MARGIN = (900, 520), 50


def draw_curve(log: Path, target: Path) -> None:
    """Plot the mean IoU columns of a log against the step.

    Parameters
    ----------
    log : Path
        CSV written by the training loop.
    target : Path
        PNG to write.
    """
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    canvas = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(canvas)
    width, height = _SIZE[0] - 2 * _MARGIN, _SIZE[1] - 2 * _MARGIN
    last = max(int(row["step"]) for row in rows)

    def place(step: float, value: float) -> tuple[float, float]:
        return _MARGIN + width * step / last, _MARGIN + height * (1 - value)

    for tenth in range(11):
        level = place(0, tenth / 10)
        draw.line([level, place(last, tenth / 10)], fill="#dddddd")
        draw.text((10, level[1] - 6), f"{tenth / 10:.1f}", fill="black")
    draw.text((_MARGIN, _SIZE[1] - 40), f"mean IoU; step 0 to {last}", fill="black")
    for i, (name, colour) in enumerate(_SERIES.items()):
        points = [(float(row["step"]), float(row.get(name) or "nan")) for row in rows]
        line = [place(*point) for point in points if not math.isnan(point[1])]
        if len(line) > 1:
            draw.line(line, fill=colour, width=2)
        draw.text((_MARGIN + 170 * i, 15), name.replace("_", " "), fill=colour)
    canvas.save(target)
