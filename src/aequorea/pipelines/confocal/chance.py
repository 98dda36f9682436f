"""Each cell's puncta beside chance: random puncta, foci moved as wholes, kinds swapped; curves."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from aequorea.errors import InputError
from aequorea.pipelines.confocal.measures import (
    POSITION,
    cytosols,
    table_by_cell,
    without_cytosol,
)
from aequorea.spatial.envelopes import Envelope, global_envelope
from aequorea.spatial.nulls import (
    hard_core_points,
    moved_clusters,
    points_inside,
    random_points,
    swapped_labels,
)
from aequorea.spatial.point_patterns import (
    besag_l,
    ecdf,
    field_at_points,
    nearest_neighbour_distances,
    ripley_k,
)
from aequorea.spatial.randomness import csr_test, held_against_chance
from aequorea.spatial.shells import equal_volume_shells
from aequorea.spatial.window import set_covariance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aequorea.pipelines.confocal.anatomy import Anatomy
    from aequorea.pipelines.confocal.parameters import NullParameters
    from aequorea.spatial.randomness import Chance
    from aequorea.spatial.shells import Shells
    from aequorea.spatial.window import SetCovariance

    FloatArray: TypeAlias = NDArray[np.float64]
    Lengths: TypeAlias = tuple[float, float, float]
    Rows: TypeAlias = list[dict[str, Any]]

__all__ = ["CHANCE_COLUMNS", "CURVE_COLUMNS", "chance_tables", "found_by_plane"]

CHANCE_COLUMNS = (
    "cell",
    "role",
    "null",
    "measure",
    "n_puncta",
    "observed",
    "expected",
    "ratio",
    "chance_low",
    "chance_high",
    "p_value",
    "n_simulations",
    "hypothesis",
    "unit",
    "reason",
)
CURVE_COLUMNS = (
    "cell",
    "role",
    "other",
    "curve",
    "null",
    "r_um",
    "observed",
    "expected",
    "low",
    "high",
    "p_value",
)
RANDOM, FOCI = "random puncta", "foci moved"
SWAPPED, APART = "kinds swapped", "second kind at random within shells"
_MEASURES = {
    "distance": "median distance to the nucleus",
    "nearest": "mean distance to the nearest punctum",
    "neighbours": "neighbours",
}
_CURVES = {"L": "L, whole curve", "G": "G, whole curve"}
_UNIT = "punctum within this cell (not the cell or the animal)"
#: What the mean of a skewed quantity is of its 10th, 50th and 90th percentile (Swanson's rule).
_MEAN_OF = {"dim": 0.3, "typical": 0.4, "bright": 0.3}
_FULLEST = 0.3  # of the cytosol that puncta as near as can be told apart fill; jams at 0.38
# Up to here random puncta, once detected, are called random as often as they should be
# (benchmarks/results/calibration_detected.csv); beyond, those taken for one shape the pattern.
_DENSEST = 0.08
_TOO_FULL = (
    "puncta as near as can be told apart would fill {:.0f} % of the cytosol, more than can be "
    "placed at random: most of such a crowd is not seen one by one"
)
_TOO_DENSE = (
    "no p-value: puncta as near as can be told apart would fill {:.0f} % of the cytosol, and in "
    "such a crowd those taken for one shape the pattern"
)
_NEIGHBOURS, _SHARED, _N_RADII = 30.0, 0.5, 20
_PAIRED = 5.0  # neighbours of either kind, in mean, within which kinds are compared
_MOST_VOXELS = 2_000_000  # of a cell at full resolution in its set covariance
_BALL = 4 * np.pi / 3


@dataclass(frozen=True, eq=False, kw_only=True)
class _Cell:
    """One cell with its puncta in it, from the corner of its box."""

    label: int
    cytosol: NDArray[np.bool_]
    distance_um: FloatArray
    found_by_plane: Mapping[str, FloatArray]
    spacing_um: Lengths
    points: Mapping[str, FloatArray]
    foci: Mapping[str, NDArray[np.int64]]
    n_shells: int

    @property
    def volume(self) -> float:
        """µm³ of cytosol."""
        return float(np.count_nonzero(self.cytosol) * np.prod(self.spacing_um))

    @cached_property
    def shells(self) -> Shells:
        """Of equal volume, around the nucleus."""
        return equal_volume_shells(self.distance_um, self.cytosol, self.n_shells)

    @cached_property
    def covariance(self) -> SetCovariance:
        """Of the cytosol, as far as any curve reaches; coarser in large cells."""
        fewest = min((len(p) for p in self.points.values() if len(p) > 1), default=2)
        coarse = int(np.ceil(np.sqrt(self.cytosol.size / _MOST_VOXELS)))
        return set_covariance(
            self.cytosol,
            self.spacing_um,
            reach_um=self.radius_of(_NEIGHBOURS, fewest),
            downsample=coarse,
        )

    def radius_of(self, n_neighbours: float, n: int) -> float:
        """Within which a random punctum has so many neighbours among n, µm."""
        return float((n_neighbours * self.volume / max(n - 1, 1) / _BALL) ** (1 / 3))

    def weights(self, role: str) -> FloatArray | None:
        """Share of puncta found at the depth of each voxel."""
        if role not in self.found_by_plane:
            return None
        share = self.found_by_plane[role][:, None, None]
        return np.broadcast_to(share, self.cytosol.shape)


def chance_tables(
    anatomy: Anatomy,
    puncta: Mapping[str, pd.DataFrame],
    *,
    options: NullParameters,
    apart_um: Mapping[str, Lengths],
    efficiency: pd.DataFrame,
    n_shells: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Each cell's cytosolic puncta held against chance, as numbers and as curves.

    Parameters
    ----------
    anatomy : Anatomy
    puncta : mapping of role to DataFrame
        As :func:`aequorea.pipelines.confocal.puncta.located` makes them.
    options : NullParameters
    apart_um : mapping of role to (float, float, float), µm
        Along each axis, the distance below which detection sees two puncta as one; random puncta
        keep it. All 0 for none.
    efficiency : DataFrame
        As :func:`aequorea.pipelines.confocal.efficiency.efficiency_table` makes it; empty if
        detection was not tested.
    n_shells : int
        Shells of equal volume within which kinds are compared.
    seed : int

    Returns
    -------
    chance : DataFrame
        One row per cell, kind or pair of kinds, null and measure.
    curves : DataFrame
        L(r) − r in µm (``curve`` "L") and the distribution function of distances to the nearest
        punctum ("G") with the global envelope of the simulations; ``other`` is empty where a kind
        is held against itself.
    """
    planes = {}
    if options.null_by_depth:
        n_planes, dz = anatomy.cells.shape[0], anatomy.spacing_um[0]
        found = {role: found_by_plane(efficiency, role, n_planes, dz) for role in puncta}
        planes = {role: share for role, share in found.items() if share is not None}
    rows: Rows = []
    curves: list[pd.DataFrame] = []
    for label, box, cytosol, distance in cytosols(anatomy):
        cell = _cell(label, box, cytosol, distance, anatomy, puncta, planes, n_shells)
        for number, role in enumerate(puncta):
            rng = np.random.default_rng([seed, number, label])
            rows += _of_kind(cell, role, apart_um[role], options, rng, curves)
        for number, pair in enumerate(itertools.combinations(puncta, 2)):
            rng = np.random.default_rng([seed, number, label, 1])
            rows += _of_pair(cell, pair, apart_um, options, rng, curves)
    rows += [
        {"cell": label, "role": role, "null": RANDOM, "measure": "all", "reason": reason}
        for label, reason in without_cytosol(anatomy).items()
        for role in puncta
    ]
    filled = [c for c in curves if len(c)]
    return table_by_cell(rows, CHANCE_COLUMNS), (
        pd.concat(filled, ignore_index=True)[list(CURVE_COLUMNS)]
        if filled
        else pd.DataFrame(columns=list(CURVE_COLUMNS))
    )


