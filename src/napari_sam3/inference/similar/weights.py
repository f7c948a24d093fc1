"""Coefficients of `matching`, fitted on 90 training images, 60 of them with two kinds."""

from __future__ import annotations

__all__ = ["BIAS", "NEGATIVE", "WEIGHTS"]

#: Coefficients of the differences in coarse, middle and fine features; in the logarithm of the
#: area, and its excess over a factor of two; in shape, colour, colour of the ring, texture and
#: contrast; then of the predicted IoU and the square root of the stability.
WEIGHTS = (
    -0.228,
    -2.043,
    -0.364,
    -1.479,
    0.966,
    -1.117,
    0.384,
    -6.334,
    -7.709,
    -3.029,
    1.468,
    3.084,
)
BIAS = 0.326
#: Loss per unit by which a negative example is nearer than a positive one.
NEGATIVE = 1.0
