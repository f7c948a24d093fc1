"""Figures of the likelihood in `matching`, written by `python -m benchmarks.similar_fit`."""

from __future__ import annotations

__all__ = ["BIAS", "NEGATIVE", "WEIGHTS"]

#: Per unit of: distance of the coarse, middle and fine features; of the logarithm of the area,
#: and what it exceeds a factor of two by; of shape; of colour, of the ring's colour, of texture
#: and of contrast; then the IoU that the model predicts and the root of the stability.
WEIGHTS = (
    -0.901,
    -1.655,
    -0.295,
    -1.971,
    0.310,
    -1.431,
    -2.193,
    -9.224,
    -8.300,
    -0.483,
    2.172,
    0.931,
)
BIAS = 2.498
#: Loss per unit by which an unwanted example is nearer than a wanted one.
NEGATIVE = 1.0
