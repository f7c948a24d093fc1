"""Numbers of `matching`, fitted as by `benchmarks.similar_fit`.

The candidates were those of 24 training images of nuclei and of 32 with two kinds of objects; for
SOUND, of 25 and 45.
"""

from __future__ import annotations

__all__ = [
    "BIAS",
    "CALIBRATION",
    "CONTRAST",
    "LEVEL",
    "PRIOR",
    "SOUND",
    "SPREADS",
    "USUAL",
    "WEIGHTS",
]

#: Coefficients of the differences in features, in the logarithm of the area, in the colour of the
#: ring, in edge and in grain; then of the predicted IoU and the square root of the stability.
WEIGHTS = (-1.2, -2.018, -12.436, -2.14, -1.113, 2.907, 2.838)
BIAS = 0.363
#: Standard deviation of each of `matching.values` among objects of one kind in an image.
SPREADS = (0.3251, 0.2517, 0.1663, 0.0468, 0.3539, 0.3109, 0.1064, 0.0628, 0.0069, 0.0089, 0.0125)
#: Coefficients of the log odds of the two classes of `matching.contrast`, and of their sizes.
CONTRAST, PRIOR = 0.2, 0.4
#: Loss per unit by which the best candidates of a plane exceed the usual logit.
LEVEL, USUAL = 0.3, 0.67
#: Coefficients of the predicted IoU and of the square root of the stability, and bias, for the
#: logit that a mask is an object of any kind.
SOUND = (5.35, 6.74, -6.41)
#: Factor of the logits. High scores are then the part of the candidates that is right.
CALIBRATION = 0.5
