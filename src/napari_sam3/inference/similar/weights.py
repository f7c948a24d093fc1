"""Numbers of `matching`, fitted as by `benchmarks.similar_fit`.

The candidates were those of 56 training images of nuclei and of 39 with two kinds of objects; for
SPREADS and SOUND, of other and fewer ones. The metric was fitted to objects of 101 images.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = [
    "BIAS",
    "CALIBRATION",
    "CONTRAST",
    "LEVEL",
    "PRIOR",
    "SHIFT",
    "SOUND",
    "SPREADS",
    "STRICT_LEVEL",
    "STRICT_USUAL",
    "USUAL",
    "WEIGHTS",
    "metric",
]

#: Coefficients of the logarithm of the difference in features, of the differences in the logarithm
#: of the area, in the colour of the ring, in edge and in grain; then of how much the examples
#: differ from each other, of the predicted IoU, and of the square root of the stability.
WEIGHTS = (-2.309, -1.166, -11.795, -0.634, -1.79, 0.889, 3.653, 2.522)
BIAS = 0.531
#: Standard deviation of each of `matching.values` among objects of one kind in an image.
SPREADS = (0.3251, 0.2517, 0.1663, 0.0468, 0.3539, 0.3109, 0.1064, 0.0628, 0.0069, 0.0089, 0.0125)
#: Coefficients of the log odds of the two classes of `matching.contrast`, and of their sizes.
CONTRAST, PRIOR = 0.15, 0.4
#: Loss per unit by which the best candidates of a plane exceed the usual logit.
LEVEL, USUAL = 0.3, 0.67
#: The same on planes that have other kinds of objects.
STRICT_LEVEL, STRICT_USUAL = 0.6, 0.0
#: Coefficients of the predicted IoU and of the square root of the stability, and bias, for the
#: logit that a mask is an object of any kind.
SOUND = (5.35, 6.74, -6.41)
#: Factor of the logits, and what is added to them before: F1 is largest at a score of 0.5 then.
CALIBRATION, SHIFT = 0.5, 0.5


@cache
def metric() -> npt.NDArray[np.float64]:
    """Return the matrix (C, K) that makes discriminants of the embedded model's features.

    They are those of a linear discriminant analysis of true objects in training images, in which
    each image is a class.
    """
    return np.loadtxt(Path(__file__).with_name("metric.csv"), delimiter=",")
