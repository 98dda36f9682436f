"""How many molecules a cell has, from its light and that of single molecules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize, special

from aequorea.errors import AxisMismatchError, InputError
from aequorea.puncta.fit import SpotFits
from aequorea.puncta.fit_distances import apart_from_others

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CopyNumbers", "SingleMolecule", "copy_number", "single_molecule"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_SMOOTHING_SD = 0.7
_CONTRAST = 30.0
_TILT = 0.7
_TAILS = 0.2337
_FEW = 20
_SEEN = 0.9


@dataclass(frozen=True, kw_only=True)
class SingleMolecule:
    """Integrated light of one molecule, in units of the image.

    Attributes
    ----------
    mean : float
        The mean, not the median: n molecules have n times this on average.
    mean_error : float
        Standard error of the mean.
    cv : float
        Coefficient of variation from molecule to molecule.
    n : int
        Molecules it was measured on; 0 where the value was given.
    """

    mean: float
    mean_error: float = 0.0
    cv: float = 0.4
    n: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.mean < np.inf and 0 <= self.mean_error < np.inf and 0 <= self.cv < 3):
            raise InputError(
                "single molecule: expected a mean above 0, an error of at least 0 and a "
                f"coefficient of variation of 0 to 3, found {self.mean}, {self.mean_error}, "
                f"{self.cv}"
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class CopyNumbers:
    """Molecules in each of n cells, in the order of their labels.

    Attributes
    ----------
    label : ndarray of int64, shape (n,)
    copies, copies_error : ndarray, shape (n,)
        Estimate and standard error; NaN with a reason.
    low, high : ndarray, shape (n,)
        Confidence interval, from 0.
    light : ndarray, shape (n,)
        Sum of the image over the cell less the background, in units of the image.
    background, background_error : ndarray, shape (n,)
        Per voxel.
    captured : ndarray, shape (n,)
        Expected share of the light of the cell's molecules that falls into the cell.
    reason : ndarray of str, shape (n,)
        Why there is no estimate, or what to beware of; "" otherwise.
    """

    label: IntArray
    copies: FloatArray
    copies_error: FloatArray
    low: FloatArray
    high: FloatArray
    light: FloatArray
    background: FloatArray
    background_error: FloatArray
    captured: FloatArray
    reason: npt.NDArray[np.str_]


def single_molecule(
    fits: Sequence[SpotFits] | SpotFits,
    *,
    detection_limit: float | None = None,
    volume_px: float | None = None,
    isolation_sd: float = 6.0,
    merge_sd: float = 2.3,
) -> SingleMolecule:
    """Mean light of one molecule from the isolated spots of sparse images.

    Parameters
    ----------
    fits : SpotFits or a sequence of them
        Fits of all spots that were detected, image by image: of the sparse images of a batch, or
        of sparse parts.
    detection_limit : float, optional
        Integrated light below which spots are hardly detected, in units of the image: what is
        missing below it is made up for. Fainter spots are not used.
    volume_px : float, optional
        Voxels that were searched in all images together: the share of spots that are two
        molecules in one place is then estimated from the density, and made up for.
    isolation_sd : float, default 6
        Spots with another one nearer than this, in standard deviations of the point-spread
        function along each axis, are left out.
    merge_sd : float, default 2.3
        Distance below which two molecules are detected as one, in standard deviations: 2.3 for
        local maxima of an image smoothed as much as the point-spread function (simulated).

    Returns
    -------
    SingleMolecule

    Raises
    ------
    InputError
        If fewer than 20 spots are left; images that are dense everywhere have no single molecules
        to learn from: give those of another image.

    Notes
    -----
    Spots are left out for where they lie, near others or with less than 0.9 of their light in the
    image, never for how they look: choosing those that fit well or are bright would choose the
    brightness. With a detection limit the brightness is taken as gamma-distributed above it
    (maximum likelihood), otherwise it is the plain mean.

    With ``volume_px`` the mean is divided by one plus the number of other molecules expected within
    ``merge_sd``. At 0.1 and 0.3 molecules/µm³ (SD 0.12 and 0.35 µm) that leaves a bias below 1 %;
    without it the mean is 2 and 7 % too high.
    """
    images = [fits] if isinstance(fits, SpotFits) else list(fits)
    lonely = [
        (fit.share_seen > _SEEN) & apart_from_others(fit.position_px, isolation_sd * fit.sigma_px)
        for fit in images
    ]
    light = np.concatenate([fit.intensity[mask] for fit, mask in zip(images, lonely, strict=True)])
    error = np.concatenate(
        [fit.intensity_error[mask] for fit, mask in zip(images, lonely, strict=True)]
    )
    if detection_limit is not None:
        error = error[light >= detection_limit]
        light = light[light >= detection_limit]
    n = len(light)
    if n < _FEW:
        raise InputError(
            f"fits: expected at least {_FEW} isolated spots, found {n}; add sparser images or give "
            "the light of a single molecule"
        )
    if detection_limit is None:
        mean, spread = float(light.mean()), float(light.std(ddof=1))
        mean_error = spread / math.sqrt(n)
    else:
        mean, spread, mean_error = _truncated_gamma(light, detection_limit)
    if volume_px is not None:
        found = sum(len(fit) for fit in images)
        width = np.nanmean(np.prod(np.concatenate([fit.sigma_px for fit in images]), axis=1))
        ndim = images[0].position_px.shape[1]
        ball = math.pi * (4 / 3 if ndim == 3 else 1) * merge_sd**ndim
        together = 1 + found / volume_px * ball * float(width)
        mean, mean_error = mean / together, mean_error / together
    within = float(np.median(error) ** 2)
    cv = math.sqrt(max(spread**2 - within, 0.0)) / mean
    return SingleMolecule(mean=mean, mean_error=mean_error, cv=min(cv, 2.9), n=n)


def _truncated_gamma(light: FloatArray, limit: float) -> tuple[float, float, float]:
    """Mean, standard deviation and standard error of the mean of a gamma law seen above a limit."""
    scale = float(light.mean())
    x, edge = light / scale, limit / scale

    def loss(theta: FloatArray) -> float:
        mean, shape = np.exp(theta)
        rate = shape / mean
        density = shape * math.log(rate) + (shape - 1) * np.log(x) - rate * x
        seen = special.gammaincc(shape, rate * edge)
        return float(-np.mean(density - special.gammaln(shape)) + math.log(max(seen, 1e-300)))

    start = np.array([0.0, -2 * math.log(max(float(x.std()), 0.05))])
    best = optimize.minimize(
        loss, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10}
    )
    step = 1e-3
    curvature = np.empty((2, 2))
    for i in range(2):
        for j in range(2):
            a, b = np.eye(2)[i] * step, np.eye(2)[j] * step
            curvature[i, j] = (
                loss(best.x + a + b) - loss(best.x + a - b) - loss(best.x - a + b)
                + loss(best.x - a - b)
            ) / (4 * step**2)  # fmt: skip
    mean, shape = np.exp(best.x)
    relative = math.sqrt(max(float(np.linalg.inv(curvature)[0, 0]), 0.0) / len(x))
    return (
        float(mean) * scale,
        float(mean / math.sqrt(shape)) * scale,
        float(mean) * scale * relative,
    )


def copy_number(
    image: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    single: SingleMolecule,
    sigma_px: Sequence[float],
    background: float | None = None,
    background_error: float = 0.0,
    gain_adu_per_photon: float = 0.0,
    confidence: float = 0.95,
) -> CopyNumbers:
    """Molecules in each cell: its light above background over that of a single molecule.

    Parameters
    ----------
    image : array_like, shape (z, y, x) or (y, x)
    labels : array_like of int or bool, same shape
        Cells; 0 is no cell. A mask is one cell.
    single : SingleMolecule
        From :func:`single_molecule`, or known from elsewhere.
    sigma_px : sequence of float, px
        Standard deviation of the point-spread function along each axis.
    background : float, optional
        Value of a voxel of the cell without molecules; by default estimated in each cell.
    background_error : float, default 0
        Its standard error.
    gain_adu_per_photon : float, default 0
        Adds the photons' own noise to the errors, where it is known.
    confidence : float, default 0.95

    Returns
    -------
    CopyNumbers

    Raises
    ------
    AxisMismatchError
        If shapes differ.
    InputError
        If a number is out of range.

    Notes
    -----
    The background within a cell full of molecules is not the lowest value (noise) nor a quantile
    (light of molecules everywhere). For molecules in independent places the mean of
    exp(-s · value) is known (Campbell's theorem [1]_); with the mean of the values it gives two
    equations for background and density. s is chosen so large that only empty places count, as far
    as noise allows. Molecules in clusters leave more places empty than that: clusters of five
    within 0.2 µm are counted 20 % too high (simulated); there give the background, from a control
    without molecules. Noise is measured from
    differences between neighbouring voxels, which are too fine for the point-spread function: it
    must be independent from voxel to voxel, and the pixels no larger than about 1.3 standard
    deviations.

    The interval has the uncertainty of the background (by leaving out blocks of the cell), of the
    mean brightness, of the brightness of the molecules that happen to be there, and of photons. It
    does not have that of ``labels`` or ``sigma_px``.

    Light that falls beyond the cell's outline, and into other cells, is made up for with molecules
    spread evenly in each cell; at the edge of the image cells are taken to continue.

    References
    ----------
    .. [1] Kingman (1993), Poisson Processes, ch. 3. ISBN 978-0-19-853693-2

    Examples
    --------
    >>> image = np.full((4, 30, 30), 7.0)
    >>> image[2, 15, 15] += 300.0
    >>> counted = copy_number(
    ...     image, np.ones(image.shape, bool), single=SingleMolecule(mean=100.0),
    ...     sigma_px=(1.5, 1.5, 1.5), background=7.0)
    >>> counted.copies
    array([3.])
    """
    pixels = np.asarray(image, dtype=np.float64)
    cells = np.asarray(labels)
    sigma = np.asarray(sigma_px, dtype=float)
    if pixels.ndim not in (2, 3) or cells.shape != pixels.shape or sigma.shape != (pixels.ndim,):
        raise AxisMismatchError(
            "image, labels, sigma_px: expected 2 or 3 axes, the same shape and one width per axis, "
            f"found {pixels.shape}, {cells.shape} and {tuple(np.atleast_1d(sigma))}"
        )
    if cells.dtype.kind not in "buij":
        raise InputError(f"labels: expected integers or a mask, found dtype {cells.dtype}")
    if not (np.isfinite(sigma).all() and np.all(sigma > 0)):
        raise InputError(f"sigma_px: expected numbers above 0, found {tuple(sigma)}")
    if not 0 < confidence < 1 or background_error < 0 or gain_adu_per_photon < 0:
        raise InputError(
            "confidence, background_error, gain_adu_per_photon: expected between 0 and 1, and at "
            f"least 0, found {confidence}, {background_error}, {gain_adu_per_photon}"
        )
    if pixels.ndim == 3 and len(pixels) == 1:
        pixels, cells, sigma = pixels[0], cells[0], sigma[1:]
    cells = cells.astype(np.int64, copy=False)
    present = np.unique(cells[cells > 0])
    places = ndimage.find_objects(cells) if len(present) else []
    n = len(present)
    columns = np.full((6, n), np.nan)
    reasons = [""] * n
    cut, slope = np.zeros(n), np.zeros(n)
    spill = np.zeros((n, n))
    for i, label in enumerate(present):
        box, mask = _surroundings(places[label - 1], cells, int(label), sigma)
        spread = ndimage.gaussian_filter(mask.astype(float), sigma, mode="nearest", truncate=4)
        shared, where = np.unique(cells[box], return_inverse=True)
        sums = np.bincount(where.reshape(-1), weights=spread.reshape(-1))
        for other, total in zip(shared, sums, strict=True):
            if other > 0:
                spill[np.searchsorted(present, other), i] = total / mask.sum()
        values = pixels[box]
        if not np.isfinite(values[mask]).all():
            reasons[i] = "pixels without a value"
            continue
        level, error = background, background_error
        if level is None:
            level, error, slope[i], reasons[i] = _background(values, mask, spread, sigma, single)
        columns[0, i] = float(np.sum(values[mask] - level))
        columns[1, i], columns[2, i] = level, error
        columns[3, i] = mask.sum()
        columns[4, i] = gain_adu_per_photon * max(float(values[mask].sum()), 0.0)
        cut[i] = _cut_by_the_edge(cells, int(label), sigma) / mask.sum()
    light, base, base_error, voxels, shot, _ = columns
    known = np.isfinite(light)
    copies = np.full(n, np.nan)
    if known.any():
        inverse = np.linalg.inv(spill[np.ix_(known, known)])
        copies[known] = inverse @ light[known] / single.mean
        own = np.abs(np.diag(inverse))
        variance = (own * voxels[known] * base_error[known] / single.mean) ** 2
        variance += own**2 * shot[known] / single.mean**2
        variance += np.maximum(copies[known], 0) * (single.cv**2 + cut[known])
        # Brighter molecules would be fewer, and on more background.
        by_brightness = copies[known] + own * voxels[known] * slope[known] / single.mean
        variance += (by_brightness * single.mean_error / single.mean) ** 2
        columns[5, known] = np.sqrt(variance)
    error = columns[5]
    reach = special.ndtri(0.5 + confidence / 2) * error
    return CopyNumbers(
        label=present,
        copies=copies,
        copies_error=error,
        low=np.maximum(copies - reach, 0),
        high=np.maximum(copies + reach, 0),
        light=light,
        background=base,
        background_error=base_error,
        captured=np.diag(spill).copy(),
        reason=np.array(reasons, dtype=np.str_),
    )


def _surroundings(
    place: tuple[slice, ...], cells: IntArray, label: int, sigma: FloatArray
) -> tuple[tuple[slice, ...], BoolArray]:
    """Box around a cell, as wide as light reaches, and the cell's mask in it."""
    reach = np.ceil(4 * sigma).astype(int)
    box = tuple(
        slice(max(along.start - int(r), 0), min(along.stop + int(r), size))
        for along, r, size in zip(place, reach, cells.shape, strict=True)
    )
    return box, cells[box] == label


def _cut_by_the_edge(cells: IntArray, label: int, sigma: FloatArray) -> float:
    """Variance of the light that molecules on both sides of the image's edge lend each other.

    For one molecule per voxel, in squares of a molecule's light: twice the integral of the squared
    normal tail, for each voxel of the edge and each width.
    """
    total = 0.0
    for d, width in enumerate(sigma):
        for side in (0, -1):
            total += _TAILS * width * float((cells.take(side, axis=d) == label).sum())
    return total


def _background(
    values: FloatArray, mask: BoolArray, spread: FloatArray, sigma: FloatArray,
    single: SingleMolecule,
) -> tuple[float, float, float, str]:  # fmt: skip
    """Value of a voxel without molecules, its standard error, and what to beware of.

    The third is its derivative by the logarithm of a molecule's brightness.
    """
    note = ""
    smoothing = _smoothing(values.shape, sigma)
    inner = mask & (spread > 0.9) & _off_the_edge(values.shape, smoothing)
    if inner.sum() < 1000:
        inner = mask
        note = "few voxels away from the outline: background uncertain"
    smooth = ndimage.gaussian_filter(values, smoothing, mode="reflect", truncate=4)
    noise = _noise_variance(values)
    # Nearly the same places, but chosen hardly at all by the noise of the voxel itself.
    wider = ndimage.gaussian_filter(values, sigma, mode="reflect", truncate=4)
    wide = np.sqrt(sigma**2 + smoothing**2)
    height = single.mean / float(np.prod(np.sqrt(2 * np.pi) * wide))
    passed = float(np.prod([_noise_passed(s) for s in smoothing]))
    noise_sd = math.sqrt(passed * float(noise[inner & (wider <= np.median(wider[inner]))].mean()))
    s = _CONTRAST / height
    if noise_sd > 0:
        s = min(s, _TILT / noise_sd)
    excess, other = (
        _emptiness(s * height * factor, single.cv, wide) / (s * single.mean * factor)
        for factor in (1.0, 1.02)
    )
    shift = float(smooth[inner].min())
    weight = np.exp(-s * (smooth - shift))
    quiet = np.exp(-s * (wider - wider[inner].min()))
    blocks, n_blocks = _blocks(inner, sigma)
    size = np.bincount(blocks, minlength=n_blocks).astype(float)
    sums = [
        np.bincount(blocks, weights=v[inner], minlength=n_blocks)
        for v in (values, weight, quiet, quiet * noise)
    ]

    def level(chosen: BoolArray, excess: float = excess) -> float:
        count = size[chosen].sum()
        mean, laplace, calm, noisy = (total[chosen].sum() for total in sums)
        soft = shift - math.log(laplace / count) / s + 0.5 * s * passed * noisy / calm
        return float((soft - excess * mean / count) / (1 - excess))

    everything = np.ones(n_blocks, np.bool_)
    estimate = level(everything)
    slope = (level(everything, other) - estimate) / math.log(1.02)
    if n_blocks < 4:
        return estimate, np.nan, slope, "too small for an error of the background"
    left = np.array([level(np.arange(n_blocks) != k) for k in range(n_blocks)])
    error = math.sqrt((n_blocks - 1) / n_blocks * float(np.sum((left - left.mean()) ** 2)))
    # As Student's t has wider tails than the normal distribution the interval is made with.
    error *= float(special.stdtrit(n_blocks - 1, 0.975) / 1.96)
    return estimate, error, slope, note


def _smoothing(shape: tuple[int, ...], sigma: FloatArray) -> FloatArray:
    """Width of the filter along each axis; none along axes too short to leave the edges out."""
    smoothing = _SMOOTHING_SD * sigma
    return np.where(np.array(shape) > 2 * np.ceil(3 * smoothing) + 2, smoothing, 0.0)


def _off_the_edge(shape: tuple[int, ...], smoothing: FloatArray) -> BoolArray:
    """Voxels whose smoothed value is the mean of as many others as elsewhere."""
    off = np.zeros(shape, np.bool_)
    margins = np.ceil(3 * smoothing).astype(int)
    off[tuple(slice(m, n - m) for m, n in zip(margins, shape, strict=True))] = True
    return off


def _noise_variance(values: FloatArray) -> FloatArray:
    """Squared second differences along all axes: noise, but no point-spread function."""
    rough = values
    for d in range(values.ndim):
        if values.shape[d] >= 3:
            along = np.moveaxis(rough, d, 0)
            inner = (along[:-2] - 2 * along[1:-1] + along[2:]) / math.sqrt(6)
            rough = np.moveaxis(np.concatenate([inner[:1], inner, inner[-1:]]), 0, d)
    return np.square(rough)


def _noise_passed(smoothing: float) -> float:
    """Share of the variance of white noise that a Gaussian filter leaves, along one axis."""
    if smoothing == 0:
        return 1.0
    reach = math.ceil(4 * smoothing)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / smoothing) ** 2)
    return float(np.sum((kernel / kernel.sum()) ** 2))


