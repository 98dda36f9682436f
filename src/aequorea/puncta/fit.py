"""Where spots are, to a fraction of a pixel, and how bright: maximum likelihood with errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.special import ndtr

from aequorea.errors import AxisMismatchError, InputError
from aequorea.puncta import fit_kernels as kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SpotFits", "fit_puncta"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_REASONS = {
    kernels.CONVERGED: "",
    kernels.TOO_FEW: "too few pixels",
    kernels.UNFINISHED: "did not settle",
    kernels.WANDERED: "moved away",
    kernels.NO_LIGHT: "no light",
    kernels.FLAT: "not determined",
    kernels.LOST: "width out of range",
}
_MAX_ITERATIONS = 60
_MAX_JOINT = 8
_TAIL_SD = 3.0
_BATCH_VOXELS = 250_000
# Models below this share of the brightest voxel do not make its weight any larger.
_FLOOR_PHOTONS, _FLOOR_SHARE = 0.01, 0.02


@dataclass(frozen=True, eq=False, kw_only=True)
class SpotFits:
    """Fits of n spots, in the order of their coordinates.

    Attributes
    ----------
    position_px : ndarray, shape (n, ndim), px
        The coordinate that was given where a fit failed.
    intensity : ndarray, shape (n,)
        Of the whole spot, in units of the image, also where the edge of the image cuts it.
    photons : ndarray, shape (n,)
        ``intensity`` over the gain; NaN where the gain is not known.
    background : ndarray, shape (n,)
        Around the spot per voxel, above the offset, in units of the image.
    sigma_px : ndarray, shape (n, ndim), px
        As given, or as fitted.
    share_seen : ndarray, shape (n,)
        Of the spot's light, the part that falls into the image.
    position_error_px, intensity_error, background_error, sigma_error_px : ndarray
        Standard errors.
    reduced_chi2 : ndarray, shape (n,)
        Mean squared residual in units of the expected noise: 1 for the right model. Where the gain
        is not known it is relative to the median of all spots.
    noise_scale : float
        Variance over mean of the image values: the gain, or its estimate from the residuals.
    converged : ndarray of bool, shape (n,)
    reason : ndarray of str, shape (n,)
        Why a fit failed: "too few pixels", "did not settle", "moved away" (from the coordinate),
        "no light", "not determined" (as of two spots in the same place), "width out of range"; ""
        where it did not. All numbers but the position are then NaN.
    """

    position_px: FloatArray
    intensity: FloatArray
    photons: FloatArray
    background: FloatArray
    sigma_px: FloatArray
    share_seen: FloatArray
    position_error_px: FloatArray
    intensity_error: FloatArray
    background_error: FloatArray
    sigma_error_px: FloatArray
    reduced_chi2: FloatArray
    noise_scale: float
    converged: BoolArray
    reason: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.intensity)


def fit_puncta(
    image: npt.ArrayLike,
    coordinates_px: npt.ArrayLike,
    *,
    sigma_px: Sequence[float],
    gain_adu_per_photon: float | None = None,
    offset_adu: float = 0.0,
    read_noise_photons: float = 0.0,
    fit_width: bool = False,
    window_sd: float = 3.0,
) -> SpotFits:
    """Fit a Gaussian, integrated over each voxel, on a constant background to every spot.

    Parameters
    ----------
    image : array_like, shape (z, y, x) or (y, x)
        As recorded. NaN are left out.
    coordinates_px : array_like, shape (n, ndim), px
        Where spots were found, to about a voxel.
    sigma_px : sequence of float, px
        Standard deviation of the point-spread function along each axis; in a stack of one plane
        the first is not used.
    gain_adu_per_photon : float, optional
        Image units per photon. If it is not known, the variance is taken to be proportional to
        the model, and standard errors come from the residuals.
    offset_adu : float, default 0
        Value of a voxel without light.
    read_noise_photons : float, default 0
        Standard deviation of the camera's noise; needs the gain.
    fit_width : bool, default False
        Fit the width too: one along z and one in the plane.
    window_sd : float, default 3
        Half a window in standard deviations.

    Returns
    -------
    SpotFits
        Empty if there are no spots.

    Raises
    ------
    InputError
        If a number is out of range, or a coordinate lies outside the image.
    AxisMismatchError
        If image, coordinates and widths differ in their axes.

    Notes
    -----
    The likelihood is that of photons with read noise in the approximation of [1]_, maximised by
    Fisher scoring as in [2]_; isolated spots reach the Cramér–Rao bound (:func:`crlb`).

    Spots in the same window are fitted together (the 8 nearest), and the standard errors pay for
    that; light of spots outside it is subtracted as fitted in a first round. Spots that were not
    found bias their neighbours: look at ``reduced_chi2``. A wrong width hardly moves isolated
    spots, but changes their brightness.

    References
    ----------
    .. [1] Huang et al. (2013), Nat Methods 10, 653, doi:10.1038/nmeth.2488
    .. [2] Smith et al. (2010), Nat Methods 7, 373, doi:10.1038/nmeth.1449

    Examples
    --------
    >>> y, x = np.indices((15, 15))
    >>> image = 10 + 100 * np.exp(-((y - 7.3) ** 2 + (x - 6.9) ** 2) / (2 * 1.5**2))
    >>> fits = fit_puncta(image, [[7, 7]], sigma_px=(1.53, 1.53))
    >>> fits.position_px.round(2)
    array([[7.3, 6.9]])
    """
    scene = Scene.of(
        image,
        sigma_px=sigma_px,
        gain_adu_per_photon=gain_adu_per_photon,
        offset_adu=offset_adu,
        read_noise_photons=read_noise_photons,
        window_sd=window_sd,
    )
    found = scene.zyx(coordinates_px)
    joint, beyond = _neighbours(found, scene)
    guess = np.column_stack([np.full(len(found), np.nan), found])
    first = scene.fit(found, guess, joint, None, fit_width=fit_width)
    settled = np.where((first.state == kernels.CONVERGED)[:, None], first.own, guess)
    if beyond.pairs:
        start = np.where(np.isnan(settled[:, :1]), guess, settled)
        shone = beyond.without(np.isnan(settled[:, 0]))
        again = np.diff(shone.starts) > 0
        second = scene.fit(
            found[again],
            start,
            joint.rows(again),
            (shone.rows(again), start),
            fit_width=fit_width,
        )
        first.replace(again, second)
    return _spot_fits(first, found, scene, fit_width)


@dataclass(frozen=True)
class Neighbours:
    """For each of n spots the numbers of some others, as rows of a sparse matrix."""

    starts: IntArray
    index: IntArray

    @property
    def pairs(self) -> int:
        return len(self.index)

    def rows(self, chosen: BoolArray) -> Neighbours:
        """The same for some of the spots."""
        kept = np.repeat(chosen, np.diff(self.starts))
        counts = np.diff(self.starts)[chosen]
        return Neighbours(np.concatenate(([0], np.cumsum(counts))), self.index[kept])

    def without(self, dropped: BoolArray) -> Neighbours:
        """The same without some of the others."""
        kept = ~dropped[self.index]
        owner = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))[kept]
        counts = np.bincount(owner, minlength=len(self.starts) - 1)
        return Neighbours(np.concatenate(([0], np.cumsum(counts))), self.index[kept])


@dataclass
class WindowFits:
    """What the kernel gives back for n windows, in photons and voxels of the image."""

    own: FloatArray
    together: FloatArray
    background: FloatArray
    widths: FloatArray
    errors: FloatArray
    chi2: FloatArray
    deviance: FloatArray
    freedom: IntArray
    state: IntArray

    def replace(self, chosen: BoolArray, others: WindowFits) -> None:
        for name in ("own", "background", "widths", "errors", "chi2", "freedom", "state"):
            getattr(self, name)[chosen] = getattr(others, name)


@dataclass(frozen=True)
class Scene:
    """An image with what is known of its optics and noise; three axes, widths and windows."""

    stack: npt.NDArray[Any]
    flat: bool
    ndim: int
    sigma: FloatArray
    half: IntArray
    gain: float | None
    offset: float
    variance: float

    @classmethod
    def of(
        cls,
        image: npt.ArrayLike,
        *,
        sigma_px: Sequence[float],
        gain_adu_per_photon: float | None,
        offset_adu: float,
        read_noise_photons: float,
        window_sd: float,
    ) -> Scene:
        pixels = np.asarray(image)
        sigma = np.asarray(sigma_px, dtype=float)
        ndim = pixels.ndim
        if ndim not in (2, 3) or sigma.shape != (ndim,):
            raise AxisMismatchError(
                "image, sigma_px: expected an image with 2 or 3 axes and one width per axis, "
                f"found shape {pixels.shape} and {tuple(np.atleast_1d(sigma))}"
            )
        if pixels.dtype.kind not in "uifb":
            raise InputError(f"image: expected real numbers, found dtype {pixels.dtype}")
        if not (np.isfinite(sigma).all() and np.all(sigma > 0)):
            raise InputError(f"sigma_px: expected numbers above 0, found {tuple(sigma)}")
        if gain_adu_per_photon is not None and not 0 < gain_adu_per_photon < np.inf:
            raise InputError(f"gain_adu_per_photon: expected above 0, found {gain_adu_per_photon}")
        if not 0 <= read_noise_photons < np.inf or not np.isfinite(offset_adu):
            raise InputError(
                "read_noise_photons, offset_adu: expected finite numbers, the first at least 0, "
                f"found {read_noise_photons} and {offset_adu}"
            )
        if read_noise_photons > 0 and gain_adu_per_photon is None:
            raise InputError("read_noise_photons: expected the gain with it; give both or neither")
        if not 1 <= window_sd < np.inf:
            raise InputError(f"window_sd: expected at least 1, found {window_sd}")
        stack = pixels if ndim == 3 else pixels[None]
        flat = len(stack) == 1
        sigma = sigma if ndim == 3 else np.concatenate(([1.0], sigma))
        half = np.maximum(np.ceil(window_sd * sigma), 2).astype(np.int64)
        if flat:
            half[0] = 0
        return cls(
            stack=stack,
            flat=flat,
            ndim=ndim,
            sigma=sigma,
            half=half,
            gain=gain_adu_per_photon,
            offset=offset_adu,
            variance=read_noise_photons**2,
        )

    def zyx(self, coordinates_px: npt.ArrayLike) -> FloatArray:
        """Coordinates along three axes, checked."""
        found = np.asarray(coordinates_px, dtype=float)
        if found.size == 0:
            return np.zeros((0, 3))
        if found.ndim != 2 or found.shape[1] != self.ndim:
            raise AxisMismatchError(
                f"coordinates_px: expected shape (n, {self.ndim}), found {found.shape}"
            )
        if self.ndim == 2:
            found = np.column_stack([np.zeros(len(found)), found])
        inside = (found > -0.5) & (found < np.array(self.stack.shape) - 0.5)
        if not inside.all():
            k = int(np.flatnonzero(~inside.all(axis=1))[0])
            raise InputError(
                f"coordinates_px: expected places within {self.stack.shape}, found "
                f"{tuple(found[k])} for spot {k}"
            )
        return found

    def windows(self, centres: IntArray) -> FloatArray:
        """Photons around each centre, read noise's variance added; NaN beyond the image."""
        places, outside = [], []
        for d in range(3):
            along = centres[:, d, None] + np.arange(-self.half[d], self.half[d] + 1)
            size = self.stack.shape[d]
            outside.append((along < 0) | (along >= size))
            places.append(np.clip(along, 0, size - 1))
        z, y, x = places[0][:, :, None, None], places[1][:, None, :, None], places[2][:, None, None]
        values = self.stack[z, y, x].astype(np.float64)
        values -= self.offset
        if self.gain is not None:
            values /= self.gain
        values += self.variance
        values[~np.isfinite(values)] = np.nan
        values.swapaxes(1, 1)[outside[0]] = np.nan
        values.swapaxes(1, 2)[outside[1]] = np.nan
        values.swapaxes(1, 3)[outside[2]] = np.nan
        return values

    def fit(
        self,
        centres: FloatArray,
        spots: FloatArray,
        joint: Neighbours,
        lit: tuple[Neighbours, FloatArray] | None,
        *,
        fit_width: bool = False,
        prior: tuple[float, float] = (0.0, 0.0),
    ) -> WindowFits:
        """Fit ``spots[joint]`` in a window around each centre, with the light of ``lit`` fixed.

        Spots are brightness (NaN: to be guessed), z, y and x.
        """
        n = len(centres)
        robust = self.gain is None
        middle = np.rint(centres).astype(np.int64)
        size = int(np.prod(2 * self.half + 1))
        step = max(1, _BATCH_VOXELS // size)
        own = np.full((n, 4), np.nan)
        together = np.full((joint.pairs, 4), np.nan)
        reach = 1.0 + 1.5 * self.sigma

        def fit_batch(batch: slice) -> tuple[Any, ...]:
            origin = (middle[batch] - self.half).astype(float)
            values = self.windows(middle[batch])
            starts, local = _local(joint, spots, origin, batch)
            if lit is None:
                fixed_starts, fixed = np.zeros(len(origin) + 1, np.int64), np.zeros((0, 4))
            else:
                fixed_starts, fixed = _local(lit[0], lit[1], origin, batch)
            if robust:
                span = _span(values)
                floor = np.maximum(_FLOOR_SHARE * span, 1e-300)
            else:
                floor = np.full(len(values), _FLOOR_PHOTONS)
            fitted, *rest = kernels.fit_windows(
                values,
                starts,
                local,
                fixed_starts,
                fixed,
                self.sigma,
                self.variance,
                floor,
                np.array(prior),
                reach,
                fit_width,
                robust,
                _MAX_ITERATIONS,
            )
            fitted[:, 1:] += np.repeat(origin, np.diff(starts), axis=0)
            together[joint.starts[batch.start] : joint.starts[batch.stop]] = fitted
            own[batch] = fitted[starts[:-1]]
            return tuple(rest)

        batches = [slice(first, min(first + step, n)) for first in range(0, n, step)]
        with ThreadPoolExecutor(numba.get_num_threads()) as pool:
            parts = list(pool.map(fit_batch, batches))
        if not parts:
            empty = np.zeros(0)
            return WindowFits(
                own, together, empty, np.zeros((0, 2)), np.zeros((0, 7)), empty, empty,
                np.zeros(0, np.int64), np.zeros(0, np.int64),
            )  # fmt: skip
        return WindowFits(
            own, together, *(np.concatenate(part) for part in zip(*parts, strict=True))
        )


def _span(values: FloatArray) -> FloatArray:
    """Highest less lowest value of each window."""
    seen, axes = np.isfinite(values), (1, 2, 3)
    high = values.max(axis=axes, initial=-np.inf, where=seen)
    low = values.min(axis=axes, initial=np.inf, where=seen)
    return np.asarray(np.maximum(high - low, 0.0), dtype=float)


def _local(
    neighbours: Neighbours, spots: FloatArray, origin: FloatArray, batch: slice
) -> tuple[IntArray, FloatArray]:
    """Spots of a batch of windows, seen from each window's first voxel."""
    starts = neighbours.starts[batch.start : batch.stop + 1]
    index = neighbours.index[starts[0] : starts[-1]]
    local = spots[index].copy()
    local[:, 1:] -= np.repeat(origin, np.diff(starts), axis=0)
    return starts - starts[0], local


def _neighbours(found: FloatArray, scene: Scene) -> tuple[Neighbours, Neighbours]:
    """Spots in each window, its own first, then by distance; and those whose light reaches it."""
    n = len(found)
    half = np.maximum(scene.half, 1)
    reach = half + _TAIL_SD * scene.sigma
    if n == 0:
        none = Neighbours(np.zeros(1, np.int64), np.zeros(0, np.int64))
        return none, none
    pairs = cKDTree(found / reach).query_pairs(1.0, p=np.inf, output_type="ndarray")
    i = np.concatenate([pairs[:, 0], pairs[:, 1]]).astype(np.int64)
    j = np.concatenate([pairs[:, 1], pairs[:, 0]]).astype(np.int64)
    apart = found[j] - found[i]
    inside = np.asarray((np.abs(apart) <= half).all(axis=1))
    distance = ((apart / scene.sigma) ** 2).sum(axis=1)
    order = np.lexsort((j, distance, ~inside, i))
    i, j, inside = i[order], j[order], inside[order]
    rank = np.arange(len(i)) - np.searchsorted(i, i)
    inside &= rank < _MAX_JOINT
    own = np.arange(n)
    rows, columns = np.concatenate([own, i[inside]]), np.concatenate([own, j[inside]])
    stable = np.argsort(rows, kind="stable")
    return _sparse(rows[stable], columns[stable], n), _sparse(i[~inside], j[~inside], n)


def _sparse(rows: IntArray, columns: IntArray, n: int) -> Neighbours:
    return Neighbours(np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=n)))), columns)


