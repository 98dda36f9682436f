"""What the page shows of one pair of stains: headline, figures, captions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.report import pictures, plots
from aequorea.report.canvas import PIXELS_DPI, Picture, to_picture
from aequorea.report.headline import METRIC_NAMES, Headline, floor_of, headline_of, significant
from aequorea.report.methods import threshold_name
from aequorea.report.numbers import fixed, number, p_value

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from aequorea.report.run_contents import RunContents, StoredImage

_BINS = 200
_NEAR_ZERO = 0.05
_FAR_PX = 1.0
_CLEARLY = 0.5


@dataclass(frozen=True)
class Plate:
    """A figure with its caption."""

    picture: Picture
    title: str
    caption: str


@dataclass
class PairSection:
    """One pair.

    Attributes
    ----------
    names : tuple of str
    headline : Headline
    plates : dict of str to Plate
        By part: ``channels``, ``thresholds``, ``cytofluorogram``, ``curves``, ``null``, ``ccf``,
        ``regions``, ``within``, ``nearest``.
    missing : list of (str, str)
        Parts that could not be drawn, and why.
    """

    names: tuple[str, str]
    headline: Headline
    plates: dict[str, Plate] = field(default_factory=dict)
    missing: list[tuple[str, str]] = field(default_factory=list)

    @property
    def n_bytes(self) -> int:
        """Size of all its figures."""
        return sum(len(plate.picture.png) for plate in self.plates.values())


class _Pair:
    """The parts of a run that belong to one pair, in the first frame."""

    def __init__(self, run: RunContents, image: StoredImage, names: tuple[str, str]) -> None:
        self.run = run
        self.image = image
        self.names = names
        self.pixel = _whole_regions(self.rows("pixel"))
        self.tests = self.rows("significance")
        first = self.pixel[self.pixel["frame"] == self.pixel["frame"].min()]
        self.frame = int(first["frame"].iloc[0])
        self.first = first.set_index("region", drop=False)
        self.example = int(self.first["n_pixels"].idxmax())

    def rows(self, table: str) -> pd.DataFrame:
        """Rows of the pair."""
        frame = self.run.table(table)
        if "channel_a" not in frame:
            return frame
        a, b = self.names
        return frame[(frame["channel_a"] == a) & (frame["channel_b"] == b)]

    def of_example(self, table: str) -> pd.DataFrame:
        """Rows of the region that stands for all in the figures."""
        rows = self.rows(table)
        if "region" not in rows:
            return rows
        return rows[(rows["frame"] == self.frame) & (rows["region"] == self.example)]

    @property
    def where(self) -> str:
        """The region that figures of one region show."""
        if len(self.first) == 1:
            return "" if self.example == 0 else f"Region {self._name}. "
        return f"The largest region, {self._name}. "

    @property
    def _name(self) -> str:
        return str(self.first.loc[self.example, "region_name"])

    def background(self, channel: str) -> float:
        """The grey level that was subtracted from a channel."""
        table = self.run.table("background")
        if table.empty:
            return 0.0
        return float(table.loc[table["channel"] == channel, "value"].iloc[0])


def pair_section(run: RunContents, image: StoredImage, names: tuple[str, str]) -> PairSection:
    """Draw everything there is of one pair.

    Parameters
    ----------
    run : RunContents
    image : StoredImage
    names : tuple of str
    """
    pair = _Pair(run, image, names)
    alpha = float(run.parameter("significance.alpha") or 0.05)
    primary = str(run.parameter("significance.primary") or "pcc")
    section = PairSection(
        names=names,
        headline=headline_of(pair.pixel, pair.tests, names=names, alpha=alpha, primary=primary),
    )
    _draw_pixels(pair, section)
    _draw_curves(pair, section)
    _draw_null(pair, section, primary)
    _draw_ccf(pair, section)
    _draw_regions(pair, section, primary, alpha)
    _draw_objects(pair, section)
    return section


def _whole_regions(pixel: pd.DataFrame) -> pd.DataFrame:
    return pixel[pixel["slice"].isna()] if "slice" in pixel else pixel


def _draw_pixels(pair: _Pair, section: PairSection) -> None:
    """Channels, thresholds and cytofluorogram, in one pass over the slices."""
    a, b = pair.names
    joint = _JointHistogram(pair)
    brightest, most_light = 0, -math.inf
    plane_a = plane_b = np.zeros((1, 1))
    labels: NDArray[Any] | None = None
    for z, raw_a, raw_b in pair.image.slices(a, b, t=pair.frame):
        inside = pair.image.labels("regions", t=pair.frame, z=z)
        subtracted = (_less(raw_a, pair.background(a)), _less(raw_b, pair.background(b)))
        joint.add(*subtracted, inside)
        light = sum(float(np.nanmean(p)) / r for p, r in zip(subtracted, joint.ranges, strict=True))
        if light > most_light:
            brightest, most_light, labels = z, light, inside
            plane_a, plane_b = subtracted
    which = _which_slice(pair, brightest)
    calibrated = None not in pair.image.pixel_um
    drawing: dict[str, Any] = {
        "names": pair.names,
        "pixel_um": pair.image.pixel_um,
        "regions": labels,
    }
    bar = "" if calibrated else " The file gives no pixel size, so there is no scale bar."
    low, high = pictures.CONTRAST_PERCENT
    figure = pictures.channels_figure(plane_a, plane_b, **drawing)
    section.plates["channels"] = Plate(
        to_picture(figure, f"{a}, {b} and their overlay", dpi=PIXELS_DPI),
        "The channels.",
        f"{which}{a} shown in green, {b} shown in magenta; where both are bright the overlay is "
        "white. "
        f"Contrast from percentile {low:g} to {high:g} of each channel, for looking, not for "
        "measuring." + (" Regions are outlined and numbered." if labels is not None else "") + bar,
    )
    section.plates["cytofluorogram"] = joint.plate()
    if not pair.first[["threshold_a", "threshold_b"]].notna().any(axis=None):
        section.missing.append(("What counts as signal", _no_threshold(pair)))
        return
    above = [
        pictures.masks_above(plane, pair.first[f"threshold_{k}"].to_dict(), labels)
        for plane, k in ((plane_a, "a"), (plane_b, "b"))
    ]
    figure = pictures.thresholds_figure(plane_a, plane_b, *above, **drawing)
    section.plates["thresholds"] = Plate(
        to_picture(figure, f"Pixels of {a} and {b} above threshold", dpi=PIXELS_DPI),
        "What counts as signal.",
        f"{which}{_threshold_words(pair)} Outlined: pixels above the threshold. Right: above "
        f"{a}'s only (green), {b}'s only (magenta), both (white).",
    )


class _JointHistogram:
    """How often each pair of intensities occurs, filled slice by slice."""

    def __init__(self, pair: _Pair) -> None:
        self._pair = pair
        tops = [max(pair.image.highest(name) - pair.background(name), 1e-12) for name in pair.names]
        whole = pair.image.is_integer
        self._edges = [
            np.arange(top + 2) - 0.5 if whole and top < _BINS else np.linspace(0, top, _BINS + 1)
            for top in tops
        ]
        self.ranges = tops
        self._counts = np.zeros([e.size - 1 for e in self._edges], np.int64)

    def add(self, a: NDArray[Any], b: NDArray[Any], labels: NDArray[Any] | None) -> None:
        """Count the pixels of one slice, those inside regions where there are any."""
        if labels is not None:
            a, b = a[labels != 0], b[labels != 0]
        at = [_bin(values, edges) for values, edges in zip((a, b), self._edges, strict=True)]
        shape = self._counts.shape
        flat = np.bincount(at[0] * shape[1] + at[1], minlength=shape[0] * shape[1])
        self._counts += flat.reshape(shape)

    def plate(self) -> Plate:
        """The figure."""
        pair = self._pair
        curves = pair.rows("curves")
        lines = (
            curves.loc[curves["frame"] == pair.frame, ["region", "slope", "intercept"]]
            .dropna()
            .drop_duplicates("region")
            if {"slope", "intercept"} <= set(curves.columns)
            else curves.head(0)
        )
        figure = plots.cytofluorogram(
            self._counts,
            *self._edges,
            names=pair.names,
            lines=[(float(r["slope"]), float(r["intercept"])) for r in _records(lines)],
            thresholds=list(zip(pair.first["threshold_a"], pair.first["threshold_b"], strict=True)),
        )
        n = len(pair.first)
        where = "of the whole image" if n == 1 and pair.example == 0 else f"in {n} region{_s(n)}"
        return Plate(
            to_picture(figure, f"Joint histogram of {pair.names[0]} and {pair.names[1]}"),
            "Cytofluorogram.",
            f"All pixels {where}, counted on a logarithmic scale"
            + (", after background subtraction." if any(map(pair.background, pair.names)) else "."),
        )


def _bin(values: NDArray[Any], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    step = edges[1] - edges[0]
    at = np.floor((np.nan_to_num(values.ravel().astype(np.float64)) - edges[0]) / step)
    return np.asarray(np.clip(at, 0, edges.size - 2), np.int64)


def _draw_curves(pair: _Pair, section: PairSection) -> None:
    rows = pair.of_example("curves")
    if rows.empty:
        return
    if rows["m1"].isna().all():
        section.missing.append(("Threshold curves", _reason(rows)))
        return
    rows = rows.sort_values("threshold_a")
    method = threshold_name(pair.run.parameter("pixel.threshold"))
    figure = plots.threshold_curves(
        rows["threshold_a"], rows["m1"], rows["m2"], rows["r_below"], names=pair.names,
        chosen=float(pair.first.loc[pair.example, "threshold_a"]), method=method,
    )  # fmt: skip
    section.plates["curves"] = Plate(
        to_picture(figure, "Manders' coefficients and correlation against threshold"),
        "How much the threshold matters.",
        f"{pair.where}Both thresholds move together along the regression line. Left: M1 and M2 at "
        "every threshold. Right: correlation of the pixels below it." + _costes_words(pair, rows),
    )


def _costes_words(pair: _Pair, rows: pd.DataFrame) -> str:
    """Whether the correlation below Costes' threshold vanishes, as the method has it."""
    chosen = float(pair.first.loc[pair.example, "threshold_a"])
    if pair.run.parameter("pixel.threshold") not in ("costes", "bisection"):
        return ""
    known = rows.dropna(subset=["r_below"])
    if known.empty or not math.isfinite(chosen):
        return ""
    levels, r = known["threshold_a"].to_numpy(), known["r_below"].to_numpy()
    at = float(np.interp(chosen, levels, r))
    near = r[np.clip(np.searchsorted(levels, chosen) + np.array([-1, 0, 1]), 0, r.size - 1)]
    if abs(at) <= _NEAR_ZERO or (near.min() <= 0.0 <= near.max()):
        return " Costes' threshold is where it vanishes."
    never = "never vanishes" if r.min() > 0 else "does not vanish there"
    return (
        f" Here it {never}: at the threshold it is {fixed(at)}, so that Costes' threshold is not "
        "meaningful here."
    )


