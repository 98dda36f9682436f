"""Animals dealt out anew to two conditions: exact where all ways can be counted."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

#: All ways are gone through up to this many, otherwise as many are drawn as ``N_DRAWN``.
MOST_COUNTED = 20_000
N_DRAWN = 9_999
_TIE = 1e-9


@dataclass(frozen=True, eq=False, kw_only=True)
class Arrangements:
    """Ways to deal animals out.

    Attributes
    ----------
    weights : ndarray of float, shape (k, n_animals)
        Independent: 1 for animals dealt to the second condition, else 0. Paired: -1 for animals
        whose two conditions are exchanged, else 1. The first row is how it was.
    paired : bool
    exact : bool
        Whether these are all ways; otherwise a sample, drawn with a seed.
    smallest_p : float
        Smallest two-sided p that this many animals can give.
    """

    weights: FloatArray
    paired: bool
    exact: bool
    smallest_p: float

    def p_value(self, statistics: FloatArray) -> float:
        """Share of ways whose statistic is no smaller than the first, which counts itself."""
        return float((statistics >= statistics[0] * (1 - _TIE)).mean())

    def too_few(self, unit: str) -> str:
        """Why so few animals cannot be tested by permutation."""
        k, n = self.weights.shape
        m = int(self.weights[0].sum())
        animals = f"{n} pairs" if self.paired else f"{n - m} + {m} {unit}s"
        ways = f"{animals} can be dealt out in {k} ways"
        return f"{ways}, so p cannot be below {self.smallest_p:.3g}"


def arrangements(
    n_first: int, n_second: int, *, paired: bool = False, seed: int = 0
) -> Arrangements:
    """All ways to deal animals out to two conditions, or a sample of them.

    Parameters
    ----------
    n_first, n_second : int
        Animals of the conditions; the same number if paired.
    paired : bool, default False
        Exchange the conditions within animals.
    seed : int, default 0
        Of the sample, drawn where there are more than 20,000 ways.

    Examples
    --------
    >>> arrangements(3, 3).smallest_p
    0.1
    >>> round(arrangements(4, 4).smallest_p, 4)
    0.0286
    >>> arrangements(6, 6, paired=True).smallest_p
    0.03125
    """
    n = n_first if paired else n_first + n_second
    n_ways = 2**n if paired else math.comb(n, n_second)
    mirrored = 2 if paired or n_first == n_second else 1
    if n_ways > MOST_COUNTED:
        drawn = _drawn(n, n_second, paired, np.random.default_rng(seed))
        smallest = 1 / len(drawn)
        return Arrangements(weights=drawn, paired=paired, exact=False, smallest_p=smallest)
    if paired:
        weights = np.array(list(itertools.product((1.0, -1.0), repeat=n))).reshape(-1, n)
    else:
        chosen = list(itertools.combinations(range(n - 1, -1, -1), n_second))
        weights = np.zeros((n_ways, n))
        np.put_along_axis(weights, np.array(chosen, dtype=np.intp).reshape(n_ways, -1), 1.0, axis=1)
    smallest = min(1.0, mirrored / n_ways)
    return Arrangements(weights=weights, paired=paired, exact=True, smallest_p=smallest)


def _drawn(n: int, n_second: int, paired: bool, rng: np.random.Generator) -> FloatArray:
    if paired:
        signs = rng.choice((-1.0, 1.0), (N_DRAWN + 1, n))
        signs[0] = 1.0
        return signs
    weights = np.zeros((N_DRAWN + 1, n))
    weights[:, n - n_second :] = 1.0
    weights[1:] = rng.permuted(weights[1:], axis=1)
    return weights


def studentised(values: FloatArray, ways: Arrangements) -> FloatArray:
    """Absolute t of each way: Welch's of animals dealt out, paired t of changes exchanged.

    Parameters
    ----------
    values : ndarray, shape (n_animals,)
        First condition first; changes if paired.
    ways : Arrangements

    Returns
    -------
    ndarray, shape (k,)
        Infinite where nothing varies within conditions that differ.

    References
    ----------
    .. [1] Chung & Romano (2013), doi:10.1214/13-AOS1090
    """
    if ways.paired:
        n = len(values)
        mean = ways.weights @ values / n
        variance = np.maximum((values**2).mean() - mean**2, 0) / (n - 1)
        return _ratio(np.abs(mean), variance, float((values**2).mean()))
    x = values - values.mean()
    m = float(ways.weights[0].sum())
    sums, squares = ways.weights @ x, ways.weights @ x**2
    parts = []
    for k, total, square in ((m, sums, squares), (len(x) - m, -sums, (x**2).sum() - squares)):
        parts.append((total / k, np.maximum(square / k - (total / k) ** 2, 0) / (k - 1)))
    (first, a), (second, b) = parts
    return _ratio(np.abs(first - second), a + b, float((x**2).mean()))


def _ratio(difference: FloatArray, variance: FloatArray, scale: float) -> FloatArray:
    """Statistics, exactly equal where they differ by rounding alone."""
    nothing = variance <= 1e-14 * scale
    t = difference / np.sqrt(np.where(nothing, 1.0, variance))
    return np.where(nothing, np.where(difference**2 > 1e-14 * scale, np.inf, 0.0), t)