def found_by_plane(
    efficiency: pd.DataFrame, role: str, n_planes: int, plane_um: float
) -> FloatArray | None:
    """Share of the puncta of one kind that detection finds in each plane.

    Parameters
    ----------
    efficiency : DataFrame
        As :func:`aequorea.pipelines.confocal.efficiency.efficiency_table` makes it.
    role : str
    n_planes : int
    plane_um : float, µm
        Distance between planes.

    Returns
    -------
    ndarray, shape (n_planes,), or None
        None where detection was not tested.

    Notes
    -----
    The mean over the brightness of puncta is 0.3, 0.4 and 0.3 times what is found of the dim,
    typical and bright spots (10th, 50th and 90th percentile; Swanson's rule), with half a spot
    added to those found and to those missed. Linear between the middles of the ranges of depth.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "role": "puncta", "brightness": ["dim", "typical", "bright"], "z_from_um": 0.0,
    ...     "z_to_um": 1.2, "n_injected": 99, "n_found": [49, 99, 99]})
    >>> found_by_plane(table, "puncta", 4, 0.3).round(3)
    array([0.845, 0.845, 0.845, 0.845])
    """
    if not len(efficiency) or "n_injected" not in efficiency:
        return None
    own = efficiency[(efficiency["role"] == role) & (efficiency["n_injected"] > 0)]
    own = own[own["brightness"].isin(list(_MEAN_OF))]
    if not len(own):
        return None
    share = (own["n_found"].astype(float) + 0.5) / (own["n_injected"].astype(float) + 1)
    weight = own["brightness"].map(_MEAN_OF).astype(float)
    middle = (own["z_from_um"].astype(float) + own["z_to_um"].astype(float) - plane_um) / 2
    sums = (
        pd.DataFrame({"at": middle, "weight": weight, "part": weight * share}).groupby("at").sum()
    )
    at = np.asarray(sums.index, dtype=np.float64)
    mean = (sums["part"] / sums["weight"]).to_numpy(np.float64)
    found: FloatArray = np.interp(np.arange(n_planes) * plane_um, at, mean)
    return found


