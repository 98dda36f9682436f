"""Confidence intervals from tests: what they do not reject."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Of a limit, in units of the first step.
_PRECISION = 1e-7


def accepted(
    p_value: Callable[[float], float],
    estimate: float,
    *,
    step: float,
    reach: float,
    confidence: float,
) -> tuple[float, float]:
    """Differences that a test does not reject, from the estimate outwards.

    Parameters
    ----------
    p_value : callable
        p for a supposed difference; 1 at the estimate.
    estimate, step, reach : float
        Where to start, how far to look first and at most.
    confidence : float

    Returns
    -------
    tuple of float
        Infinite on a side where none is rejected.
    """
    alpha = 1 - confidence

    def end(direction: float) -> float:
        inside, outside = 0.0, step
        while p_value(estimate + direction * outside) > alpha:
            inside, outside = outside, 2 * outside
            if outside > reach:
                return direction * math.inf
        while outside - inside > _PRECISION * step:
            middle = (inside + outside) / 2
            if p_value(estimate + direction * middle) > alpha:
                inside = middle
            else:
                outside = middle
        return estimate + direction * outside

    return end(-1.0), end(1.0)
