"""Motion that differs from place to place: splines fitted to the whitened frame.

The displacement is linear between nodes. It maximises the likelihood of the frame times a prior
that holds neighbouring nodes together, by Gauss-Newton steps whose matrix is that of the reference
and so the same for all frames (inverse composition; Baker & Matthews 2004,
doi:10.1023/B:VISI.0000011205.11775.fd). How strongly they hold together is found from the frames
by expectation maximisation (Dempster et al. 1977, doi:10.1111/j.2517-6161.1977.tb01600.x).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange
from scipy import fft

from aequorea.motion.matched import spectra_of

__all__ = ["Elastic", "nodes_for"]

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

_STEPS = 8
_SETTLED_PX = 0.01
_LONGEST_STEP_PX = 1.0
_BORDER_PX = 3
_ROUNDS = 8
_SMALLEST_PX, _FADE = 40, 0.2
_LEAST_PX, _MOST_PX = 0.01, 4.0


def nodes_for(shape: tuple[int, int], apart_px: float) -> tuple[int, int]:
    """Numbers of nodes along y and x, at most ``apart_px`` from each other."""
    rows, columns = (max(2, int(np.ceil((n - 1) / apart_px)) + 1) for n in shape)
    return rows, columns


@dataclass(frozen=True, kw_only=True, eq=False)
class Elastic:
    """A whitened reference with what the steps need of it.

    Attributes
    ----------
    reference, slope_y, slope_x : ndarray, shape (y, x)
        Whitened.
    whitening : ndarray, shape (y, x // 2 + 1)
    information : ndarray, shape (2 * nodes, 2 * nodes)
        Of a frame on the displacements of the nodes; all along y first.
    roughness : ndarray, shape (nodes, nodes)
        Sum of squared differences between neighbours, as a quadratic form.
    nodes : (int, int)
    step_px : float, px
        SD of the difference between the displacements of neighbouring nodes.
    coarse : Elastic or None
        The same at half the size, of low frequencies: finds what moves farther than fine
        structure is apart.
    """

    reference: Float32Array
    slope_y: Float32Array
    slope_x: Float32Array
    whitening: Float32Array
    information: FloatArray
    roughness: FloatArray
    nodes: tuple[int, int]
    step_px: float
    coarse: Elastic | None = None

    @classmethod
    def of(
        cls, reference: Float32Array, whitening: FloatArray, nodes: tuple[int, int], step_px: float
    ) -> Elastic:
        """From a reference image and what whitens frames."""
        spectrum, shape = spectra_of(reference[None])[0], reference.shape
        fine = cls._of_spectrum(spectrum, shape, whitening, nodes, step_px)
        half = (shape[0] // 2, shape[1] // 2)
        if min(half) < _SMALLEST_PX:
            return fine
        kept = 2 * _lowest(whitening[None], half)[0] * _fading(half)
        coarse = cls._of_spectrum(
            _lowest(spectrum[None], half)[0], half, kept, nodes, step_px * half[1] / shape[1]
        )
        return replace(fine, coarse=coarse)

    @classmethod
    def _of_spectrum(
        cls,
        spectrum: npt.NDArray[np.complex64],
        shape: tuple[int, ...],
        whitening: FloatArray,
        nodes: tuple[int, int],
        step_px: float,
    ) -> Elastic:
        spectrum = spectrum * whitening
        white = np.asarray(fft.irfft2(spectrum, shape), dtype=np.float64)
        slope_y, slope_x = (np.asarray(np.gradient(white, axis=d)) for d in range(2))
        for slope in (slope_y, slope_x):
            slope[:_BORDER_PX] = slope[-_BORDER_PX:] = 0
            slope[:, :_BORDER_PX] = slope[:, -_BORDER_PX:] = 0
        hats = [_hats(n, k) for n, k in zip(shape, nodes, strict=True)]
        return cls(
            reference=white.astype(np.float32),
            slope_y=slope_y.astype(np.float32),
            slope_x=slope_x.astype(np.float32),
            whitening=whitening.astype(np.float32),
            information=_information(slope_y, slope_x, *hats),
            roughness=_roughness(nodes),
            nodes=nodes,
            step_px=step_px,
        )

    def with_step(self, step_px: float) -> Elastic:
        """The same, nodes held together otherwise."""
        coarse = self.coarse
        if coarse is not None:
            scale = coarse.reference.shape[1] / self.reference.shape[1]
            coarse = replace(coarse, step_px=step_px * scale)
        return replace(self, step_px=step_px, coarse=coarse)

    def fields(
        self,
        spectra: npt.NDArray[np.complex64],
        start: FloatArray,
        likeness: FloatArray,
        workers: int = 1,
        *,
        initial: FloatArray | None = None,
    ) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """Displacements of the nodes in frames, and whether the steps came to an end.

        Parameters
        ----------
        spectra : ndarray, shape (t, y, x // 2 + 1)
        start : ndarray, shape (t, rows, columns, 2), px
            What the prior is centred on, but for shifts of the whole.
        likeness : ndarray, shape (t,)
            Contrast of each frame over the reference's.
        initial : ndarray, shape (t, rows, columns, 2), px, optional
            Where the steps begin, if not where the coarse image of half the size leads to.
        """
        if initial is None and self.coarse is not None:
            half = self.coarse.reference.shape
            scale = np.array(half) / np.array(self.reference.shape)
            low = np.asarray(_lowest(spectra, half), dtype=np.complex64)
            led, _ = self.coarse.fields(low, start * scale, likeness, workers)
            initial = led / scale
        white = fft.irfft2(spectra * self.whitening, self.reference.shape, workers=workers)
        white = np.ascontiguousarray(white, dtype=np.float32)
        prior = np.kron(np.eye(2), self.roughness) / self.step_px**2
        ridge = 1e-9 * np.trace(self.information) * np.eye(len(prior))
        solver = np.linalg.inv(self.information + prior + ridge)
        first = start if initial is None else initial
        found: tuple[FloatArray, npt.NDArray[np.bool_]] = _fitted(
            white,
            self.reference,
            self.slope_y,
            self.slope_x,
            np.ascontiguousarray(start, dtype=np.float32),
            np.ascontiguousarray(first, dtype=np.float32),
            np.nan_to_num(likeness).astype(np.float32),
            solver.astype(np.float32),
            np.float32(1 / self.step_px**2),
            _segments(self.reference.shape[1], self.nodes[1]),
        )
        return found

    def with_step_of(
        self,
        spectra: npt.NDArray[np.complex64],
        start: FloatArray,
        likeness: FloatArray,
        workers: int = 1,
    ) -> Elastic:
        """Nodes held together as the given frames want it."""
        model, field = self, start
        first, second = _edges(self.nodes)
        for _ in range(_ROUNDS):
            field, _ = model.fields(spectra, start, likeness, workers, initial=field)
            flat = field.reshape(len(field), -1, 2)
            differences = flat[:, first] - flat[:, second]
            prior = np.kron(np.eye(2), model.roughness) / model.step_px**2
            spread = np.linalg.pinv(model.information + prior, hermitian=True)
            n = len(model.roughness)
            unsure = [
                spread[first + d, first + d] + spread[second + d, second + d]
                - 2 * spread[first + d, second + d] for d in (0, n)
            ]  # fmt: skip
            squared = np.median((differences**2).mean(axis=(1, 2))) + np.mean(unsure)
            step = float(np.clip(np.sqrt(squared), _LEAST_PX, _MOST_PX))
            settled = abs(np.log(step / model.step_px)) < 0.05
            model = model.with_step(step)
            if settled:
                break
        return model


def _lowest(spectra: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The part of half spectra that an image of half the pixels along each axis has.

    White noise keeps its variance.
    """
    height, width = shape
    above = height // 2
    rows = [spectra[:, : height - above], spectra[:, spectra.shape[1] - above :]]
    return np.concatenate(rows, axis=1)[:, :, : width // 2 + 1] * np.float32(0.5)


def _fading(shape: tuple[int, ...]) -> FloatArray:
    """Falls towards the highest frequencies, so that what was cut off leaves no ripples."""
    frequency = np.hypot(fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None])
    return np.asarray(np.exp(-0.5 * (frequency / _FADE) ** 2))


def _hats(n: int, nodes: int) -> FloatArray:
    """Weight of each node at each pixel, shape (n, nodes)."""
    at = np.arange(n) * (nodes - 1) / max(n - 1, 1)
    return np.asarray(np.maximum(1 - np.abs(at[:, None] - np.arange(nodes)), 0))


def _information(
    slope_y: FloatArray, slope_x: FloatArray, hats_y: FloatArray, hats_x: FloatArray
) -> FloatArray:
    """Products of slopes, weighted with the products of the nodes' hats."""
    ny, nx = hats_y.shape[1], hats_x.shape[1]
    pairs_y = (hats_y[:, :, None] * hats_y[:, None]).reshape(len(hats_y), -1)
    pairs_x = (hats_x[:, :, None] * hats_x[:, None]).reshape(len(hats_x), -1)
    parts = {}
    for name, product in (
        ("yy", slope_y * slope_y), ("yx", slope_y * slope_x), ("xx", slope_x * slope_x),
    ):  # fmt: skip
        block = (pairs_y.T @ product @ pairs_x).reshape(ny, ny, nx, nx)
        parts[name] = block.transpose(0, 2, 1, 3).reshape(ny * nx, ny * nx)
    return np.block([[parts["yy"], parts["yx"]], [parts["yx"], parts["xx"]]])


def _edges(nodes: tuple[int, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    number = np.arange(nodes[0] * nodes[1]).reshape(nodes)
    first = np.concatenate([number[:-1].ravel(), number[:, :-1].ravel()])
    second = np.concatenate([number[1:].ravel(), number[:, 1:].ravel()])
    return first, second


def _roughness(nodes: tuple[int, int]) -> FloatArray:
    first, second = _edges(nodes)
    form = np.zeros((nodes[0] * nodes[1],) * 2)
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        form[a, a] += 1
        form[b, b] += 1
        form[a, b] -= 1
        form[b, a] -= 1
    return form


def _segments(n: int, nodes: int) -> npt.NDArray[np.int64]:
    """First pixel of each stretch between two nodes, and one past the last."""
    at = np.arange(n) * (nodes - 1) / max(n - 1, 1)
    stretch = np.minimum(at.astype(np.int64), nodes - 2)
    return np.searchsorted(stretch, np.arange(nodes))


@njit(cache=True, nogil=True, parallel=True, fastmath={"reassoc", "contract"})
def _fitted(  # type: ignore[no-untyped-def]  # noqa: ANN202
    frames,  # noqa: ANN001
    reference,  # noqa: ANN001
    slope_y,  # noqa: ANN001
    slope_x,  # noqa: ANN001
    start,  # noqa: ANN001
    initial,  # noqa: ANN001
    likeness,  # noqa: ANN001
    solver,  # noqa: ANN001
    stiffness,  # noqa: ANN001
    segments,  # noqa: ANN001
):
    n, height, width = frames.shape
    rows, columns = start.shape[1], start.shape[2]
    size = rows * columns
    found = initial.astype(np.float64)
    ended = np.zeros(n, np.bool_)
    scale_y = np.float32((rows - 1) / max(height - 1, 1))
    scale_x = np.float32((columns - 1) / max(width - 1, 1))
    for t in prange(n):
        if not (likeness[t] > 0):
            continue
        field = initial[t].copy()
        pull = np.empty(2 * size, np.float32)
        gain = likeness[t]
        for _ in range(_STEPS):
            pull[:] = 0
            _pull(
                frames[t], reference, slope_y, slope_x, field, gain, segments, scale_y, scale_x,
                pull,
            )  # fmt: skip
            for r in range(rows):
                for k in range(columns):
                    for d in range(2):
                        own = field[r, k, d] - start[t, r, k, d]
                        held = np.float32(0)
                        if r > 0:
                            held += own - field[r - 1, k, d] + start[t, r - 1, k, d]
                        if r < rows - 1:
                            held += own - field[r + 1, k, d] + start[t, r + 1, k, d]
                        if k > 0:
                            held += own - field[r, k - 1, d] + start[t, r, k - 1, d]
                        if k < columns - 1:
                            held += own - field[r, k + 1, d] + start[t, r, k + 1, d]
                        place = d * size + r * columns + k
                        pull[place] = pull[place] / gain - stiffness * held
            largest = np.float32(0)
            longest = np.float32(_LONGEST_STEP_PX)
            for d in range(2):
                for r in range(rows):
                    for k in range(columns):
                        step = np.float32(0)
                        row = solver[d * size + r * columns + k]
                        for j in range(2 * size):
                            step += row[j] * pull[j]
                        step = min(max(step, -longest), longest)
                        largest = max(largest, abs(step))
                        field[r, k, d] += step
            if largest < _SETTLED_PX:
                ended[t] = True
                break
        for r in range(rows):
            for k in range(columns):
                for d in range(2):
                    found[t, r, k, d] = field[r, k, d]
    return found, ended


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _pull(  # type: ignore[no-untyped-def]  # noqa: ANN202
    frame,  # noqa: ANN001
    reference,  # noqa: ANN001
    slope_y,  # noqa: ANN001
    slope_x,  # noqa: ANN001
    field,  # noqa: ANN001
    gain,  # noqa: ANN001
    segments,  # noqa: ANN001
    scale_y,  # noqa: ANN001
    scale_x,  # noqa: ANN001
    pull,  # noqa: ANN001
):
    """Minus the products of slopes and of what frame and reference differ by, to the nodes.

    Pixels that come from outside the frame, and those nearer to its sides than the farthest node
    has moved, are left out.
    """
    height, width = reference.shape
    rows, columns = field.shape[0], field.shape[1]
    size = rows * columns
    here = np.empty((columns, 2), np.float32)
    sums = np.empty((columns, 2), np.float32)
    left, right = np.float32(0), np.float32(0)
    for r in range(rows):
        for k in range(columns):
            left = max(left, -field[r, k, 1])
            right = max(right, field[r, k, 1])
    first = max(_BORDER_PX, int(np.ceil(left)))
    last = min(width - _BORDER_PX, width - 1 - int(np.ceil(right)))
    for y in range(_BORDER_PX, height - _BORDER_PX):
        at = np.float32(y) * scale_y
        node = min(int(at), rows - 2)
        part = at - np.float32(node)
        least, most = np.float32(np.inf), np.float32(-np.inf)
        for k in range(columns):
            for d in range(2):
                a, b = field[node, k, d], field[node + 1, k, d]
                here[k, d] = a + part * (b - a)
                sums[k, d] = 0
            least, most = min(least, here[k, 0]), max(most, here[k, 0])
        if not (y + least >= 0 and y + most < height - 1):
            continue
        for k in range(columns - 1):
            ay, by = here[k, 0], here[k + 1, 0] - here[k, 0]
            ax, bx = here[k, 1], here[k + 1, 1] - here[k, 1]
            y0, x0, y1, x1 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for x in range(max(segments[k], first), min(segments[k + 1], last)):
                u = np.float32(x) * scale_x - np.float32(k)
                fy = np.float32(y) + ay + u * by
                fx = np.float32(x) + ax + u * bx
                iy, ix = int(fy), int(fx)
                uy, ux = fy - np.float32(iy), fx - np.float32(ix)
                a, b = frame[iy, ix], frame[iy, ix + 1]
                c, d = frame[iy + 1, ix], frame[iy + 1, ix + 1]
                top, low = a + ux * (b - a), c + ux * (d - c)
                rest = top + uy * (low - top) - gain * reference[y, x]
                by_y, by_x = rest * slope_y[y, x], rest * slope_x[y, x]
                y0 += by_y
                x0 += by_x
                y1 += u * by_y
                x1 += u * by_x
            sums[k, 0] += y0 - y1
            sums[k, 1] += x0 - x1
            sums[k + 1, 0] += y1
            sums[k + 1, 1] += x1
        for k in range(columns):
            for d in range(2):
                place = d * size + node * columns + k
                pull[place] -= (1 - part) * sums[k, d]
                pull[place + columns] -= part * sums[k, d]