def _cell(
    label: int,
    box: tuple[slice, ...],
    cytosol: NDArray[np.bool_],
    distance: FloatArray,
    anatomy: Anatomy,
    puncta: Mapping[str, pd.DataFrame],
    planes: Mapping[str, FloatArray],
    n_shells: int,
) -> _Cell:
    origin = np.array([side.start for side in box]) * anatomy.spacing_um
    points, foci = {}, {}
    for role, table in puncta.items():
        own = table[(table["cell"] == label) & (table["compartment"] == "cytosol")]
        place = anatomy.held(own[list(POSITION)].to_numpy(float)) - origin
        inside = points_inside(place, cytosol, anatomy.spacing_um)
        points[role] = place[inside]
        foci[role] = own["focus"].to_numpy(np.int64)[inside]
    return _Cell(
        label=label,
        cytosol=cytosol,
        distance_um=distance,
        found_by_plane={role: share[box[0]] for role, share in planes.items()},
        spacing_um=anatomy.spacing_um,
        points=points,
        foci=foci,
        n_shells=n_shells,
    )


# --- one kind of puncta -----------------------------------------------------------------------


def _of_kind(
    cell: _Cell,
    role: str,
    apart: Lengths,
    options: NullParameters,
    rng: np.random.Generator,
    curves: list[pd.DataFrame],
) -> Rows:
    points = cell.points[role]
    head = {"cell": cell.label, "role": role, "null": RANDOM, "n_puncta": len(points)}
    if len(points) < options.least_puncta:
        reason = f"{len(points)} puncta in the cytosol, fewer than {options.least_puncta}"
        return [{**head, "measure": "all", "reason": reason}]
    rows = _random_puncta(cell, role, apart, options, rng, curves, head)
    if options.null_foci_moved and cell.foci[role].any():
        rows.append(head | {"null": FOCI} | _foci_moved(cell, role, options, rng))
    return rows


