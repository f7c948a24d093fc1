"""Figures of the likelihood in `matching`, fitted on 25 training images, 8 of them of two kinds."""

from __future__ import annotations

__all__ = ["BIAS", "NEGATIVE", "WEIGHTS"]

#: Per unit of: distance of the coarse, middle and fine features; of the logarithm of the area,
#: and what it exceeds a factor of two by; of shape; of colour, of the ring's colour, of texture
#: and of contrast; then the IoU that the model predicts and the root of the stability.
WEIGHTS = (
    -0.373,
    -1.375,
    -0.032,
    -1.438,
    -0.265,
    -2.264,
    -2.768,
    -7.530,
    -4.834,
    -2.487,
    1.803,
    1.076,
)
BIAS = 1.961
#: Loss per unit by which an unwanted example is nearer than a wanted one.
NEGATIVE = 1.0