def _draw_null(pair: _Pair, section: PairSection, primary: str) -> None:
    tests, draws = pair.of_example("significance"), pair.of_example("null")
    if len(tests):
        tests = tests[tests["metric"] == primary]
    if tests.empty:
        return
    test = tests.iloc[0]
    if "metric" in draws:
        draws = draws[draws["metric"] == primary]
    if draws.empty or not math.isfinite(float(test["p_value"])):
        section.missing.append(("Null distribution", _reason(tests)))
        return
    metric = METRIC_NAMES.get(primary, primary)
    tested = float(test.get("tested", test["observed"]))
    fine = test.get("null") == "profile"
    shown = f"{metric} of the fine structure" if fine else metric
    figure = plots.null_distribution(
        draws["value"],
        observed=tested,
        expected=float(draws["value"].mean()),
        p=float(test["p_value"]),
        floor=floor_of(test),
        metric=shown,
    )
    section.plates["null"] = Plate(
        to_picture(figure, f"Null distribution of {shown}"),
        "What chance would give.",
        f"{pair.where}{shown} under {_draws(test, len(draws))} of the null hypothesis, and as "
        "observed." + (_two_scales(test, metric, draws) if fine else ""),
    )


def _draws(test: pd.Series[Any], n: int) -> str:
    """How many draws there are, and what they are worth."""
    kind = "surrogate" if test.get("null") == "phase" else "shift"
    text = f"{number(n)} {kind}{_s(n)}"
    worth = float(test.get("n_independent", math.nan))
    if math.isfinite(worth) and worth < n:
        text += f", worth about {worth:.1f} independent ones,"
    return text


