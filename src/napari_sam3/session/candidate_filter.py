"""The filter of candidates, by score and area."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sam3.errors import PromptError

__all__ = ["CandidateFilter"]


@dataclass(frozen=True)
class CandidateFilter:
    """Criteria for the candidates that are shown and accepted.

    Parameters
    ----------
    min_score, max_score : float
        Range of the score, 0 to 1.
    min_area, max_area : float
        Range of the area in px.

    Raises
    ------
    sam3.errors.PromptError
        If a value is out of range.
    """

    min_score: float = 0.0
    max_score: float = 1.0
    min_area: float = 0
    max_area: float = float("inf")

    def __post_init__(self) -> None:
        """Validate the values."""
        for name, score in (("minimum", self.min_score), ("maximum", self.max_score)):
            if not 0 <= score <= 1:
                raise PromptError(
                    f"invalid {name} score: {score!r}. Expected a number from 0 to 1. Use a value "
                    "such as 0.5."
                )
        for name, area in (("minimum", self.min_area), ("maximum", self.max_area)):
            if not area >= 0:
                raise PromptError(
                    f"invalid {name} area: {area!r} px. Expected 0 or more. Use a value such as 25."
                )

    def passes(
        self, scores: npt.NDArray[np.float64], areas: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        """Return which candidates pass; a score above 1 counts as 1."""
        scores = np.minimum(scores, 1.0)
        inside = (scores >= self.min_score) & (scores <= self.max_score)
        return inside & (areas >= self.min_area) & (areas <= self.max_area)
