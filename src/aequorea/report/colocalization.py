"""The page of a colocalization run, made from nothing but the run directory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aequorea.report.data_table import DataTable, data_table
from aequorea.report.methods import MethodsText, methods_of
from aequorea.report.page import render_page, write_atomically
from aequorea.report.pair_section import PairSection, pair_section
from aequorea.report.run_contents import RunContents, StoredImage, open_contents

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

__all__ = ["write_report"]

# Base64 adds a third; pages that go by mail should stay below 5 MB.
_FIGURE_BYTES = 3_300_000
_SHOWN_TABLES = {
    "significance": (
        "Tests",
        ("frame", "region_name", "channel_a", "channel_b", "metric", "observed", "expected",
         "ci_low", "ci_high", "p_value", "p_fdr", "n_effective", "n_independent"),
    ),
    "pixel": (
        "Pixel measures",
        ("frame", "region_name", "slice", "channel_a", "channel_b", "n_pixels", "pcc", "srcc",
         "icq", "m1", "m2", "threshold_a", "threshold_b", "m1_plain", "m2_plain", "pcc_above",
         "pcc_below"),
    ),
    "object_summary": (
        "Objects",
        ("frame", "region_name", "channel_a", "channel_b", "n_objects_a", "n_objects_b",
         "frac_overlap_a", "frac_overlap_b", "frac_coincident_a", "frac_coincident_b",
         "n_matched", "frac_matched_a", "frac_matched_b", "median_nn_distance_um_a",
         "median_nn_distance_um_b", "median_nn_distance_px_a", "median_nn_distance_px_b"),
    ),
    "ccf_fit": (
        "Cross-correlation, Gaussian fits",
        ("frame", "region_name", "channel_a", "channel_b", "axis", "amplitude", "offset",
         "centre_px", "fwhm_px", "centre_um", "fwhm_um"),
    ),
    "scramble": (
        "Block scramble",
        ("frame", "region_name", "channel_a", "channel_b", "observed", "p_value", "z_score",
         "n_draws", "n_blocks", "block_px"),
    ),
    "background": ("Background", ("channel", "method", "value", "clipped_fraction")),
}  # fmt: skip
_LIGHTS = {"refusal": ("bad", "✕"), "warning": ("note", "!"), "note": ("note", "i")}
_CHECKS = {
    "finite": "missing values",
    "signal": "empty channels",
    "identical": "identical channels",
    "negatives": "negative pixels",
    "offset": "offset or background",
    "jpeg": "JPEG compression",
    "interpolation": "interpolation or filtering",
    "projection": "maximum projection",
    "zero-zero": "pixels dark in both",
    "empty-area": "empty background",
    "intercept": "intercept of the regression line",
    "threshold": "thresholds",
}
_RANK = {"refusal": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class _Check:
    """One line of the list of checks."""

    light: str
    sign: str
    text: str


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` of a colocalization run.

    Parameters
    ----------
    run_dir : Path
        With ``run.json``, ``tables`` and ``images.zarr``.

    Returns
    -------
    Path
        One file, below 5 MB, that opens offline and loads nothing. It appears whole or not at
        all.

    Raises
    ------
    RunError
        If the directory does not hold a run.
    OutputError
        If the page cannot be written.
    """
    return write_atomically(run_dir / "report.html", report_html(run_dir))


def report_html(run_dir: Path) -> str:
    """The page of :func:`write_report`, as text."""
    run = open_contents(run_dir)
    image = StoredImage(run_dir)
    sections, left_out = _sections(run, image)
    record = run.record
    return render_page(
        "colocalization.html.j2",
        title=_title(record),
        facts=_facts(run, image),
        checks=list(_checks(run)),
        sections=sections,
        left_out=left_out,
        tables=list(_tables(run)),
        files=[(f"tables/{name}.csv", len(table)) for name, table in sorted(run.tables.items())],
        methods=_methods(run, image, sections),
        parameters=_parameters(record),
        record=record,
        steps=[(n, s) for n, s in record.get("steps", {}).items() if n != "report"],
    )


def _sections(
    run: RunContents, image: StoredImage
) -> tuple[list[PairSection], list[tuple[str, str]]]:
    """The sections of all pairs; figures of later pairs are left out when the page gets large."""
    pairs = run.table("pixel")[["channel_a", "channel_b"]].drop_duplicates()
    sections: list[PairSection] = []
    left_out: list[tuple[str, str]] = []
    size = 0
    for a, b in pairs.itertuples(index=False):
        section = pair_section(run, image, (str(a), str(b)))
        if sections and size + section.n_bytes > _FIGURE_BYTES:
            section.plates.clear()
            left_out.append(section.names)
        size += section.n_bytes
        sections.append(section)
    return sections, left_out


def _title(record: Any) -> str:
    names = [
        Path(facts["path"]).name
        for role, facts in record["inputs"].items()
        if role.startswith("image")
    ]
    return " and ".join(names) or "Colocalization"


