"""Whole-frame shifts: a matched filter in the spectrum, and its exact maximum.

The log-likelihood of a shift, for a reference in stationary Gaussian noise of known spectrum, is
the correlation of the frame with the reference, each divided by the square root of the noise
spectrum (Turin 1960, doi:10.1109/TIT.1960.1057571). What changes from frame to frame other than by
motion, such as active cells or a flickering background, is noise in this sense.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from numba import njit, prange
from scipy import fft, ndimage

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MatchedFilter", "Shifts", "spectra_of", "whiteness"]

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
ComplexArray = npt.NDArray[np.complex64]

_TAPER = 0.1  # of each side, where the reference fades out
_BAND = 0.98  # share of the information on shifts that the band used holds
_SURE_SD = 4.0  # a ring of frequencies has signal if it rises so far above chance
_NEWTON_STEPS = 6
_SCORING_STEPS, _FARTHEST_PX = 5, 2.0
_SETTLED_PX = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class Shifts:
    """Shift of each frame, and how sure it is.

    Attributes
    ----------
    yx_px : ndarray, shape (t, 2), px
        What is at p in the reference is at p + shift in the frame.
    error_px : ndarray, shape (t, 2), px
        Standard error along each axis.
    likeness : ndarray, shape (t,)
        Contrast of the frame over that of the reference: 1 is as expected, 0 is nothing alike.
    snr : ndarray, shape (t,)
        Height of the maximum over the noise of the correlation.
    at_limit : ndarray of bool, shape (t,)
        The maximum lies at the largest shift looked at: the true one may be beyond.
    """

    yx_px: FloatArray
    error_px: FloatArray
    likeness: FloatArray
    snr: FloatArray
    at_limit: npt.NDArray[np.bool_]


def spectra_of(frames: Float32Array, workers: int = 1) -> ComplexArray:
    """Half spectra of real frames, shape (t, y, x // 2 + 1), as if they went on periodically.

    A smooth image that takes the jump between opposite sides is subtracted (Moisan 2011,
    doi:10.1007/s10851-010-0227-1): else the jump, not the cells, is what a whitened frame shows.
    """
    spectra = np.asarray(fft.rfft2(frames, workers=workers), dtype=np.complex64)
    across = np.asarray(fft.rfft(frames[:, -1] - frames[:, 0]), dtype=np.complex64)
    down = np.asarray(fft.fft(frames[:, :, -1] - frames[:, :, 0]), dtype=np.complex64)
    height, width = frames.shape[1:]
    _without_jumps(spectra, across, down, 2 * np.pi * fft.fftfreq(height),
                   2 * np.pi * fft.rfftfreq(width))  # fmt: skip
    return spectra


def whiteness(reference: Float32Array, noise: FloatArray, n_frames: int) -> FloatArray:
    """What to multiply a spectrum by to make its noise white, and less where it is noise only.

    Parameters
    ----------
    reference : ndarray, shape (y, x)
        Mean of ``n_frames`` frames.
    noise : ndarray, shape (y, x // 2 + 1)
        Power of the noise of one frame per pixel.
    """
    height, width = reference.shape
    power = np.abs(fft.rfft2(reference.astype(np.float64) * _window(reference.shape))) ** 2
    power /= (_window(reference.shape) ** 2).sum()
    ring = _rings(height, width)
    n = np.bincount(ring.ravel())
    of_mean = np.bincount(ring.ravel(), noise.ravel() / n_frames) / n
    signal = np.bincount(ring.ravel(), power.ravel()) / n - of_mean
    signal[signal < _SURE_SD * of_mean / np.sqrt(n)] = 0
    kept = signal / np.maximum(signal + of_mean, 1e-30)
    return np.asarray(np.sqrt(kept[ring] / np.maximum(noise, 1e-30)))


class MatchedFilter:
    """A reference that frames are compared with.

    Parameters
    ----------
    reference : ndarray, shape (y, x)
    whitening : ndarray, shape (y, x // 2 + 1)
        As :func:`whiteness` gives it.
    max_shift_px : (float, float), px
        Largest shift along y and x.
    band : ndarray, shape (y, x // 2 + 1), optional
        Weight of each frequency; 0 for those that are to play no part.
    """

    def __init__(
        self,
        reference: Float32Array,
        whitening: FloatArray,
        max_shift_px: tuple[float, float],
        band: FloatArray | None = None,
    ) -> None:
        height, width = reference.shape
        self.shape = reference.shape
        spectrum = fft.rfft2(reference.astype(np.float64) * _window(reference.shape))
        twice = np.full(spectrum.shape[1], 2.0)
        twice[0] = 1
        if width % 2 == 0:
            twice[-1] = 1
        weight = whitening**2 * twice / (height * width)
        if band is not None:
            weight = weight * band
        weight[0, 0] = 0
        self.rows, self.columns = _band(weight * np.abs(spectrum) ** 2, height, width)
        part = np.ix_(self.rows, self.columns)
        self.filter: ComplexArray = (np.conj(spectrum) * weight)[part].astype(np.complex64)
        self.noise = float(np.sqrt((weight * np.abs(spectrum) ** 2).sum()))
        self.fy = (fft.fftfreq(height)[self.rows] * 2 * np.pi).astype(np.float64)
        self.fx = (fft.rfftfreq(width)[self.columns] * 2 * np.pi).astype(np.float64)
        reach = [int(np.ceil(m)) for m in max_shift_px]
        self.sy = np.arange(-reach[0], reach[0] + 1)
        self.sx = np.arange(-reach[1], reach[1] + 1)
        self._along_y = np.exp(1j * np.outer(self.sy, self.fy)).astype(np.complex64)
        self._along_x = np.exp(1j * np.outer(self.fx, self.sx)).astype(np.complex64)
        known = (weight * np.abs(spectrum) ** 2)[part]
        slopes = self.fy[:, None] + 0 * self.fx, self.fx + 0 * self.fy[:, None]
        self._information = np.array([[(known * a * b).sum() for b in slopes] for a in slopes])
        # The reference fades out and frames do not: their correlation leans, by this much.
        own = (spectra_of(reference[None])[0][part] * self.filter).astype(np.complex64)
        value, *lean = _correlation(own, self.fy, self.fx, 0.0, 0.0)[:3]
        self.energy, self._lean = float(value), np.array(lean) / value

    def shifts(self, spectra: ComplexArray) -> Shifts:
        """Shifts of frames by their spectra, shape (t, y, x // 2 + 1)."""
        product = self._product(spectra)
        n, rows, columns = product.shape
        along_x = (product.reshape(n * rows, columns) @ self._along_x).reshape(n, rows, -1)
        surface = np.matmul(self._along_y, along_x).real
        flat = surface.reshape(len(surface), -1)
        peak = np.stack(np.unravel_index(flat.argmax(axis=1), surface.shape[1:]), axis=1)
        start = np.stack([self.sy[peak[:, 0]], self.sx[peak[:, 1]]], axis=1).astype(np.float64)
        at, height, curvature = _climbed(
            product, self.fy, self.fx, start, self._lean, np.linalg.pinv(self._information)
        )
        last = np.array([self.sy[-1], self.sx[-1]])
        beyond = (np.abs(start) >= np.maximum(last, 1)).any(axis=1)
        det = curvature[:, 0] * curvature[:, 2] - curvature[:, 1] ** 2
        concave = (curvature[:, 0] > 0) & (curvature[:, 2] > 0) & (det > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.sqrt(np.stack([curvature[:, 2], curvature[:, 0]], axis=1) / det[:, None])
            known = np.diag(np.linalg.pinv(self._information))
            expected = np.sqrt(known * self.energy / height[:, None])
        return Shifts(
            yx_px=np.where(np.isfinite(height)[:, None], at, np.nan),
            error_px=np.where(concave[:, None], error, expected),
            likeness=height / self.energy,
            snr=height / self.noise,
            at_limit=beyond & np.isfinite(height),
        )

    def _product(self, spectra: ComplexArray) -> ComplexArray:
        """Spectra times the filter, in the band alone; low frequencies are at both ends of rows."""
        low, last = int((self.rows < spectra.shape[1] / 2).sum()), len(self.columns)
        product = np.empty((len(spectra), *self.filter.shape), np.complex64)
        np.multiply(spectra[:, :low, :last], self.filter[:low], out=product[:, :low])
        high = len(self.rows) - low
        if high:
            np.multiply(spectra[:, -high:, :last], self.filter[low:], out=product[:, low:])
        return product


def _window(shape: tuple[int, ...]) -> FloatArray:
    """1 in the middle, falling like a cosine to 0 at the sides."""
    sides = []
    for n in shape:
        fade = max(1, round(_TAPER * n))
        side = np.ones(n)
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)
        side[:fade], side[n - fade :] = ramp, ramp[::-1]
        sides.append(side)
    return np.multiply.outer(*sides)


def _rings(height: int, width: int) -> npt.NDArray[np.int64]:
    """Which frequencies are alike but for their direction."""
    radius = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None])
    return np.asarray(np.rint(radius * min(height, width)), dtype=np.int64)


def _band(
    power: FloatArray, height: int, width: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns of the spectrum that hold nearly all that is known of shifts."""
    fy, fx = np.abs(fft.fftfreq(height)), fft.rfftfreq(width)
    known = power * (fy[:, None] ** 2 + fx[None] ** 2)
    total = known.sum()
    if not total > 0:
        return np.arange(height), np.arange(len(fx))
    order = np.argsort(fy, kind="stable")
    reach = fy[order][np.searchsorted(np.cumsum(known.sum(axis=1)[order]), _BAND * total)]
    last = np.searchsorted(np.cumsum(known.sum(axis=0)), _BAND * total)
    return np.flatnonzero(fy <= reach), np.arange(last + 1)


def noise_power(
    residuals: Iterable[Float32Array], shape: tuple[int, ...], workers: int = 1
) -> FloatArray:
    """Mean power per pixel of what is left of frames, smoothed over neighbouring frequencies.

    Parameters
    ----------
    residuals : iterable of ndarray, shape (t, y, x)
        A few frames at a time.
    shape : (int, int)
        Of frames.
    """
    height, width = shape
    window = _window((height, width)).astype(np.float32)
    total, n = np.zeros((height, width // 2 + 1)), 0
    for frames in residuals:
        for first in range(0, len(frames), 32):
            spectra = spectra_of(frames[first : first + 32] * window, workers)
            total += (spectra.real**2 + spectra.imag**2).sum(axis=0, dtype=np.float64)
        n += len(frames)
    power = total / (n * float((window.astype(np.float64) ** 2).sum()))
    power[0, 0] = power[0, 1] if power.shape[1] > 1 else 1.0
    smooth = ndimage.uniform_filter(power, 3, mode=("wrap", "nearest"))
    return np.asarray(np.maximum(smooth, 1e-6 * smooth.max()))


@njit(cache=True, nogil=True, parallel=True)
def _without_jumps(spectra, across, down, fy, fx):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n, rows, columns = spectra.shape
    turn_y = (1 - np.exp(1j * fy)).astype(np.complex64)
    turn_x = (1 - np.exp(1j * fx)).astype(np.complex64)
    share = np.empty((rows, columns), np.float32)
    for j in range(rows):
        for k in range(columns):
            bend = 2 * np.cos(fy[j]) + 2 * np.cos(fx[k]) - 4
            share[j, k] = 1 / bend if bend != 0 else 0
    for t in prange(n):
        for j in range(rows):
            turn, own = turn_y[j], down[t, j]
            for k in range(columns):
                spectra[t, j, k] -= (across[t, k] * turn + own * turn_x[k]) * share[j, k]


@njit(cache=True, nogil=True, parallel=True)
def _climbed(product, fy, fx, start, lean, spread):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Newton's steps to the maximum of each correlation: place, height, minus its curvature."""
    n = len(product)
    at, height, curved = start.copy(), np.empty(n), np.empty((n, 3))
    for t in prange(n):
        y, x = start[t]
        best = -np.inf
        step_y, step_x, fraction = 0.0, 0.0, 1.0
        for _ in range(_NEWTON_STEPS):
            ty, tx = y + fraction * step_y, x + fraction * step_x
            value, gy, gx, hyy, hyx, hxx = _correlation(product[t], fy, fx, ty, tx)
            if not value >= best:
                fraction *= 0.25
                if fraction < 0.01:
                    break
                continue
            best, y, x, fraction = value, ty, tx, 1.0
            height[t] = value
            curved[t, 0], curved[t, 1], curved[t, 2] = -hyy, -hyx, -hxx
            det = hyy * hxx - hyx * hyx
            if not (hyy < 0 and det > 0):
                break
            step_y, step_x = -(hxx * gy - hyx * gx) / det, -(hyy * gx - hyx * gy) / det
            if abs(step_y) > 1 or abs(step_x) > 1:
                longest = max(abs(step_y), abs(step_x))
                step_y, step_x = step_y / longest, step_x / longest
            if abs(step_y) < _SETTLED_PX and abs(step_x) < _SETTLED_PX:
                break
        if best == -np.inf:
            height[t] = np.nan
        at[t, 0], at[t, 1] = _upright(product[t], fy, fx, y, x, best, lean, spread)
    return at, height, curved


@njit(cache=True, nogil=True)
def _upright(product, fy, fx, y, x, height, lean, spread):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Fisher's scoring from the maximum to where the slope is that of the reference with itself."""
    from_y, from_x = y, x
    for _ in range(_SCORING_STEPS):
        _, gy, gx, _, _, _ = _correlation(product, fy, fx, y, x)
        gy, gx = gy - height * lean[0], gx - height * lean[1]
        step_y = spread[0, 0] * gy + spread[0, 1] * gx
        step_x = spread[1, 0] * gy + spread[1, 1] * gx
        y, x = y + step_y, x + step_x
        if not (abs(y - from_y) < _FARTHEST_PX and abs(x - from_x) < _FARTHEST_PX):
            return from_y, from_x
        if abs(step_y) < _SETTLED_PX and abs(step_x) < _SETTLED_PX:
            break
    return y, x


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _correlation(product, fy, fx, y, x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The correlation at a shift, its slopes and second derivatives."""
    rows, columns = product.shape
    cos_x, sin_x = np.empty(columns, np.float32), np.empty(columns, np.float32)
    f1, f2 = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for k in range(columns):
        cos_x[k], sin_x[k] = np.cos(fx[k] * x), np.sin(fx[k] * x)
        f1[k], f2[k] = fx[k], fx[k] * fx[k]
    value, gy, gx, hyy, hyx, hxx = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(rows):
        re0, im0 = np.float32(0), np.float32(0)
        re1, im1 = np.float32(0), np.float32(0)
        re2 = np.float32(0)
        im2 = np.float32(0)
        for k in range(columns):
            p = product[j, k]
            re = p.real * cos_x[k] - p.imag * sin_x[k]
            im = p.real * sin_x[k] + p.imag * cos_x[k]
            re0 += re
            im0 += im
            re1 += f1[k] * re
            im1 += f1[k] * im
            re2 += f2[k] * re
            im2 += f2[k] * im
        c, s, w = np.cos(fy[j] * y), np.sin(fy[j] * y), fy[j]
        real, imag = c * re0 - s * im0, c * im0 + s * re0
        real1, imag1 = c * re1 - s * im1, c * im1 + s * re1
        value += real
        gy -= w * imag
        gx -= imag1
        hyy -= w * w * real
        hyx -= w * real1
        hxx -= c * re2 - s * im2
    return value, gy, gx, hyy, hyx, hxx