def _two_scales(test: pd.Series[Any], metric: str, draws: pd.DataFrame) -> str:
    """The coefficient as measured and that of the fine structure, which is tested."""
    return (
        " What both channels owe to their large-scale profiles is taken out: "
        f"{metric} as measured is {fixed(test['observed'])} ({fixed(test['expected'])} expected "
        "from the profiles); what is tested is that of the fine structure, "
        f"{fixed(test['tested'])} ({fixed(draws['value'].mean())} expected)."
    )


def _draw_ccf(pair: _Pair, section: PairSection) -> None:
    rows, fits = pair.of_example("ccf"), pair.of_example("ccf_fit")
    rows = rows[rows["r"].notna()] if len(rows) else rows
    if rows.empty:
        return
    calibrated = bool(rows["shift_um"].notna().all())
    unit, suffix = ("µm", "um") if calibrated else ("px", "px")
    curves = [
        (str(axis), part[f"shift_{suffix}"], part["r"])
        for axis, part in rows.groupby("axis", sort=True)
    ]
    keys = ("offset", "amplitude", f"centre_{suffix}", f"fwhm_{suffix}")
    found = _records(fits)
    fitted = {
        str(f["axis"]): (float(f[keys[0]]), float(f[keys[1]]), float(f[keys[2]]), float(f[keys[3]]))
        for f in found
        if _fit_succeeded(f) and all(math.isfinite(f[key]) for key in keys)
    }
    failed = [f"{f['axis']}: {f['reason']}" for f in found if str(f["axis"]) not in fitted]
    figure = plots.cross_correlation(curves, fits=fitted, unit=unit)
    section.plates["ccf"] = Plate(
        to_picture(figure, "Cross-correlation function"),
        "Cross-correlation (van Steensel).",
        f"{pair.where}A peak at shift 0 is colocalization, a trough exclusion; its width is the "
        "size of the structures. "
        + _far_peaks(rows, found)
        + (f" No Gaussian fits along {'; '.join(failed)}." if failed else ""),
    )