def _random_puncta(
    cell: _Cell,
    role: str,
    apart: Lengths,
    options: NullParameters,
    rng: np.random.Generator,
    curves: list[pd.DataFrame],
    head: dict[str, Any],
) -> Rows:
    points, weights = cell.points[role], cell.weights(role)
    head = head | {
        "n_simulations": options.n_simulations,
        "hypothesis": _random_in_words(apart, weights is not None, options.null_hard_core_spread),
        "unit": _UNIT,
    }
    share = _filled(cell, len(points), apart)
    if share > _FULLEST:
        return [{**head, "measure": "all", "reason": _TOO_FULL.format(100 * share)}]
    found = csr_test(
        points,
        cell.cytosol,
        cell.spacing_um,
        cell.distance_um,
        rng=rng,
        weights=weights,
        hard_core_um=apart if any(apart) else None,
        hard_core_spread=options.null_hard_core_spread,
        covariance=cell.covariance,
        n_simulations=options.n_simulations,
        alpha=1 - options.null_confidence,
    )
    rows: Rows = [{**head, "measure": "all", "p_value": found.p_value, "reason": found.reason}]
    rows += [
        {**head, "measure": name, **_numbers(getattr(found, m))} for m, name in _MEASURES.items()
    ]
    drawn = []
    if options.point_curves:
        shown = {"role": role, "other": "", "null": RANDOM}
        for name, at, band in (
            ("L", found.pair_radii_um, found.pair_curve),
            ("G", found.nearest_radii_um, found.nearest_curve),
        ):
            if band is not None:
                rows.append({**head, **_curve_row(name, band)})
                drawn.append(_curve(cell.label, shown, name, at, band))
    if share > _DENSEST:
        why = {"p_value": np.nan, "reason": _TOO_DENSE.format(100 * share)}
        rows, drawn = [row | why for row in rows], [c.assign(p_value=np.nan) for c in drawn]
    curves += drawn
    return rows


def _random_in_words(apart: Lengths, by_depth: bool, spread: float) -> str:
    where = "as densely at each depth as spots are found there" if by_depth else "evenly"
    text = f"The puncta lie at random in the cytosol of their cell, {where}"
    if not any(apart):
        return f"{text}, independently of each other."
    z, y, _ = apart
    about = "about " if spread else ""
    return f"{text}, none within {about}{y:.2f} µm in its plane, or {z:.2f} µm along z, of another."


def _filled(cell: _Cell, n: int, apart: Lengths) -> float:
    """Share of the cytosol that n ellipsoids, as near as two puncta can be told apart, take."""
    return n * _BALL * float(np.prod(apart)) / 8 / cell.volume


def _foci_moved(
    cell: _Cell, role: str, options: NullParameters, rng: np.random.Generator
) -> dict[str, Any]:
    points, focus = cell.points[role], cell.foci[role]
    facts: dict[str, Any] = {
        "measure": _MEASURES["distance"],
        "n_simulations": options.n_simulations,
        "hypothesis": "Foci, each moved and turned about z as a whole, and puncta outside foci lie "
        "at random in the cytosol of their cell, evenly.",
        "unit": "focus or lone punctum within this cell (not the cell or the animal)",
    }
    try:
        moved = moved_clusters(
            points,
            np.where(focus > 0, focus, -1),
            cell.cytosol,
            cell.spacing_um,
            rng,
            n_simulations=options.n_simulations,
        )
    except InputError as error:  # a focus that fits nowhere else
        return {**facts, "reason": str(error)}
    patterns = np.concatenate([points[None], moved])
    away = np.median(field_at_points(patterns, cell.distance_um, cell.spacing_um), axis=1)
    return {**facts, **_numbers(held_against_chance(away))}