def _facts(run: RunContents, image: StoredImage) -> list[tuple[str, str]]:
    record = run.record
    regions = run.table("pixel")["region"].nunique()
    whole = run.parameter("regions") is None
    started = str(record.get("timings", {}).get("started", "")).replace("T", " ")
    return [
        ("Channels", ", ".join(image.channels)),
        ("Size", " × ".join(f"{a} {n}" for a, n in image.sizes.items() if a != "c")),
        ("Pixel spacing", _calibration(image)),
        (
            "Measured in",
            "the whole image" if whole else f"{regions} region{'' if regions == 1 else 's'}",
        ),
        ("Analysed", f"{started.removesuffix('+00:00')} UTC with aequorea {_version(record)}"),
    ]


def _calibration(image: StoredImage) -> str:
    known = [f"{a} {s:.4g} µm" for a, s in image.spacing_um.items() if s is not None]
    unknown = [a for a, s in image.spacing_um.items() if s is None]
    if not known:
        return "not given by the file; lengths are in pixels"
    return ", ".join(known) + (f"; not given along {', '.join(unknown)}" if unknown else "")


def _version(record: Any) -> str:
    return str(record.get("versions", {}).get("aequorea", "of unknown version"))


def _checks(run: RunContents) -> Iterator[_Check]:
    """Findings about the input, the worst first, then one line of what was fine."""
    table = run.table("checks")
    channels = sorted({str(c) for k in ("channel_a", "channel_b") for c in table.get(k, ())})
    found: dict[str, str] = {}
    told: list[str] = []
    passed: list[str] = []
    for row in _records(table):
        if row["severity"] == "ok":
            passed.append(str(row["check"]))
            continue
        told.append(str(row["message"]))
        found.setdefault(_with_pair(row, several=len(channels) > 2), str(row["severity"]))
    for message in run.record.get("warnings", []):
        if not any(message.startswith(known) for known in told):
            found.setdefault(message, "warning")
    for message, severity in sorted(found.items(), key=lambda item: _RANK[item[1]]):
        yield _Check(*_LIGHTS[severity], _sentence(message, channels))
    troubled = {str(r["check"]) for r in _records(table) if r["severity"] != "ok"}
    fine = [_CHECKS.get(n, n) for n in dict.fromkeys(passed) if n not in troubled]
    if fine:
        yield _Check("ok", "✓", f"No trouble found with: {', '.join(fine)}.")


def _with_pair(row: dict[str, Any], *, several: bool) -> str:
    """The message of a check; with several pairs, what concerns one of them names it."""
    message, a, b = (str(row[k]) for k in ("message", "channel_a", "channel_b"))
    of_image = row["check"] in {"projection", "deconvolution"}
    one_channel = isinstance(row["channel"], str) and row["channel"] and row["check"] != "threshold"
    if not several or of_image or one_channel or (a in message and b in message):
        return message
    return f"{a} and {b}: {message}"


def _sentence(text: str, channels: Sequence[str]) -> str:
    """A message as a sentence: names stay as they are written, signs as they are printed."""
    text = re.sub(r"(?<![\w.-])-(?=\d)", "−", text)
    text = re.sub(r"(?<=\d)%", " %", text)
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    is_name = not first.rstrip(":,;").isalpha() or text.startswith(tuple(channels))
    return text if is_name else text[:1].upper() + text[1:]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _tables(run: RunContents) -> Iterator[tuple[str, DataTable]]:
    for name, (title, columns) in _SHOWN_TABLES.items():
        table = run.table(name)
        if name == "significance" and len(table):
            table = _untested_without_n(table)
        trivial = name == "background" and set(table.get("method", ())) == {"none"}
        if len(table) and not trivial:
            yield title, data_table(table, columns, file=f"tables/{name}.csv")


def _untested_without_n(tests: pd.DataFrame) -> pd.DataFrame:
    """Counts of observations only where a test used them."""
    counts = [c for c in ("n_effective", "n_independent") if c in tests]
    shown = tests.copy()
    shown[counts] = shown[counts].astype("float64").where(shown["p_value"].notna(), axis=0)
    return shown


def _methods(run: RunContents, image: StoredImage, sections: Sequence[PairSection]) -> MethodsText:
    background, tests = run.table("background"), run.table("significance")
    return methods_of(
        run.record["parameters"],
        version=_version(run.record),
        calibration=_calibration(image),
        backgrounds=[(str(r["channel"]), float(r["value"])) for r in _records(background)],
        nulls=_hypotheses(tests),
        object_nulls=_hypotheses(run.table("object_distances")),
        objects=len(run.table("objects")) > 0,
        distances=len(run.table("object_distances")) > 0,
        scrambled=len(run.table("scramble")) > 0,
        has_ica=bool(sections),
    )


def _hypotheses(table: pd.DataFrame) -> list[str]:
    return [h for h in dict.fromkeys(table.get("hypothesis", ())) if isinstance(h, str) and h]


def _parameters(record: Any) -> list[tuple[str, str, str]]:
    sources = record.get("parameter_sources", {})
    return [
        (key, "not given" if value is None else _shown(value), str(sources.get(key, "")))
        for key, value in record["parameters"].items()
    ]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
