"""Score of a mask as an object like the examples, from their appearances.

Three steps, fitted on candidates in training images with known truth:

1. `resemblance`: a logistic regression on the differences from the examples, and on the quality of
   the mask.
2. `contrast`: what tells the objects of one image apart from everything else there. The candidates
   that resemble the examples, and all others, are two classes with independent normal distributions
   of few quantities (naive Bayes), as in expectation maximization.
3. `of_one_kind`: where few of the plane's objects differ from the examples, and no gap parts them
   from the others, there is no other kind to leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .appearance import Appearance
from .weights import (
    BIAS,
    CALIBRATION,
    CONTRAST,
    LEVEL,
    PRIOR,
    SOUND,
    SPREADS,
    USUAL,
    WEIGHTS,
)

__all__ = [
    "Quality",
    "columns",
    "contrast",
    "levelled",
    "likelihood",
    "of_one_kind",
    "resemblance",
    "soundness",
    "values",
]

#: Loss per unit by which a candidate resembles negative examples more than positive ones, and the
#: margin by which it must resemble the positive ones more.
_NEGATIVE, _MARGIN = 1.0, 0.5
#: An example counts as much as so many candidates.
_EXAMPLE = 4.0
#: The spreads of training images count as much as so many candidates.
_PRIOR_COUNT = 8.0
#: Logit from which a candidate is rather one of the wanted objects.
_CUT = -0.5
_ROUNDS = 2
#: So many of the best candidates tell how closely a plane's objects resemble the examples, and
#: fewer objects do not tell how many kinds there are.
_BEST = 5
#: A plane has one kind of object if at most so many of its objects have logits below `_UNLIKE`, and
#: low logits of objects rise by up to `_ONE_KIND` then. `_SHARPNESS` sets objects off from masks
#: that are none.
_FEW, _UNLIKE, _ONE_KIND, _SHARPNESS = 0.4, -0.75, 4.0, 2.0
#: A gap parts two kinds if its middle is from `_UNLIKE` to `_MOST`, at least `_ABOVE` objects are
#: above it, and it is wider than `_GAP` times one plus the standard deviation of these. Logits
#: beyond `_FAR` count as it.
_MOST, _ABOVE, _GAP, _FAR = 5.0, 10, 1.8, 8.0

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


def likelihood(logits: Table) -> Table:
    """Return scores from 0 to 1. At 0.5, F1 is best in training images, in the mean."""
    return _sigmoid(CALIBRATION * logits)


def resemblance(
    looks: Sequence[Appearance],
    qualities: Sequence[Quality],
    wanted: Sequence[Appearance],
    unwanted: Sequence[Appearance] = (),
) -> Table:
    """Return the logit (N,) that each candidate is an object like the positive examples."""
    logits = np.asarray(columns(looks, qualities, wanted) @ np.array(WEIGHTS) + BIAS)
    if unwanted:
        # Lower the score of candidates that resemble negative examples more than positive ones.
        near, far = _nearest(looks, wanted), _nearest(looks, unwanted)
        logits -= _NEGATIVE * np.maximum(0, far - near + _MARGIN)
    return logits


def levelled(logits: Table, kept: npt.NDArray[np.bool_]) -> Table:
    """Return the logits (N,) of `resemblance`, lower the better the best of the plane are.

    Where some candidates resemble the examples closely, the others are another kind of object.
    """
    best = np.sort(logits[kept])[-_BEST:].mean()
    return np.asarray(logits - LEVEL * (best - USUAL))


def contrast(
    logits: Table,
    kept: npt.NDArray[np.bool_],
    looks: Sequence[Appearance],
    wanted: Sequence[Appearance],
    unwanted: Sequence[Appearance] = (),
) -> Table:
    """Return the logits (N,) after a comparison of the candidates with each other.

    Parameters
    ----------
    logits : ndarray, shape (N,)
        From `levelled`.
    kept : ndarray of bool, shape (N,)
        Candidates that are no duplicates of better ones.
    looks, wanted, unwanted : sequence of Appearance
        Candidates, and positive and negative examples.
    """
    count = len(looks)
    rows = values((*looks, *wanted, *unwanted)) / np.array(SPREADS)
    sides = len(wanted), len(unwanted)
    positive, negative = (np.repeat(weights, sides) for weights in ((_EXAMPLE, 0), (0, _EXAMPLE)))
    found = logits
    for _ in range(_ROUNDS):
        share = _sigmoid(found - _CUT)
        ours = np.concatenate((share * kept, positive))
        rest = np.concatenate(((1 - share) * kept, negative))
        if rest.sum() < 1:  # nothing to compare with
            return logits
        odds = _log_density(rows, ours) - _log_density(rows, rest)
        prior = np.log((ours.sum() + _PRIOR_COUNT) / (rest.sum() + _PRIOR_COUNT))
        found = logits + CONTRAST * odds[:count] + PRIOR * prior
    return found


def soundness(qualities: Sequence[Quality]) -> Table:
    """Return the logit (N,) that each mask is an object of any kind."""
    return np.asarray(_quality_columns(qualities) @ np.array(SOUND[:2]) + SOUND[2])


def of_one_kind(logits: Table, sound: Table, kept: npt.NDArray[np.bool_]) -> Table:
    """Return the logits (N,) of `contrast`, higher for objects if the plane has one kind of them.

    Parameters
    ----------
    logits, sound : ndarray, shape (N,)
        From `contrast` and `soundness`.
    kept : ndarray of bool, shape (N,)
        Candidates that are no duplicates of sounder ones.
    """
    objects = logits[kept & (sound > 0)]
    if len(objects) < _BEST or (objects < _UNLIKE).mean() > _FEW or _parted(objects):
        return logits
    # High scores stay as they are.
    return np.asarray(logits + _ONE_KIND * _sigmoid(_SHARPNESS * sound) * _sigmoid(-logits))


def _parted(logits: Table) -> bool:
    """Return whether a wide gap parts logits."""
    falling = np.clip(np.sort(logits)[::-1], -_FAR, _FAR)
    above, below = falling[:-1], falling[1:]
    middle = (above + below) / 2
    count = np.arange(1, len(falling))
    mean = np.cumsum(above) / count
    spread = np.sqrt(np.maximum(0, np.cumsum(above**2) / count - mean**2))
    usable = (count >= _ABOVE) & (middle >= _UNLIKE) & (middle <= _MOST)
    return bool((usable & (above - below > _GAP * (1 + spread))).any())


def columns(
    looks: Sequence[Appearance], qualities: Sequence[Quality], wanted: Sequence[Appearance]
) -> Table:
    """Return the quantities (N, K) of the regression.

    A difference is the mean of that from the nearest example and of the average.
    """
    pairs = _differences(looks, wanted)
    nearness = 0.5 * (pairs.min(axis=1) + pairs.mean(axis=1))
    return np.concatenate((nearness, _quality_columns(qualities)), axis=1)


def values(looks: Sequence[Appearance]) -> Table:
    """Return the quantities (N, K) by which the classes of one image differ."""
    colours, rings = (
        np.array([getattr(one, name) for one in looks], np.float64) for name in ("colour", "ring")
    )
    brightness = colours.mean(axis=1, keepdims=True)
    rest = [
        (
            0.5 * np.log(one.area),
            np.log(max(one.extent) / min(one.extent)),
            2 * one.solidity,
            one.texture.mean(),
            one.edge,
            one.grain,
        )
        for one in looks
    ]
    parts = (np.array(rest), brightness, rings.mean(axis=1, keepdims=True), colours - brightness)
    return np.concatenate(parts, axis=1)


def _quality_columns(qualities: Sequence[Quality]) -> Table:
    return np.array([(one.score, np.sqrt(one.stability)) for one in qualities])


def _nearest(looks: Sequence[Appearance], examples: Sequence[Appearance]) -> Table:
    """Return the resemblance (N,) of each candidate to its nearest example."""
    pairs = _differences(looks, examples)
    return np.asarray((pairs @ np.array(WEIGHTS[: pairs.shape[-1]])).max(axis=1))


def _log_density(rows: Table, weights: Table) -> Table:
    """Return the log density (N,) of independent normal distributions fitted to weighted rows."""
    total = weights.sum()
    mean = weights @ rows / total
    variance = (weights @ (rows - mean) ** 2 + _PRIOR_COUNT) / (total + _PRIOR_COUNT)
    return np.asarray(-0.5 * ((rows - mean) ** 2 / variance + np.log(variance)).sum(axis=1))


def _differences(looks: Sequence[Appearance], examples: Sequence[Appearance]) -> Table:
    """Return the differences (N, M, K) of each candidate from each example."""
    a, b = (_unit(np.stack([one.features for one in side])) for side in (looks, examples))
    kinds: tuple[Callable[[Appearance], npt.ArrayLike], ...] = (
        lambda one: [np.log(one.area)],
        lambda one: one.ring,
        lambda one: [one.edge],
        lambda one: [one.grain],
    )
    features = np.sqrt(np.maximum(0, 2 - 2 * a @ b.T))
    return np.stack((features, *(_pairwise(looks, examples, kind) for kind in kinds)), axis=-1)


def _sigmoid(logits: Table) -> Table:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))))


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