# --- two kinds --------------------------------------------------------------------------------


def _of_pair(
    cell: _Cell,
    pair: tuple[str, str],
    apart_um: Mapping[str, Lengths],
    options: NullParameters,
    rng: np.random.Generator,
    curves: list[pd.DataFrame],
) -> Rows:
    sizes = [len(cell.points[role]) for role in pair]
    head = {"cell": cell.label, "role": "+".join(pair), "n_puncta": sum(sizes), "unit": _UNIT}
    wanted = {SWAPPED: options.null_kinds_swapped, APART: options.point_curves}
    if min(sizes) < options.least_puncta:
        reason = f"fewer than {options.least_puncta} puncta of a kind in the cytosol"
        return [
            {**head, "null": null, "measure": "all", "reason": reason}
            for null, asked in wanted.items()
            if asked
        ]
    head["n_simulations"] = options.n_simulations
    rows: Rows = []
    if options.null_kinds_swapped:
        rows.append({**head, "null": SWAPPED, **_kinds_swapped(cell, pair, apart_um, options, rng)})
    if options.point_curves:
        rows += _together(cell, pair, apart_um[pair[1]], options, rng, curves, head)
    return rows


def _kinds_swapped(
    cell: _Cell,
    pair: tuple[str, str],
    apart_um: Mapping[str, Lengths],
    options: NullParameters,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Pairs of different kinds, beyond what is too near for two of one kind to be seen."""
    points = np.concatenate([cell.points[role] for role in pair])
    kind = np.repeat([0, 1], [len(cell.points[role]) for role in pair])
    nearest = np.maximum(*(np.array(apart_um[role]) for role in pair))
    reach = cell.radius_of(_PAIRED, len(points))
    i, j = _pairs_between(points, nearest, max(reach, 1.5 * float(nearest[1])))
    facts = {
        "measure": "pairs of different kinds",
        "hypothesis": f"Which kind a punctum is has nothing to do with that of its neighbours "
        f"(within {reach:.2f} µm, beyond what is too near to be told apart), given how many of "
        "each kind every shell around the nucleus holds.",
    }
    if not len(i):
        return {**facts, "reason": "no two puncta are near enough to each other"}
    shell = cell.shells.index[tuple(_voxels(points, cell).T)]
    kinds = swapped_labels(kind, rng, strata=shell, n_simulations=options.n_simulations)
    kinds = np.concatenate([kind[None], kinds])
    unlike = np.array([np.count_nonzero(k[i] != k[j]) for k in kinds], dtype=np.float64)
    return {**facts, **_numbers(held_against_chance(unlike))}


def _pairs_between(
    points: FloatArray, nearest: FloatArray, reach: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs up to ``reach`` apart that are not within an ellipsoid of half-axes ``nearest``."""
    pairs = cKDTree(points).query_pairs(reach, output_type="ndarray").astype(np.int64)
    i, j = pairs.T
    if (nearest > 0).all():
        apart = (((points[i] - points[j]) / nearest) ** 2).sum(axis=1) >= 1
        i, j = i[apart], j[apart]
    return i, j


def _together(
    cell: _Cell,
    pair: tuple[str, str],
    apart: Lengths,
    options: NullParameters,
    rng: np.random.Generator,
    curves: list[pd.DataFrame],
    head: dict[str, Any],
) -> Rows:
    """Cross-type L and G, the second kind put anew into the shells in which it is."""
    first, second = (cell.points[role] for role in pair)
    n = len(second)
    placed, kept = _second_placed(second, cell, apart, options, rng)
    patterns = np.concatenate([second[None], placed])
    furthest = min(cell.radius_of(_NEIGHBOURS, n + 1), cell.covariance.length_sharing(_SHARED))
    radii = furthest * np.arange(1, _N_RADII + 1) / _N_RADII
    shares = np.arange(1, _N_RADII) / _N_RADII
    nearest = (-np.log1p(-shares) * cell.volume / n / _BALL) ** (1 / 3)
    k = ripley_k(patterns, radii, cell.covariance, others_um=first)
    sources = np.broadcast_to(first, (len(patterns), *first.shape))
    away = nearest_neighbour_distances(sources, others_um=patterns)
    alpha = 1 - options.null_confidence
    rows: Rows = []
    shown = {"role": pair[0], "other": pair[1], "null": APART}
    facts = {
        **head,
        "null": APART,
        "hypothesis": "Puncta of the second kind lie independently of the first, spread over the "
        f"shells around the nucleus as they are, and at random within each{kept}.",
    }
    for name, at, values in (("L", radii, k), ("G", nearest, ecdf(away, nearest))):
        band = global_envelope(values[0], values[1:], alpha=alpha)
        rows.append({**facts, **_curve_row(name, band)})
        curves.append(_curve(cell.label, shown, name, at, band))
    return rows


def _second_placed(
    second: FloatArray,
    cell: _Cell,
    apart: Lengths,
    options: NullParameters,
    rng: np.random.Generator,
) -> tuple[FloatArray, str]:
    """The second kind anew in its shells, as far apart as can be seen if that fits; in words."""
    where = (cell.cytosol, cell.spacing_um, rng)
    draw: dict[str, Any] = {
        "weights": _density_of_shells(second, cell),
        "n_simulations": options.n_simulations,
    }
    if any(apart) and _filled(cell, len(second), apart) <= _FULLEST:
        try:
            spread = options.null_hard_core_spread
            placed = hard_core_points(len(second), *where, distance_um=apart, spread=spread, **draw)
        except InputError:  # shells with more than fits at random
            pass
        else:
            return placed, ", those of the second no nearer to each other than can be told apart"
    return random_points(second, *where, **draw), ""


def _density_of_shells(points: FloatArray, cell: _Cell) -> FloatArray:
    """Puncta per voxel of each shell, everywhere in it."""
    index = cell.shells.index
    counts = np.bincount(index[tuple(_voxels(points, cell).T)], minlength=len(cell.shells) + 1)
    per_voxel = counts[1:] / np.maximum(cell.shells.n_voxels, 1)
    return np.asarray(np.concatenate([[0.0], per_voxel])[index])


def _voxels(points: FloatArray, cell: _Cell) -> NDArray[np.int64]:
    return np.rint(points / cell.spacing_um).astype(np.int64)


# --- rows -------------------------------------------------------------------------------------


def _numbers(chance: Chance) -> dict[str, Any]:
    names = ("observed", "expected", "ratio", "chance_low", "chance_high", "p_value", "reason")
    return {name: getattr(chance, name) for name in names}


def _shown(name: str, values: FloatArray) -> FloatArray:
    """K as L: the order of curves, and so the envelope and its p-value, stay as they are."""
    return besag_l(values, 3) if name == "L" else values


def _curve_row(name: str, band: Envelope) -> dict[str, Any]:
    """The whole curve as one number: mean over its radii, beside that of the null."""
    observed = float(_shown(name, band.observed).mean())
    expected = float(_shown(name, band.central).mean())
    return {
        "measure": _CURVES[name],
        "observed": observed,
        "expected": expected,
        "ratio": observed / expected if expected > 0 else np.nan,
        "p_value": band.p_value,
        "reason": "",
    }


def _curve(
    label: int, shown: Mapping[str, str], name: str, at: FloatArray, band: Envelope
) -> pd.DataFrame:
    less = at if name == "L" else 0.0
    columns = {
        "observed": band.observed,
        "expected": band.central,
        "low": band.low,
        "high": band.high,
    }
    return pd.DataFrame(
        {
            "cell": label,
            **shown,
            "curve": name,
            "r_um": at,
            **{c: _shown(name, np.asarray(v)) - less for c, v in columns.items()},
            "p_value": band.p_value,
        }
    )
