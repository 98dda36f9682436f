"""Clusters of molecules that show as one spot: how many there are, and where about."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from aequorea.errors import InputError
from aequorea.puncta import fit_kernels as kernels
from aequorea.puncta.copy_numbers import SingleMolecule
from aequorea.puncta.fit import Neighbours, Scene, fit_puncta
from aequorea.puncta.fit_distances import apart_from_others

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aequorea.puncta.fit import SpotFits

__all__ = ["Decomposition", "decompose_dense", "reference_molecule"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_Fit = tuple[float, FloatArray, float, IntArray]

_FEWEST = 5
_MOST = 10
_CV = (0.1, 0.6)
_JOINT = 10
_NEAR_SD = 2.0
_STRAYED_SD = 2.5
_REGION_SD = 3.0
_FURTHER_MOLECULE = 1.0
_FAINTEST = 0.25
_NOISE_FREE_PHOTONS = 1000.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Decomposition:
    """Molecules behind n detected spots.

    Attributes
    ----------
    position_px : ndarray, shape (m, ndim), px
        At least one for each spot; where many overlap only their number and spread mean anything.
    intensity : ndarray, shape (m,)
        In units of the image, drawn towards that of a single molecule.
    spot : ndarray of int64, shape (m,)
        The spot each was found under.
    region : ndarray of int64, shape (m,)
        Molecules linked by steps of at most 3 standard deviations of the point-spread function.
    n_molecules : ndarray of int64, shape (n,)
        Under each spot.
    limited : ndarray of bool, shape (n,)
        Whether more would have been added but for ``max_molecules``.
    single : SingleMolecule
    """

    position_px: FloatArray
    intensity: FloatArray
    spot: IntArray
    region: IntArray
    n_molecules: IntArray
    limited: npt.NDArray[np.bool_]
    single: SingleMolecule

    def __len__(self) -> int:
        return len(self.intensity)


def reference_molecule(fits: SpotFits, *, isolation_sd: float = 6.0) -> SingleMolecule:
    """Light of a single molecule in an image where many isolated spots are single ones.

    Isolated spots are taken for one, two or more molecules, whose light adds up, in unknown
    shares. Single molecules must be the most common kind. From images without clusters
    :func:`single_molecule` is more exact.

    Parameters
    ----------
    fits : SpotFits
    isolation_sd : float, default 6
        Distance to the next spot, in standard deviations of the point-spread function.

    Returns
    -------
    SingleMolecule

    Raises
    ------
    InputError
        If there are fewer than 5 isolated spots.
    """
    alone = fits.converged & apart_from_others(fits.position_px, isolation_sd * fits.sigma_px)
    light = fits.intensity[alone]
    if len(light) < _FEWEST:
        raise InputError(
            f"spots: expected at least {_FEWEST} isolated ones to learn the light of a molecule "
            f"from, found {len(light)}; give it as single"
        )
    mean, spread, singles = _unit_of(light)
    return SingleMolecule(
        mean=mean, mean_error=spread / math.sqrt(max(singles, 1.0)), cv=spread / mean, n=len(light)
    )


def _unit_of(light: FloatArray) -> tuple[float, float, float]:
    """Mean, SD and number of single molecules among spots of one, two and more of them.

    Normal distributions around k times the mean with k times the variance, their shares free,
    by expectation maximisation from the middle of the shortest interval with half of the spots.
    """
    ordered = np.sort(light)
    half = (len(ordered) + 1) // 2
    widths = ordered[half - 1 :] - ordered[: len(ordered) - half + 1]
    first = int(np.argmin(widths))
    mean = float(np.median(ordered[first : first + half]))
    spread = 0.3 * mean
    number = np.arange(1, _MOST + 1)[:, None]
    share = np.full((_MOST, 1), 1 / _MOST)
    weight = share
    for _ in range(300):
        rest = light - number * mean
        log = np.log(share + 1e-300) - 0.5 * rest**2 / (number * spread**2) - 0.5 * np.log(number)
        weight = np.exp(log - log.max(axis=0))
        weight /= weight.sum(axis=0)
        share = weight.mean(axis=1, keepdims=True)
        before, mean = mean, float(np.sum(weight * light) / np.sum(weight * number))
        variance = float(np.sum(weight * (light - number * mean) ** 2 / number) / len(light))
        spread = min(max(math.sqrt(variance), _CV[0] * mean), _CV[1] * mean)
        if abs(mean - before) < 1e-6 * mean:
            break
    return mean, spread, float(weight[0].sum())


def decompose_dense(
    image: npt.ArrayLike,
    coordinates_px: npt.ArrayLike,
    *,
    sigma_px: Sequence[float],
    single: SingleMolecule | None = None,
    gain_adu_per_photon: float | None = None,
    offset_adu: float = 0.0,
    read_noise_photons: float = 0.0,
    penalty: float = 6.0,
    max_molecules: int = 100,
) -> Decomposition:
    """Split spots that are too bright or too wide for one molecule.

    Parameters
    ----------
    image : array_like, shape (z, y, x) or (y, x)
    coordinates_px : array_like, shape (n, ndim), px
        Detected spots.
    sigma_px : sequence of float, px
        Standard deviation of the point-spread function along each axis.
    single : SingleMolecule, optional
        By default :func:`reference_molecule` of the spots.
    gain_adu_per_photon, offset_adu, read_noise_photons
        As in :func:`fit_puncta`.
    penalty : float, default 6
        What a second molecule under a spot must improve the fit by, in units of chi-square: twice
        the logarithm of the odds against one. Further ones need hardly any.
    max_molecules : int, default 100
        Under one spot.

    Returns
    -------
    Decomposition

    Raises
    ------
    InputError, AxisMismatchError
        As :func:`fit_puncta`, or if too few isolated spots are there to learn from.

    Notes
    -----
    Under each spot that is too bright or does not fit, molecules are added one by one where light
    is left over; all in the window are then fitted again together, with a normal prior for their
    brightness (``single``). A molecule is kept if -2 log likelihood plus the prior's chi-square
    falls by more than the penalty.

    The prior does the counting where molecules cannot be told apart: n of them in one place are
    found as about their light over that of one.
    """
    if max_molecules < 1 or not penalty >= 0:
        raise InputError(
            "max_molecules, penalty: expected at least 1 and at least 0, found "
            f"{max_molecules} and {penalty}"
        )
    fits = fit_puncta(
        image,
        coordinates_px,
        sigma_px=sigma_px,
        gain_adu_per_photon=gain_adu_per_photon,
        offset_adu=offset_adu,
        read_noise_photons=read_noise_photons,
    )
    n = len(fits)
    if single is None:
        single = reference_molecule(fits) if n else SingleMolecule(mean=1.0)
    gain = gain_adu_per_photon
    if gain is None:
        least = single.mean / _NOISE_FREE_PHOTONS
        gain = max(fits.noise_scale, least) if np.isfinite(fits.noise_scale) else least
    scene = Scene.of(
        image,
        sigma_px=sigma_px,
        gain_adu_per_photon=gain,
        offset_adu=offset_adu,
        read_noise_photons=read_noise_photons,
        window_sd=3.0,
    )
    cluster = _Cluster(scene, fits, single, gain, penalty)
    limited = np.zeros(n, np.bool_)
    for spot in cluster.crowded():
        limited[spot] = cluster.split(spot, max_molecules)
    order = np.argsort(cluster.parent, kind="stable")
    molecules, parent = cluster.molecules[order], cluster.parent[order]
    return Decomposition(
        position_px=molecules[:, 4 - scene.ndim :],
        intensity=molecules[:, 0] * gain,
        spot=parent,
        region=_regions(molecules[:, 1:] / scene.sigma),
        n_molecules=np.bincount(parent, minlength=n),
        limited=limited,
        single=single,
    )


class _Cluster:
    """Molecules found so far: brightness in photons, z, y and x, and the spot of each."""

    def __init__(
        self, scene: Scene, fits: SpotFits, single: SingleMolecule, gain: float, penalty: float
    ) -> None:
        self.scene, self.fits, self.penalty = scene, fits, penalty
        self.light = single.mean / gain
        self.prior = (self.light, 1 / (max(single.cv, 0.05) * self.light) ** 2)
        self.too_bright = (1 + single.cv) * single.mean
        last = np.array(scene.stack.shape[-scene.ndim :]) - 1
        found = scene.zyx(np.clip(fits.position_px, 0, last))  # fits may end beyond the border
        light = np.where(fits.converged, fits.intensity / gain, self.light)
        self.molecules = np.column_stack([light, found])
        self.parent = np.arange(len(found))
        self.centre = found.copy()

    def crowded(self) -> list[int]:
        """Spots that are not like one molecule, the brightest first."""
        fits = self.fits
        wrong = ~fits.converged | (fits.intensity > self.too_bright)
        wrong |= fits.reduced_chi2 > 1 + 4 * math.sqrt(2 / float(np.prod(2 * self.scene.half + 1)))
        light = np.nan_to_num(fits.intensity)
        return [int(k) for k in np.lexsort((np.arange(len(light)), -light)) if wrong[k]]

    def split(self, spot: int, max_molecules: int) -> bool:
        """Add molecules under a spot; whether there were still more to add at the limit."""
        centre = self.centre[spot : spot + 1]
        charge = self.penalty
        cost, fitted, background, chosen = self._fit(centre, self.molecules, self.molecules[spot])
        self.molecules[chosen] = fitted
        while True:
            place = self._brightest_rest(centre, background, spot)
            trial = np.vstack([self.molecules, [self.light, *place]])
            before = self._fit(centre, self.molecules, trial[-1])
            after = self._fit(centre, trial, trial[-1])
            if not after[0] + charge < min(before[0], cost) or self._strayed(after, centre):
                return False
            if (self.parent == spot).sum() >= max_molecules:
                return True
            cost, fitted, background, chosen = after
            trial[chosen] = fitted
            self.molecules, self.parent = trial, np.append(self.parent, spot)
            charge = _FURTHER_MOLECULE

    def _strayed(self, fit: _Fit, centre: FloatArray) -> bool:
        """Whether a molecule left the spot, where the window hardly shows it, or is too faint."""
        new = fit[1][fit[3] == len(self.molecules)]
        away = np.sqrt((((new[:, 1:] - centre) / self.scene.sigma) ** 2).sum(axis=1))
        return bool((away > _STRAYED_SD).any() or (new[:, 0] < _FAINTEST * self.light).any())

    def _fit(self, centre: FloatArray, molecules: FloatArray, focus: FloatArray) -> _Fit:
        """Fit the molecules nearest to ``focus`` in the window; the others stay."""
        scene = self.scene
        apart = np.abs(molecules[:, 1:] - np.rint(centre))
        lit = np.asarray((apart <= scene.half + 3 * scene.sigma).all(axis=1))
        inside = np.flatnonzero((apart <= scene.half).all(axis=1))
        distance = (((molecules[inside, 1:] - focus[1:]) / scene.sigma) ** 2).sum(axis=1)
        chosen = inside[np.argsort(distance, kind="stable")[:_JOINT]]
        lit[chosen] = False
        fixed = np.flatnonzero(lit)
        fit = scene.fit(
            centre,
            molecules,
            Neighbours(np.array([0, len(chosen)]), chosen),
            (Neighbours(np.array([0, len(fixed)]), fixed), molecules),
            prior=self.prior,
        )
        everything = np.concatenate([fit.together[:, 0], molecules[fixed, 0]])
        excess = self.prior[1] * float(np.sum((everything - self.prior[0]) ** 2))
        cost = float(fit.deviance[0]) + excess
        return (
            cost if np.isfinite(cost) else np.inf,
            fit.together,
            float(fit.background[0]),
            chosen,
        )

    def _brightest_rest(self, centre: FloatArray, background: float, spot: int) -> FloatArray:
        """Where most light is left over near a spot's molecules."""
        scene = self.scene
        middle = np.rint(centre).astype(np.int64)
        origin = (middle - scene.half)[0]
        rest = scene.windows(middle)[0]
        model = np.full(rest.shape, background + scene.variance)
        local = self.molecules.copy()
        local[:, 1:] -= origin
        reached = ((local[:, 1:] > -4 * scene.sigma) & (
            local[:, 1:] < np.array(rest.shape) + 4 * scene.sigma
        )).all(axis=1)  # fmt: skip
        kernels.add_spots(model, local[reached], scene.sigma, not scene.flat)
        rest = np.nan_to_num(rest - model)
        smooth = ndimage.gaussian_filter(rest, np.where(np.array(rest.shape) > 1, scene.sigma, 0))
        voxels = np.moveaxis(np.indices(rest.shape), 0, -1)
        own = local[self.parent == spot, 1:]
        away = (voxels - (centre[0] - origin)) / scene.sigma
        near = (away**2).sum(axis=-1) <= _NEAR_SD**2
        smooth[~near] = -np.inf
        best = np.array(np.unravel_index(int(np.argmax(smooth)), smooth.shape), dtype=float)
        # Two molecules in exactly one place would be fitted alike for ever.
        away = (best - own) / scene.sigma
        if len(own) and np.sqrt((away**2).sum(axis=1)).min() < 0.2:
            best[1:] += 0.3 * scene.sigma[1:] * np.array([math.cos(len(own)), math.sin(len(own))])
        return np.asarray(best + origin)


def _regions(scaled: FloatArray) -> IntArray:
    n = len(scaled)
    if n == 0:
        return np.zeros(0, np.int64)
    pairs = cKDTree(scaled).query_pairs(_REGION_SD, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, region = connected_components(graph, directed=False)
    return region.astype(np.int64)
