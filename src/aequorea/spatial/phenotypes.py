"""Combined phenotypes (A+B+, A+B−C+), held against what chance gives in each neighbourhood."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy import fft, special, stats
from scipy.spatial import cKDTree

from aequorea.errors import AxisMismatchError, InputError

__all__ = ["PhenotypeTest", "expected_by_chance", "neighbourhoods", "phenotype_test"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Alternative = Literal["two-sided", "greater", "less"]

HYPOTHESIS = (
    "Within neighbourhoods of about {size} cells the markers of the phenotype are independent of "
    "each other: the pattern of each is as likely as the same pattern shifted against the cells."
)
UNIT = "cell within the regions tested (not animals; marks of nearby cells may be alike)"

#: Cells per neighbourhood: 10 to 20 hold their level alike; fewer follow gradients better and
#: leave more independent shifts, more see association at a larger scale.
DEFAULT_SIZE = 12
#: Fewer independent shifts do not tell the spread of the count.
MIN_INDEPENDENT = 3.0
_MIN_SHIFTS = 10
_MIN_OVERLAP = 0.5  # a smaller part of the region is no measure of the whole
_NEIGHBOURS = 4
_GRID_PER_SPACING = 3
_MAX_GRID = 1 << 22
_REACH = 1.5  # cell spacings to the cell that a shifted position falls on
_EXACT_VARIANCE = 1000.0  # beyond this the exact null distribution is normal for any purpose
_TINY = 1e-9


@dataclass(frozen=True, kw_only=True)
class PhenotypeTest:
    """A count of cells held against what local chance gives.

    Attributes
    ----------
    observed : int
        Cells of the phenotype.
    expected : float
        Their mean number if markers were dealt out independently within each neighbourhood.
    expected_naive : float
        Number of cells times the product of the overall fractions, for description only: shared
        gradients and clusters move it.
    ratio : float
        ``observed / expected``; NaN if nothing is expected.
    p_value : float
        NaN with a reason where it is undefined.
    p_floor : float
        The smallest p-value that these local fractions allow.
    z_score : float
        ``observed - expected`` in the cells tested, over its standard deviation under the null.
    inflation : float
        Variance of the count over that of independently dealt markers: above 1 where neighbours
        are alike in each marker.
    n_cells, n_tested : int
        Cells counted; cells in regions large enough to be tested.
    n_effective : float
        Independent cells that carry the same information: ``n_tested / inflation``.
    n_independent : float
        Independent shifts on which the standard deviation rests (degrees of freedom of t).
    n_neighbourhoods, n_informative : int
        Neighbourhoods, and those in which the count could have come out differently.
    alternative, hypothesis, unit : str
        The null and the unit of inference, in words.
    reason : str
        Why there is no p-value; empty when there is one.
    warnings : tuple of str
    """

    observed: int
    expected: float
    expected_naive: float
    ratio: float
    p_value: float = float("nan")
    p_floor: float = float("nan")
    z_score: float = float("nan")
    inflation: float = float("nan")
    n_cells: int
    n_tested: int = 0
    n_effective: float = float("nan")
    n_independent: float = float("nan")
    n_neighbourhoods: int
    n_informative: int = 0
    alternative: str = "two-sided"
    hypothesis: str = ""
    unit: str = UNIT
    reason: str = ""
    warnings: tuple[str, ...] = ()


def phenotype_test(
    positions: npt.ArrayLike,
    marks: npt.ArrayLike,
    wanted: npt.ArrayLike,
    *,
    neighbourhood: int = DEFAULT_SIZE,
    regions: npt.ArrayLike | None = None,
    n_shifts: int = 600,
    alternative: Alternative = "two-sided",
) -> PhenotypeTest:
    """Test whether markers meet in the same cells more, or less, than local chance allows.

    Parameters
    ----------
    positions : array_like, shape (n, d), µm
        Cell centres, 1 to 3 dimensions, all axes in one unit.
    marks : array_like of bool, shape (n, k)
        Which cells are positive for which marker.
    wanted : array_like of int, shape (k,)
        The phenotype: +1 positive, −1 negative, 0 either.
    neighbourhood : int, default 12
        Cells per neighbourhood. Whatever markers share at a larger scale (a layer, a gradient, a
        cluster wider than this) is not association; see Notes.
    regions : array_like of int, shape (n,), optional
        Region, image or section of each cell; neighbourhoods and shifts stay within one.
    n_shifts : int, default 600
        Shifts tried per region, about.
    alternative : {"two-sided", "greater", "less"}

    Returns
    -------
    PhenotypeTest

    Raises
    ------
    AxisMismatchError
        If lengths do not agree.
    InputError
        If the request makes no sense. Data that permit no test are no error: the p-value is NaN
        and ``reason`` says why.

    Notes
    -----
    The statistic is the count minus its exact expectation given the local fractions (k-d
    bisection into compact neighbourhoods of nearly equal size). Dealing markers out again within
    neighbourhoods would underestimate its spread as soon as neighbours are alike, which
    segmentation, clones and layers see to (34 % false positives at 5 % for patterns of 2 cell
    spacings). So the spread is
    measured on the data with each marker's pattern shifted rigidly against the others: a cell
    takes the mark of the cell nearest to its shifted position. The variance of the studentised
    count over these shifts inflates that of independent dealing (never deflates it), and the
    p-value is the larger of Student's t with as many degrees of freedom as there are
    *independent* shifts, and the exact conditional tail (convolved hypergeometric distributions)
    of the deviation, shrunk by the inflation; the latter keeps rare phenotypes honest.

    Conservative where few shifts are independent (patterns as wide as a fifth of the region, for
    which the p-value is mostly withheld) and for rare phenotypes. Gradients that both markers
    share are followed if they take longer than a neighbourhood (12 cells: 3.5 spacings). *Sharp*
    edges that both share are not: a layer in which both are frequent (60 against 10 %, 900 cells)
    is called association in 35 % of images at 5 %, in 6 % if its edge takes 3 spacings, in 5 % if
    it takes 6. Smaller neighbourhoods only soften this; give each side of such an edge as its own
    region (4 %). More than two markers: independence is mutual, so rejection may be owed to any
    of the pairs. Measured rates are in ``benchmarks/results/calibration_cells.csv``.

    Deterministic. Cost: ``n_shifts`` passes over the cells.

    References
    ----------
    .. [1] Clifford, Richardson & Hémon (1989) doi:10.2307/2532039
    .. [2] Mrkvička et al. (2021) doi:10.1016/j.spasta.2020.100430

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> where = rng.uniform(0, 300, (600, 2))
    >>> a, b = rng.random((2, 600)) < 0.3
    >>> both = np.column_stack([a, b | (a & (rng.random(600) < 0.3))])
    >>> result = phenotype_test(where, both, [1, 1])
    >>> result.observed, round(result.expected), result.p_value < 0.01
    (85, 69, True)
    >>> phenotype_test(where, np.column_stack([a, b]), [1, 1]).p_value > 0.05
    True
    """
    points, flags, signs, region = _checked(positions, marks, wanted, regions)
    size = _whole("neighbourhood", neighbourhood, 2)
    tries = _whole("n_shifts", n_shifts, 50)
    if alternative not in get_args(Alternative):
        raise InputError(
            f"alternative: expected one of {', '.join(get_args(Alternative))}, "
            f"found {alternative!r}"
        )
    asked = flags[:, signs != 0] == (signs[signs != 0] > 0)
    labels = _neighbourhoods(points, region, size)
    counts = _counts(asked, labels)
    n = len(points)
    expected = float(_expected(*counts).sum())
    observed = int(asked.all(axis=1).sum())
    variance = _permutation_variance(*counts)
    header: dict[str, Any] = {
        "observed": observed,
        "expected": expected,
        "expected_naive": float(n * asked.mean(axis=0).prod()) if n else 0.0,
        "ratio": observed / expected if expected > 0 else float("nan"),
        "n_cells": n,
        "n_neighbourhoods": len(counts[0]),
        "n_informative": int((variance > _TINY).sum()),
        "alternative": alternative,
        "hypothesis": HYPOTHESIS.format(size=size),
    }
    reason = _untestable(asked, header["n_informative"])
    if reason:
        return PhenotypeTest(**header, reason=reason)

    of_cell = variance[labels]
    spread = [
        _spread(points[cells], asked[cells], labels[cells], size, tries)
        for cells in (np.flatnonzero(region == r) for r in np.unique(region))
        if of_cell[cells].max() > _TINY
    ]
    usable = [s for s in spread if s.n_independent > 0]
    if not usable:
        why = "no region is large enough to shift one marker's pattern against another's"
        return PhenotypeTest(**header, reason=why)
    shares = np.array([s.inflation * s.variance for s in usable])
    degrees = np.array([s.n_independent for s in usable])
    total_variance = sum(s.variance for s in usable)
    independent = float(shares.sum() ** 2 / (shares**2 / degrees).sum())
    inflation = max(1.0, float(shares.sum() / total_variance))
    n_tested = sum(s.n_cells for s in usable)
    header |= {
        "inflation": inflation,
        "n_tested": n_tested,
        "n_effective": n_tested / inflation,
        "n_independent": independent,
    }
    left_out = len(np.unique(region)) - len(usable)
    if left_out:
        why = f"{left_out} regions ({n - n_tested} cells) are too small or uniform to be tested"
        header["warnings"] = (why,)
    if independent < MIN_INDEPENDENT:
        why = (
            f"only {independent:.1f} independent shifts ({MIN_INDEPENDENT:.0f} needed): the "
            "regions are too small for how far neighbours are alike"
        )
        return PhenotypeTest(**header, reason=why)

    tested = np.concatenate([s.labels for s in usable])
    sizes, positives = counts[0][tested], counts[1][tested]
    null = _Null(
        expected=float(_expected(sizes, positives).sum()),
        variance=total_variance,
        inflation=inflation,
        degrees=independent,
        pmf=_count_pmf(sizes, positives) if total_variance <= _EXACT_VARIANCE else None,
    )
    count = sum(s.observed for s in usable)
    lowest = np.maximum(0, positives.sum(axis=1) - (positives.shape[1] - 1) * sizes).sum()
    extremes = [null.p_value(float(x), alternative) for x in (lowest, positives.min(axis=1).sum())]
    return PhenotypeTest(
        **header,
        p_value=null.p_value(float(count), alternative),
        p_floor=min(extremes),
        z_score=null.z_score(float(count)),
    )


def neighbourhoods(
    positions: npt.ArrayLike,
    *,
    size: int = DEFAULT_SIZE,
    regions: npt.ArrayLike | None = None,
) -> IntArray:
    """Divide cells into compact neighbourhoods of nearly equal numbers.

    Parameters
    ----------
    positions : array_like, shape (n, d), µm
    size : int, default 12
        Cells per neighbourhood, about.
    regions : array_like of int, shape (n,), optional
        No neighbourhood spans two regions.

    Returns
    -------
    ndarray of int64, shape (n,)
        Numbered from 0.

    Raises
    ------
    AxisMismatchError, InputError
        If shapes do not agree or a position is not finite.

    Notes
    -----
    Bisection across the longer side (k-d tree), O(n log² n). A region of fewer than 1.5 ``size``
    cells is one neighbourhood.

    Examples
    --------
    >>> neighbourhoods([[0, 0], [0, 9], [0, 1], [0, 8]], size=2)
    array([0, 1, 0, 1])
    """
    points = _positions(positions)
    region = _regions(regions, len(points))
    return _neighbourhoods(points, region, _whole("size", size, 1))


def expected_by_chance(
    marks: npt.ArrayLike, wanted: npt.ArrayLike, neighbourhoods: npt.ArrayLike | None = None
) -> float:
    """Cells of a phenotype if markers were dealt out independently within neighbourhoods.

    Parameters
    ----------
    marks : array_like of bool, shape (n, k)
    wanted : array_like of int, shape (k,)
        +1 positive, −1 negative, 0 either.
    neighbourhoods : array_like of int, shape (n,), optional
        Label of each cell, see :func:`neighbourhoods`; without it all cells are one, and this is
        the number of cells times the product of the fractions.

    Returns
    -------
    float

    Raises
    ------
    AxisMismatchError, InputError
        If shapes do not agree or values are not what they should be.

    Examples
    --------
    >>> marks = [[1, 1], [1, 1], [0, 0], [0, 0]]
    >>> expected_by_chance(marks, [1, 1]), expected_by_chance(marks, [1, 1], [0, 0, 1, 1])
    (1.0, 2.0)
    """
    flags, signs = _marks(marks), _wanted(wanted)
    if flags.shape[1] != len(signs):
        raise _mismatch(flags.shape[1], len(signs))
    labels = _regions(neighbourhoods, len(flags), "neighbourhoods")
    asked = flags[:, signs != 0] == (signs[signs != 0] > 0)
    _, numbered = np.unique(labels, return_inverse=True)
    return float(_expected(*_counts(asked, numbered)).sum())


# --- what was given ---------------------------------------------------------------------------


def _checked(
    positions: npt.ArrayLike, marks: npt.ArrayLike, wanted: npt.ArrayLike, regions: Any
) -> tuple[FloatArray, BoolArray, IntArray, IntArray]:
    points, flags, signs = _positions(positions), _marks(marks), _wanted(wanted)
    if len(points) != len(flags):
        raise AxisMismatchError(
            f"marks: expected a row for each of {len(points)} positions, found {len(flags)}; "
            "give both in the same order of cells"
        )
    if flags.shape[1] != len(signs):
        raise _mismatch(flags.shape[1], len(signs))
    return points, flags, signs, _regions(regions, len(points))


def _mismatch(n_markers: int, n_wanted: int) -> AxisMismatchError:
    return AxisMismatchError(
        f"wanted: expected one of +1, -1, 0 for each of {n_markers} markers, found {n_wanted}; "
        "give 0 for markers that do not matter"
    )


def _positions(positions: npt.ArrayLike) -> FloatArray:
    points = np.asarray(positions, dtype=np.float64)
    if points.size == 0:
        points = points.reshape(0, points.shape[1] if points.ndim == 2 else 1)
    if points.ndim != 2 or not 1 <= points.shape[1] <= 3:
        raise InputError(
            f"positions: expected shape (n, 1 to 3), found {points.shape}; one row per cell"
        )
    if not np.isfinite(points).all():
        raise InputError(
            "positions: expected finite numbers, found NaN or infinity; leave those cells out"
        )
    return points


def _marks(marks: npt.ArrayLike) -> BoolArray:
    flags = np.asarray(marks)
    if flags.ndim != 2:
        raise InputError(
            f"marks: expected shape (n_cells, n_markers), found {flags.shape}; one row per cell"
        )
    if flags.size and (flags.dtype.kind not in "buif" or not np.isin(flags, (0, 1)).all()):
        raise InputError(
            f"marks: expected True or False, found other values ({flags.dtype}); "
            "call cells positive or negative first"
        )
    return flags.astype(np.bool_)


def _wanted(wanted: npt.ArrayLike) -> IntArray:
    signs = np.asarray(wanted)
    if signs.ndim != 1 or signs.dtype.kind not in "if" or not np.isin(signs, (-1, 0, 1)).all():
        raise InputError(
            f"wanted: expected one of +1, -1, 0 for each marker, found {wanted!r}; "
            "+1 is positive, -1 negative, 0 either"
        )
    return signs.astype(np.int64)


def _regions(regions: Any, n: int, name: str = "regions") -> IntArray:
    if regions is None:
        return np.zeros(n, np.int64)
    labels = np.asarray(regions)
    if labels.shape != (n,):
        raise AxisMismatchError(
            f"{name}: expected one label for each of {n} cells, found shape {labels.shape}; "
            "give them in the same order of cells"
        )
    if labels.size and labels.dtype.kind not in "ui":
        raise InputError(f"{name}: expected integers, found {labels.dtype}; number them")
    return labels.astype(np.int64)


def _whole(name: str, value: Any, smallest: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name}: expected a whole number, found {value!r}") from None
    if number < smallest:
        raise InputError(f"{name}: expected at least {smallest}, found {number}")
    return number


def _untestable(asked: BoolArray, n_informative: int) -> str:
    if len(asked) == 0:
        return "no cells"
    if asked.shape[1] < 2:
        return "a phenotype of fewer than two markers: nothing could be associated"
    if asked.shape[1] > _MOST_MARKERS:
        return f"more than {_MOST_MARKERS} markers in one phenotype are not tested"
    if n_informative == 0:
        return (
            "no neighbourhood holds both positive and negative cells of two markers: the count "
            "could not have come out differently"
        )
    return ""


# --- neighbourhoods and what chance gives in them -----------------------------------------------


def _neighbourhoods(points: FloatArray, region: IntArray, size: int) -> IntArray:
    labels = np.zeros(len(points), np.int64)
    n_labels = 0
    for r in np.unique(region):
        cells = np.flatnonzero(region == r)
        parts = [(cells, max(1, round(len(cells) / size)))]
        while parts:
            part, n_leaves = parts.pop()
            if n_leaves == 1:
                labels[part] = n_labels
                n_labels += 1
                continue
            axis = int(np.argmax(np.ptp(points[part], axis=0)))
            order = part[np.argsort(points[part, axis], kind="stable")]
            left = n_leaves // 2
            cut = round(len(part) * left / n_leaves)
            parts += [(order[cut:], n_leaves - left), (order[:cut], left)]
    return labels


def _counts(asked: BoolArray, labels: IntArray) -> tuple[IntArray, IntArray]:
    """Cells, and cells with the wanted state of each marker, per neighbourhood."""
    sizes = np.bincount(labels).astype(np.int64)
    positives = np.zeros((len(sizes), asked.shape[1]), np.int64)
    np.add.at(positives, labels, asked)
    return sizes, positives


def _expected(sizes: IntArray, positives: IntArray) -> FloatArray:
    expected: FloatArray = sizes * (positives / sizes[:, None]).prod(axis=1)
    return expected


def _permutation_variance(sizes: IntArray, positives: IntArray) -> FloatArray:
    """Variance of each neighbourhood's count when each marker is dealt out anew."""
    n = sizes.astype(np.float64)
    mean = _expected(sizes, positives)
    pairs = np.maximum(n * (n - 1), 1)
    both = pairs * (positives * (positives - 1) / pairs[:, None]).prod(axis=1)
    both[sizes < 2] = 0.0
    variance: FloatArray = np.maximum(mean + both - mean**2, 0.0)
    return variance


