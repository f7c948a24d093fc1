"""Coefficients of `matching`, fitted on 25 training images, 8 of them with two kinds of objects."""

from __future__ import annotations

__all__ = ["BIAS", "NEGATIVE", "WEIGHTS"]

#: Coefficients of the differences in coarse, middle and fine features; in the logarithm of the
#: area, and its excess over a factor of two; in shape, colour, colour of the ring, texture and
#: contrast; then of the predicted IoU and the square root of the stability.
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
#: Loss per unit by which a negative example is nearer than a positive one.
NEGATIVE = 1.0