def _emptiness(contrast: float, cv: float, width: FloatArray) -> float:
    """Volume that a molecule takes from the places that count as empty, in voxels.

    The integral over space of 1 - E exp(-contrast · brightness · profile), with brightness of mean
    one (gamma) and the profile a Gaussian of height one.
    """
    radius = np.linspace(0, 8, 2001)
    profile = contrast * np.exp(-0.5 * radius**2)
    taken = -np.expm1(-profile) if cv < 1e-3 else -np.expm1(-np.log1p(cv**2 * profile) / cv**2)
    shell = 4 * np.pi * radius**2 if len(width) == 3 else 2 * np.pi * radius
    return float(np.trapezoid(taken * shell, radius) * np.prod(width))


def _blocks(inner: BoolArray, sigma: FloatArray) -> tuple[IntArray, int]:
    """Number of the block of each voxel inside; some twenty blocks, if they are not too small."""
    where = np.nonzero(inner)
    side = max((inner.sum() / 20 / np.prod(sigma)) ** (1 / inner.ndim), 4.0) * sigma
    key = np.zeros(len(where[0]), np.int64)
    for d in range(inner.ndim):
        extent = int(where[d].max() - where[d].min()) + 1
        parts = max(1, round(extent / side[d]))
        key = key * parts + (where[d] - where[d].min()) * parts // extent
    present, blocks = np.unique(key, return_inverse=True)
    return blocks.astype(np.int64), len(present)