@njit(cache=True, nogil=True)
def _hypergeometric(n, a, b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Probability of x common cells when a and b of n are chosen, x = 0 … min(a, b)."""
    low, high = max(0, a + b - n), min(a, b)
    pmf = np.zeros(high + 1)
    pmf[low] = 1.0
    total = 1.0
    for x in range(low, high):
        pmf[x + 1] = pmf[x] * (a - x) * (b - x) / ((x + 1) * (n - a - b + x + 1))
        total += pmf[x + 1]
    return pmf / total


@njit(cache=True, nogil=True)
def _count_pmf(sizes, positives):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Exact distribution of the total count when each marker is dealt out anew."""
    total = np.zeros(sizes.sum() + 1)
    total[0] = 1.0
    top = 0
    for g in range(sizes.size):
        n = sizes[g]
        part = np.zeros(n + 1)
        part[positives[g, 0]] = 1.0
        for j in range(1, positives.shape[1]):
            joint = np.zeros(n + 1)
            for a in range(n + 1):
                if part[a] > 0:
                    step = _hypergeometric(n, a, positives[g, j])
                    for x in range(step.size):
                        joint[x] += part[a] * step[x]
            part = joint
        high = n
        while high > 0 and part[high] == 0:
            high -= 1
        grown = np.zeros(top + high + 1)
        for x in range(high + 1):
            if part[x] > 0:
                for t in range(top + 1):
                    grown[t + x] += part[x] * total[t]
        top += high
        total[: top + 1] = grown
    return total[: top + 1]


@dataclass(frozen=True)
class _Null:
    """Distribution of the count when markers meet by local chance only."""

    expected: float
    variance: float
    inflation: float
    degrees: float
    pmf: FloatArray | None

    def z_score(self, count: float) -> float:
        return (count - self.expected) / float(np.sqrt(self.inflation * self.variance))

    def p_value(self, count: float, alternative: str) -> float:
        z = self.z_score(count)
        up, down = float(stats.t.sf(z, self.degrees)), float(stats.t.cdf(z, self.degrees))
        if self.pmf is not None:
            shrunk = self.expected + (count - self.expected) / np.sqrt(self.inflation)
            first = max(0, int(np.ceil(shrunk - _TINY)))
            last = max(-1, int(np.floor(shrunk + _TINY)))
            up = max(up, float(self.pmf[first:].sum()))
            down = max(down, float(self.pmf[: last + 1].sum()))
        p = {"greater": up, "less": down, "two-sided": 2 * min(up, down)}[alternative]
        return min(1.0, p)


# --- shifts -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Spread:
    """How much the count of one region varies over shifts."""

    n_cells: int
    observed: int
    variance: float  # of independent dealing within neighbourhoods
    inflation: float
    n_independent: float
    labels: IntArray  # its neighbourhoods


#: Markers beyond the first go to corners of a hexagon around it, so that any two are as far
#: apart as the shift is long and much of the region stays covered by all.
_MOST_MARKERS = 7


def _spread(
    points: FloatArray, asked: BoolArray, labels: IntArray, size: int, n_shifts: int
) -> _Spread:
    own, local = np.unique(labels, return_inverse=True)
    sizes, positives = _counts(asked, local)
    variance = float(_permutation_variance(sizes, positives).sum())
    observed = int(asked.all(axis=1).sum())
    nothing = _Spread(len(points), observed, variance, np.nan, 0.0, own)
    points = points[:, np.ptp(points, axis=0) > 0]
    if len(points) <= _NEIGHBOURS or points.shape[1] == 0:
        return nothing
    spacing = _cell_spacing(points)
    if not spacing > 0:
        return nothing
    lattice, step = _lattice(points, spacing, n_shifts)
    n_markers = asked.shape[1]
    shifts: FloatArray = lattice.astype(np.float64) * step
    offsets = np.zeros((len(lattice), n_markers, points.shape[1]))
    for j in range(1, n_markers):
        offsets[:, j] = _turned(shifts, j - 1)
    grid = _NearestCells.of(points, spacing)
    deviation, variances, kept = _shifted_counts(
        (points - grid.origin) / grid.step,
        local,
        asked,
        grid.nearest.reshape(-1),
        np.array(grid.nearest.shape),
        offsets / grid.step,
        len(own),
    )
    reach = size ** (1 / points.shape[1]) * spacing
    far = np.sqrt((shifts**2).sum(axis=1)) >= reach / 2
    usable = far & (kept >= _MIN_OVERLAP * len(points)) & (variances > _TINY)
    if usable.sum() < _MIN_SHIFTS:
        return nothing
    z = np.where(usable, deviation / np.sqrt(np.where(usable, variances, 1.0)), 0.0)
    inflation = float((z**2).sum() / usable.sum())
    if not inflation > 0:
        return nothing
    n_independent = _independent(lattice, z, usable, reach=2 * reach / step)
    return _Spread(len(points), observed, variance, inflation, n_independent, own)


def _cell_spacing(points: FloatArray) -> float:
    """Edge of the square (cube) that a cell has to itself, where most cells are."""
    ndim = points.shape[1]
    distance, _ = cKDTree(points).query(points, _NEIGHBOURS + 1)
    ball = np.pi ** (ndim / 2) / special.gamma(ndim / 2 + 1)
    return float(np.median(np.asarray(distance)[:, -1])) * float((ball / _NEIGHBOURS) ** (1 / ndim))


def _lattice(points: FloatArray, spacing: float, n_shifts: int) -> tuple[IntArray, float]:
    """Whole multiples of a step, up to half of the region, along its long axes."""
    extent: FloatArray = points.max(axis=0) - points.min(axis=0)
    long = extent >= extent.max() / 2
    room = float(extent[long].prod() / (1.6 * n_shifts)) ** (1 / int(long.sum()))
    step = max(spacing, room)
    most = np.where(long, np.floor(extent / 2 / step), 0).astype(int)
    axes = np.meshgrid(*[np.arange(-m, m + 1) for m in most], indexing="ij")
    return np.stack(axes, axis=-1).reshape(-1, len(most)).astype(np.int64), step


def _turned(shifts: FloatArray, sixths: int) -> FloatArray:
    """Shifts turned by sixths of a circle in the last two axes that move; multiples on a line."""
    moving = np.flatnonzero(shifts.any(axis=0))
    if len(moving) < 2:
        return shifts * (1 - 2 * (sixths % 2)) * (1 + sixths // 2)
    y, x = moving[-2:]
    angle = sixths * np.pi / 3
    turned = shifts.copy()
    turned[:, y] = np.cos(angle) * shifts[:, y] - np.sin(angle) * shifts[:, x]
    turned[:, x] = np.sin(angle) * shifts[:, y] + np.cos(angle) * shifts[:, x]
    return turned


@dataclass(frozen=True)
class _NearestCells:
    """Index of the nearest cell on a fine grid; −1 far from any."""

    origin: FloatArray
    step: float
    nearest: npt.NDArray[np.int32]

    @classmethod
    def of(cls, points: FloatArray, spacing: float) -> _NearestCells:
        origin = points.min(axis=0) - spacing / 2
        extent = points.max(axis=0) + spacing / 2 - origin
        finest = float(extent.prod() / _MAX_GRID) ** (1 / len(extent))
        step = max(spacing / _GRID_PER_SPACING, finest)
        shape = np.ceil(extent / step).astype(int)
        centres = [low + (np.arange(n) + 0.5) * step for low, n in zip(origin, shape, strict=True)]
        where = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, len(extent))
        reach = max(_REACH * spacing, step)
        distance, nearest = cKDTree(points).query(where, distance_upper_bound=reach)
        nearest = np.where(np.isfinite(distance), nearest, -1)
        return cls(origin, step, nearest.reshape(shape).astype(np.int32))


@njit(cache=True, nogil=True)
def _shifted_counts(base, labels, asked, nearest, shape, offsets, n_labels):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Count minus expectation, its variance if dealt out anew, and cells left, for each shift."""
    n, ndim = base.shape
    n_shifts, n_markers = offsets.shape[0], offsets.shape[1]
    deviation, variance = np.zeros(n_shifts), np.zeros(n_shifts)
    kept = np.zeros(n_shifts, np.int64)
    size, count = np.zeros(n_labels), np.zeros(n_labels)
    positive = np.zeros((n_labels, n_markers))
    source = np.zeros(n_markers, np.int64)
    for s in range(n_shifts):
        size[:] = 0
        count[:] = 0
        positive[:] = 0
        for i in range(n):
            inside = True
            source[0] = i
            for j in range(1, n_markers):
                flat = 0
                for d in range(ndim):
                    at = base[i, d] + offsets[s, j, d]
                    if at < 0 or at >= shape[d]:
                        inside = False
                        break
                    flat = flat * shape[d] + int(at)
                if not inside:
                    break
                source[j] = nearest[flat]
                if source[j] < 0:
                    inside = False
                    break
            if not inside:
                continue
            g = labels[i]
            size[g] += 1
            kept[s] += 1
            every = True
            for j in range(n_markers):
                if asked[source[j], j]:
                    positive[g, j] += 1
                else:
                    every = False
            if every:
                count[g] += 1
        for g in range(n_labels):
            m = size[g]
            if m < 2:
                continue
            mean, both = m, m * (m - 1)
            for j in range(n_markers):
                mean *= positive[g, j] / m
                both *= positive[g, j] * (positive[g, j] - 1) / (m * (m - 1))
            deviation[s] += count[g] - mean
            variance[s] += max(mean + both - mean * mean, 0.0)
    return deviation, variance, kept


def _independent(lattice: IntArray, z: FloatArray, usable: BoolArray, *, reach: float) -> float:
    """Shifts over the sum of squared correlations between the z of neighbouring shifts."""
    most = lattice.max(axis=0)
    shape = tuple(2 * most + 1)
    values, mask = np.zeros(shape), np.zeros(shape)
    at = tuple((lattice + most).T)
    values[at], mask[at] = z, usable
    padded = [2 * n for n in shape]
    pairs = _autocorrelation(mask, padded)
    products = _autocorrelation(values, padded)
    lags = np.meshgrid(*[np.rint(fft.fftfreq(n, 1 / n)) for n in padded], indexing="ij")
    distance = np.asarray(np.linalg.norm(np.stack(lags), axis=0), dtype=np.float64)
    near = (distance > 0) & (distance <= np.ceil(reach)) & (pairs > 0.5)
    n = int(usable.sum())
    correlation = products[near] / pairs[near] / (float(np.square(z).sum()) / n)
    area = 1 + max(0.0, float((correlation**2 - 1 / pairs[near]).sum()))
    return float(max(1.0, n / area))


def _autocorrelation(values: FloatArray, padded: list[int]) -> FloatArray:
    spectrum = fft.rfftn(values, padded)
    return np.asarray(fft.irfftn(spectrum * spectrum.conj(), padded))