def _spot_fits(fits: WindowFits, found: FloatArray, scene: Scene, fit_width: bool) -> SpotFits:
    good = fits.state == kernels.CONVERGED
    gain = scene.gain or 1.0
    axes = slice(3 - scene.ndim, 3)
    if scene.flat:
        fits.own[:, 1] = found[:, 0]

    def kept(values: FloatArray) -> FloatArray:
        chosen = good.reshape(-1, *([1] * (values.ndim - 1)))
        return np.where(chosen, values, np.nan)

    reduced = kept(fits.chi2 / np.maximum(fits.freedom, 1))
    noise_scale = gain
    if scene.gain is None:
        noise_scale = float(np.median(reduced[good])) if good.any() else np.nan
        reduced = reduced / noise_scale if noise_scale > 0 else reduced
    stretch = scene.sigma[2] / scene.sigma[1]
    widths = np.column_stack([fits.widths, fits.widths[:, 1] * stretch])
    errors = fits.errors
    width_errors = np.column_stack([errors[:, 5:], errors[:, 6] * stretch])
    intensity = kept(fits.own[:, 0] * gain)
    given = np.broadcast_to(scene.sigma, widths.shape)
    position = np.where(good[:, None], fits.own[:, 1:], found)
    edges = (np.array(scene.stack.shape) - 0.5 - position, -0.5 - position)
    seen = ndtr(edges[0] / scene.sigma) - ndtr(edges[1] / scene.sigma)
    if scene.flat:
        seen[:, 0] = 1.0
    return SpotFits(
        position_px=position[:, axes],
        share_seen=kept(seen.prod(axis=1)),
        intensity=intensity,
        photons=intensity / gain if scene.gain is not None else np.full(len(found), np.nan),
        background=kept(fits.background * gain),
        sigma_px=(kept(widths) if fit_width else given.copy())[:, axes],
        position_error_px=kept(errors[:, 2:5])[:, axes],
        intensity_error=kept(errors[:, 1] * gain),
        background_error=kept(errors[:, 0] * gain),
        sigma_error_px=kept(width_errors)[:, axes],
        reduced_chi2=reduced,
        noise_scale=noise_scale,
        converged=good,
        reason=np.array([_REASONS[int(state)] for state in fits.state], dtype=np.str_),
    )