def _fit_succeeded(fit: dict[str, Any]) -> bool:
    """Whether a fit may be shown; without a flag, one that gives a reason has failed."""
    if "success" in fit:
        return bool(fit["success"])
    return not (isinstance(fit.get("reason"), str) and fit["reason"])


def _measured_peak(part: pd.DataFrame) -> float:
    """Shift of the highest point in px; 0 where the curve is as high on the other side."""
    shifts, r = part["shift_px"].to_numpy(np.float64), part["r"].to_numpy(np.float64)
    peak = float(shifts[r.argmax()])
    opposite = float(r[np.abs(shifts + peak).argmin()])
    return peak if r.max() - opposite > _CLEARLY * (r.max() - r.min()) else 0.0


def _far_peaks(rows: pd.DataFrame, fits: list[dict[str, Any]]) -> str:
    """What the place of the peak says about chromatic shift."""
    centres = {
        str(f["axis"]): float(f["centre_px"])
        for f in fits
        if _fit_succeeded(f) and f["amplitude"] > 0 and math.isfinite(f["centre_px"])
    }
    far = []
    for axis, part in rows.groupby("axis", sort=True):
        centre = centres.get(str(axis), _measured_peak(part))
        if abs(centre) > _FAR_PX:
            far.append(f"{number(centre)} px along {axis}")
    if not far:
        return "A diagnostic: chromatic shift is measured from beads, not here."
    return (
        f"The peak is away from 0 ({', '.join(far)}): possibly a chromatic shift, to be "
        "measured from beads."
    )


def _draw_regions(pair: _Pair, section: PairSection, primary: str, alpha: float) -> None:
    tests = pair.tests
    if len(tests):
        tests = tests[(tests["metric"] == primary) & (tests["frame"] == pair.frame)]
    if len(tests) < 2:
        return
    metric = METRIC_NAMES.get(primary, primary)
    figure = plots.values_by_region(
        [str(v) for v in tests["region_name"]],
        tests["observed"],
        tests["expected"],
        [significant(row, alpha) for _, row in tests.iterrows()],
        metric=metric,
    )
    section.plates["regions"] = Plate(
        to_picture(figure, f"{metric} of every region"),
        "Region by region.",
        f"{metric} of each region, and what is expected there without alignment.",
    )


