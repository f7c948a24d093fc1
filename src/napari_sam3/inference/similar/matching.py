"""Likelihood that a mask is an object like the examples, from their appearances.

A logistic regression on few quantities, fitted on candidates in training images with known truth:
at a score of 0.5, about half of the candidates are correct.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .appearance import Appearance
from .weights import BIAS, NEGATIVE, WEIGHTS

__all__ = ["Quality", "compare", "likelihood", "quantities"]

#: Margin by which a candidate must resemble positive examples more than negative ones.
MARGIN = 0.5
#: Logarithm of the factor (two) above which differences in area count twice.
_EQUAL_AREAS = 0.7

Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """Quality of a mask, independent of the examples.

    Parameters
    ----------
    score : float
        Predicted IoU.
    stability : float
        IoU of the mask at a higher and a lower threshold.
    """

    score: float
    stability: float


def likelihood(
    looks: Sequence[Appearance],
    qualities: Sequence[Quality],
    wanted: Sequence[Appearance],
    unwanted: Sequence[Appearance] = (),
) -> npt.NDArray[np.float64]:
    """Return the likelihood (N,) that each candidate is an object like the positive examples."""
    if not looks:
        return np.zeros(0)
    logits = quantities(looks, qualities, wanted) @ np.array(WEIGHTS) + BIAS
    if unwanted:
        # Lower the score of candidates that resemble negative examples more than positive ones.
        near, far = resemblance(looks, wanted), resemblance(looks, unwanted)
        logits -= NEGATIVE * np.maximum(0, far - near + MARGIN)
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))))


def quantities(
    looks: Sequence[Appearance], qualities: Sequence[Quality], wanted: Sequence[Appearance]
) -> Table:
    """Return the quantities of the regression, one row per candidate."""
    rows = compare(looks, wanted)
    model = np.array([(one.score, np.sqrt(one.stability)) for one in qualities])
    return np.concatenate((rows, model), axis=1)


def resemblance(looks: Sequence[Appearance], examples: Sequence[Appearance]) -> Table:
    """Return the resemblance (N,) of each candidate to its nearest example."""
    pairs = _distances(looks, examples)
    return np.asarray((pairs @ np.array(WEIGHTS[: pairs.shape[-1]])).max(axis=1))


def compare(looks: Sequence[Appearance], examples: Sequence[Appearance]) -> Table:
    """Return the mean (N, K) of the smallest and the average distance to the examples."""
    pairs = _distances(looks, examples)
    return np.asarray(0.5 * (pairs.min(axis=1) + pairs.mean(axis=1)))


def _distances(looks: Sequence[Appearance], examples: Sequence[Appearance]) -> Table:
    """Return the distances (N, M, K) of each candidate to each example."""
    columns = []
    for level in range(len(looks[0].features)):
        a = _unit(np.stack([one.features[level] for one in looks]))
        b = _unit(np.stack([one.features[level] for one in examples]))
        columns.append(np.sqrt(np.maximum(0, 2 - 2 * a @ b.T)))
    area = _pairwise(looks, examples, lambda one: [np.log(one.area)])
    columns += [area, np.maximum(0, area - _EQUAL_AREAS)]
    columns.append(_pairwise(looks, examples, _shape))
    columns.append(_pairwise(looks, examples, lambda one: one.colour))
    columns.append(_pairwise(looks, examples, lambda one: one.ring))
    columns.append(_pairwise(looks, examples, lambda one: one.texture))
    columns.append(_pairwise(looks, examples, lambda one: one.colour - one.ring))
    return np.stack(columns, axis=-1)


def _shape(look: Appearance) -> list[float]:
    """Return the logarithm of the aspect ratio, and twice the solidity."""
    return [float(np.log(max(look.extent) / min(look.extent))), 2 * look.solidity]


def _unit(rows: npt.NDArray[np.floating]) -> Table:
    return np.asarray(rows / np.maximum(1e-6, np.linalg.norm(rows, axis=1, keepdims=True)))


def _pairwise(
    looks: Sequence[Appearance],
    examples: Sequence[Appearance],
    value: Callable[[Appearance], npt.ArrayLike],
) -> Table:
    """Return the root mean square differences (N, M) of a value."""
    left, right = (np.array([value(one) for one in side], np.float64) for side in (looks, examples))
    return np.asarray(np.sqrt(((left[:, None] - right[None]) ** 2).mean(axis=-1)))
