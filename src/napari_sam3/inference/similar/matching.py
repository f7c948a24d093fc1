"""Score of a mask as an object like the examples, from their appearances.

Three steps, fitted on candidates in training images with known truth:

1. `resemblance`: a logistic regression on the differences from the examples, and on the quality of
   the mask. Features are compared by what varies little within a kind of object (`compared`).
2. `contrast`: what tells the objects of one image apart from everything else there. The candidates
   that resemble the examples, and all others, are two classes with independent normal distributions
   of few quantities (naive Bayes), as in expectation maximization.
3. `of_one_kind`: where few of the plane's objects differ from the examples, there is no other kind
   to leave out, and they are raised unless a gap parts them from the others. On other planes the
   second step is taken with stricter logits of the first.
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
    SHIFT,
    SOUND,
    SPREADS,
    STRICT_LEVEL,
    STRICT_USUAL,
    USUAL,
    WEIGHTS,
    metric,
)

__all__ = [
    "Quality",
    "columns",
    "compared",
    "contrast",
    "levelled",
    "likelihood",
    "of_one_kind",
    "parted",
    "raised",
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
#: A plane has one kind of object if at most `_FEW` of its objects have negative logits, and at most
#: `_HALF` have strict ones below `_UNLIKE`. Low logits of objects rise by up to `_ONE_KIND` then;
#: `_SHARPNESS` sets objects off from masks that are none.
_FEW, _HALF, _UNLIKE, _ONE_KIND, _SHARPNESS = 0.42, 0.5, -2.0, 4.0, 2.0
#: A gap parts two kinds if its middle is from `_LEAST` to `_MOST`, at least `_ABOVE` objects are
#: above it, and it is wider than `_GAP` times one plus the standard deviation of these. Logits
#: beyond `_FAR` count as it.
_LEAST, _MOST, _ABOVE, _GAP, _FAR = -0.75, 5.0, 10, 1.8, 8.0

#: Added to a distance of features, which vary by 4 in the median, before its logarithm is taken.
_NEAR = 0.44
#: Logarithm of the mean distance among examples in training images, for a single example.
_ALONE = 1.35
#: Factor for features of weights that there is no metric for, so that distances are as large.
_PLAIN = 8.7

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
    return _sigmoid(CALIBRATION * (logits + SHIFT))


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


def levelled(logits: Table, kept: npt.NDArray[np.bool_], strict: bool = False) -> Table:
    """Return the logits (N,) of `resemblance`, lower the better the best of the plane are.

    Where some candidates resemble the examples closely, the others are another kind of object.
    Strict logits are for planes that have other kinds.
    """
    best = np.sort(logits[kept])[-_BEST:].mean()
    level, usual = (STRICT_LEVEL, STRICT_USUAL) if strict else (LEVEL, USUAL)
    return np.asarray(logits - level * (best - usual))


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
    everyone = (*looks, *wanted, *unwanted)
    rows = values(everyone) / np.array(SPREADS)
    features = np.stack([one.features for one in everyone])
    if _has_metric(features):
        rows = np.concatenate((rows, compared(features)), axis=1)
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


def of_one_kind(logits: Table, strict: Table) -> bool:
    """Return whether most of the objects with these logits from `contrast` are of one kind."""
    if len(logits) < _BEST or (logits < 0).mean() > _FEW:
        return False
    return bool(np.mean(strict < _UNLIKE) <= _HALF)


def raised(logits: Table, sound: Table) -> Table:
    """Return the logits (N,) of `contrast` on a plane with one kind, higher for objects."""
    # High scores stay as they are.
    return np.asarray(logits + _ONE_KIND * _sigmoid(_SHARPNESS * sound) * _sigmoid(-logits))


def parted(logits: Table) -> bool:
    """Return whether a wide gap parts a rarer kind of objects with lower logits from the others."""
    falling = np.clip(np.sort(logits)[::-1], -_FAR, _FAR)
    above, below = falling[:-1], falling[1:]
    middle = (above + below) / 2
    count = np.arange(1, len(falling))
    mean = np.cumsum(above) / count
    spread = np.sqrt(np.maximum(0, np.cumsum(above**2) / count - mean**2))
    usable = (count >= _ABOVE) & (middle >= _LEAST) & (middle <= _MOST)
    return bool((usable & (above - below > _GAP * (1 + spread))).any())


def columns(
    looks: Sequence[Appearance], qualities: Sequence[Quality], wanted: Sequence[Appearance]
) -> Table:
    """Return the quantities (N, K) of the regression.

    A difference is the mean of that from the nearest example and of the average. The more the
    examples differ from each other, the more the objects may differ from them.
    """
    pairs = _differences(looks, wanted)
    nearness = 0.5 * (pairs.min(axis=1) + pairs.mean(axis=1))
    spread = np.full((len(looks), 1), _spread(wanted))
    return np.concatenate((nearness, spread, _quality_columns(qualities)), axis=1)


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


def compared(features: npt.NDArray[np.floating]) -> Table:
    """Return features (N, K) such that those of one kind vary by 1 in an image, from (N, C).

    They are discriminants of the embedded model. Features of other weights are as long as each
    other.
    """
    if _has_metric(features):
        return np.asarray(features.astype(np.float64) @ metric())
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(_PLAIN * features / np.maximum(1e-6, lengths))


def _spread(wanted: Sequence[Appearance]) -> float:
    """Return the logarithm of the mean distance of the features of examples."""
    from scipy.spatial.distance import pdist  # slow to import

    if len(wanted) < 2:
        return _ALONE
    places = compared(np.stack([one.features for one in wanted]))
    return float(np.log(_NEAR + pdist(places).mean()))


def _has_metric(features: npt.NDArray[np.floating]) -> bool:
    return bool(features.shape[1] == len(metric()))


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
    from scipy.spatial.distance import cdist  # slow to import

    a, b = (compared(np.stack([one.features for one in side])) for side in (looks, examples))
    kinds: tuple[Callable[[Appearance], npt.ArrayLike], ...] = (
        lambda one: [np.log(one.area)],
        lambda one: one.ring,
        lambda one: [one.edge],
        lambda one: [one.grain],
    )
    features = np.log(_NEAR + cdist(a, b))
    return np.stack((features, *(_pairwise(looks, examples, kind) for kind in kinds)), axis=-1)


def _sigmoid(logits: Table) -> Table:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))))


def _pairwise(
    looks: Sequence[Appearance],
    examples: Sequence[Appearance],
    value: Callable[[Appearance], npt.ArrayLike],
) -> Table:
    """Return the root mean square differences (N, M) of a value."""
    left, right = (np.array([value(one) for one in side], np.float64) for side in (looks, examples))
    return np.asarray(np.sqrt(((left[:, None] - right[None]) ** 2).mean(axis=-1)))