def _draw_objects(pair: _Pair, section: PairSection) -> None:
    a, b = pair.names
    rows = pair.rows("object_distances")
    if len(rows):
        rows = rows[(rows["frame"] == pair.frame)]
    if len(rows):
        _draw_fractions(pair, section, rows)
    objects = pair.rows("objects")
    if len(objects):
        objects = objects[objects["frame"] == pair.frame]
    if objects.empty:
        return
    unit = "µm" if objects["nn_distance_um"].notna().any() else "px"
    column = "nn_distance_um" if unit == "µm" else "nn_distance_px"
    groups = [(n, objects.loc[objects["channel"] == n, column].dropna()) for n in (a, b)]
    enough = [(n, values) for n, values in groups if len(values) >= 2]
    if not enough:
        counts = " and ".join(f"{len(values)} of {n}" for n, values in groups)
        section.missing.append(
            ("Nearest neighbours", f"fewer than 2 objects have a distance ({counts})")
        )
        return
    absent = [n for n, values in groups if len(values) < 2]
    figure = plots.nearest_distances(enough, unit=unit)
    section.plates["nearest"] = Plate(
        to_picture(figure, "Nearest-neighbour distances of objects"),
        "Nearest neighbours.",
        "Distance between the centroids of each object and the nearest one of the other channel."
        + (f" {absent[0]} has fewer than 2 such objects." if absent else ""),
    )


def _draw_fractions(pair: _Pair, section: PairSection, rows: pd.DataFrame) -> None:
    example = rows["region"].iloc[0] if pair.example not in set(rows["region"]) else pair.example
    rows = rows[rows["region"] == example]
    if rows["observed"].isna().all():
        section.missing.append(("Fraction within a distance", _reason(rows)))
        return
    groups = [
        (str(name), [part[k] for k in ("distance_um", "observed", "expected", "low", "high")])
        for name, part in rows.groupby("channel", sort=False)
    ]
    cutoff = pair.run.parameter("objects.match_distance_um")
    figure = plots.fraction_within(groups, cutoff=None if cutoff is None else float(cutoff))
    section.plates["within"] = Plate(
        to_picture(figure, "Fraction of objects within a distance of the other channel"),
        "How near is near?",
        f"{pair.where}Share of objects that have one of the other channel within d, and what "
        f"chance would give. {_object_tests(rows)}",
    )


def _object_tests(rows: pd.DataFrame) -> str:
    """The test of each whole curve, and the null in words."""
    first = _records(rows.drop_duplicates("channel"))
    tests = [
        f"{row['channel']} p {p_value(row['p_curve'])}"
        for row in first
        if math.isfinite(row["p_curve"])
    ]
    if not tests:
        return ""
    return f"Over all distances: {', '.join(tests)}. Null hypothesis: {first[0]['hypothesis']}"


def _threshold_words(pair: _Pair) -> str:
    method = threshold_name(pair.run.parameter("pixel.threshold"))
    a, b = pair.names
    if len(pair.first) > 1:
        return f"Thresholds ({method}) were found within each region by itself."
    ta, tb = (float(pair.first[f"threshold_{k}"].iloc[0]) for k in "ab")
    if not (math.isfinite(ta) and math.isfinite(tb)):
        return f"{_no_threshold(pair)}."
    return f"Thresholds ({method}): {a} {number(ta)}, {b} {number(tb)} grey levels."


def _no_threshold(pair: _Pair) -> str:
    method = threshold_name(pair.run.parameter("pixel.threshold"))
    return f"there is no threshold ({method}): {_reason(pair.first)}"


def _which_slice(pair: _Pair, z: int) -> str:
    sizes = pair.image.sizes
    parts = []
    if sizes.get("t", 1) > 1:
        parts.append(f"frame {pair.frame + 1} of {sizes['t']}")
    if sizes.get("z", 1) > 1:
        parts.append(f"slice {z + 1} of {sizes['z']} (the brightest; not a projection)")
    text = ", ".join(parts)
    return f"{text[:1].upper()}{text[1:]}. " if parts else ""


def _less(plane: NDArray[Any], background: float) -> NDArray[Any]:
    return np.maximum(plane.astype(np.float64) - background, 0.0) if background else plane


def _reason(rows: pd.DataFrame) -> str:
    found = [r for r in rows.get("reason", ()) if isinstance(r, str) and r]
    return found[0] if found else "undefined here"


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _s(n: int) -> str:
    return "" if n == 1 else "s"
