"""Motion that differs from place to place: splines fitted to the whitened frame.

The displacement is linear between nodes. It maximises the likelihood of the frame times a prior
that holds neighbouring nodes together, by Gauss-Newton steps whose matrix is that of the reference
and so the same for all frames (inverse composition; Baker & Matthews 2004,
doi:10.1023/B:VISI.0000011205.11775.fd). How strongly they hold together is found from the frames
by expectation maximisation (Dempster et al. 1977, doi:10.1111/j.2517-6161.1977.tb01600.x).
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    reference: Float32Array
    slope_y: Float32Array
    slope_x: Float32Array
    whitening: Float32Array
    information: FloatArray
    roughness: FloatArray
    nodes: tuple[int, int]
    step_px: float

    @classmethod
    def of(
        cls, reference: Float32Array, whitening: FloatArray, nodes: tuple[int, int], step_px: float
    ) -> Elastic:
        """From a reference image and what whitens frames."""
        shape = reference.shape
        spectrum = spectra_of(reference[None])[0] * whitening
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
        return Elastic(**{**self.__dict__, "step_px": step_px})

    def fields(
        self,
        spectra: npt.NDArray[np.complex64],
        start: FloatArray,
        likeness: FloatArray,
        workers: int = 1,
    ) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """Displacements of the nodes in frames, and whether the steps came to an end.

        Parameters
        ----------
        spectra : ndarray, shape (t, y, x // 2 + 1)
        start : ndarray, shape (t, rows, columns, 2), px
            Where to begin; also what the prior is centred on, but for shifts of the whole.
        likeness : ndarray, shape (t,)
            Contrast of each frame over the reference's.
        """
        white = fft.irfft2(spectra * self.whitening, self.reference.shape, workers=workers)
        white = np.ascontiguousarray(white, dtype=np.float32)
        prior = np.kron(np.eye(2), self.roughness) / self.step_px**2
        ridge = 1e-9 * np.trace(self.information) * np.eye(len(prior))
        solver = np.linalg.inv(self.information + prior + ridge)
        found: tuple[FloatArray, npt.NDArray[np.bool_]] = _fitted(
            white, self.reference, self.slope_y, self.slope_x,
            np.ascontiguousarray(start, dtype=np.float32),
            np.nan_to_num(likeness).astype(np.float32),
            solver.astype(np.float32), prior.astype(np.float32),
        )  # fmt: skip
        return found

    def with_step_of(
        self,
        spectra: npt.NDArray[np.complex64],
        start: FloatArray,
        likeness: FloatArray,
        workers: int = 1,
    ) -> Elastic:
        """Nodes held together as the given frames want it."""
        model = self
        first, second = _edges(self.nodes)
        for _ in range(_ROUNDS):
            field, _ = model.fields(spectra, start, likeness, workers)
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


@njit(cache=True, nogil=True, parallel=True, fastmath={"reassoc", "contract"})
def _fitted(frames, reference, slope_y, slope_x, start, likeness, solver, prior):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    n, height, width = frames.shape
    rows, columns = start.shape[1], start.shape[2]
    size = rows * columns
    found = start.astype(np.float64)
    ended = np.zeros(n, np.bool_)
    scale_y = np.float32((rows - 1) / max(height - 1, 1))
    scale_x = np.float32((columns - 1) / max(width - 1, 1))
    for t in prange(n):
        if not (likeness[t] > 0):
            continue
        field = start[t].copy()
        moved = np.zeros(2 * size, np.float32)
        pull = np.empty(2 * size, np.float32)
        here = np.empty((columns, 2), np.float32)
        sums = np.empty((columns, 2), np.float32)
        gain = likeness[t]
        for _ in range(_STEPS):
            pull[:] = 0
            for y in range(_BORDER_PX, height - _BORDER_PX):
                at = np.float32(y) * scale_y
                node = min(int(at), rows - 2)
                part = at - np.float32(node)
                for k in range(columns):
                    for d in range(2):
                        a, b = field[node, k, d], field[node + 1, k, d]
                        here[k, d] = a + part * (b - a)
                        sums[k, d] = 0
                for x in range(_BORDER_PX, width - _BORDER_PX):
                    at_x = np.float32(x) * scale_x
                    k = min(int(at_x), columns - 2)
                    part_x = at_x - np.float32(k)
                    fy = np.float32(y) + here[k, 0] + part_x * (here[k + 1, 0] - here[k, 0])
                    fx = np.float32(x) + here[k, 1] + part_x * (here[k + 1, 1] - here[k, 1])
                    if not (fy >= 0 and fy < height - 1 and fx >= 0 and fx < width - 1):
                        continue
                    iy, ix = int(fy), int(fx)
                    uy, ux = fy - np.float32(iy), fx - np.float32(ix)
                    top = frames[t, iy, ix] + ux * (frames[t, iy, ix + 1] - frames[t, iy, ix])
                    low = frames[t, iy + 1, ix] + ux * (
                        frames[t, iy + 1, ix + 1] - frames[t, iy + 1, ix]
                    )
                    rest = top + uy * (low - top) - gain * reference[y, x]
                    by_y, by_x = rest * slope_y[y, x], rest * slope_x[y, x]
                    sums[k, 0] += (1 - part_x) * by_y
                    sums[k, 1] += (1 - part_x) * by_x
                    sums[k + 1, 0] += part_x * by_y
                    sums[k + 1, 1] += part_x * by_x
                for k in range(columns):
                    for d in range(2):
                        place = d * size + node * columns + k
                        pull[place] -= (1 - part) * sums[k, d]
                        pull[place + columns] -= part * sums[k, d]
            largest = np.float32(0)
            for i in range(2 * size):
                held = np.float32(0)
                for j in range(2 * size):
                    held += prior[i, j] * moved[j]
                pull[i] = pull[i] / gain - held
            for i in range(2 * size):
                step = np.float32(0)
                for j in range(2 * size):
                    step += solver[i, j] * pull[j]
                here_step = min(
                    max(step, -np.float32(_LONGEST_STEP_PX)), np.float32(_LONGEST_STEP_PX)
                )
                largest = max(largest, abs(here_step))
                moved[i] += here_step
            for r in range(rows):
                for k in range(columns):
                    for d in range(2):
                        field[r, k, d] = start[t, r, k, d] + moved[d * size + r * columns + k]
            if largest < _SETTLED_PX:
                ended[t] = True
                break
        for r in range(rows):
            for k in range(columns):
                for d in range(2):
                    found[t, r, k, d] = field[r, k, d]
    return found, ended
