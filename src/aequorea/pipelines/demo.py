"""Every workflow, run on real images that ship with the package and on simulated ones."""

from __future__ import annotations

import io
import itertools
import os
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import numpy as np

import aequorea
from aequorea.errors import OutputError, RunError
from aequorea.model import Image
from aequorea.pipelines.cells.workflow import count
from aequorea.pipelines.colocalization import colocalize
from aequorea.pipelines.colocalization.parameters import ColocalizationParameters
from aequorea.pipelines.demo_movies import (
    STORAGE_COLUMNS,
    movie_truth,
    simulated_movie,
    storage_rows,
)
from aequorea.pipelines.movies import register
from aequorea.pipelines.run.progress import Quiet
from aequorea.report.index import Comparison, IndexEntry, write_index

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aequorea.pipelines.run.progress import Progress
    from aequorea.pipelines.run.steps import RunResult

_MARKER = ".aequorea-demo"
_THUMBNAIL_PX = 360
_SHARED = 0.6
_CORRELATION = 0.3
_SPACING_UM = 0.1
_SEED = 2
_ALPHA = 0.05
# The simulated study: how strongly puncta crowd around the nucleus, and how animals differ.
_ATTRACTION = {"sham": 0.5, "TAC": 3.0}
_ANIMAL_SD = 0.3
_ANIMALS, _IMAGES, _PER_CELL = 4, 2, 60
_RANK = "mean share of the cytosol nearer to the nucleus"
_STUDY = """sheet = "samples.csv"
[channels]
nuclei = "nuclei"
cells = "cells"
puncta = "mRNA"
[params]
z_scale_factor = 1.0
[params.nulls]
n_simulations = 99
[compare]
reference = "sham"
"""


@dataclass(frozen=True, kw_only=True)
class _Example:
    """One run of the demo."""

    name: str
    title: str
    text: str
    inputs: Callable[[Path], tuple[Sequence[Path], Mapping[str, Path]]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    compare: Callable[[RunResult], Sequence[Comparison]] = lambda _: ()
    workflow: str = "coloc"


def run_demo(
    out: Path,
    *,
    only: str | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> Path:
    """Run the examples and write a page that leads to their reports.

    Parameters
    ----------
    out : Path
        A new or empty directory, or that of an earlier demo.
    only : {"coloc", "cells", "confocal", "register"}, optional
        One workflow; all if not given.
    progress : Progress, optional
    tell : callable, optional
        Takes a line for each number whose truth is known: what was found beside it.

    Returns
    -------
    Path
        ``index.html`` in ``out``.

    Raises
    ------
    OutputError
        If ``out`` holds something else or cannot be written.
    """
    _claim(out)
    entries = []
    for example in _EXAMPLES:
        if only not in {None, example.workflow}:
            continue
        paths, parts = example.inputs(out / "inputs")
        told = _Named(progress or Quiet(), example.name)
        place = out / example.name
        rows: Sequence[Sequence[str]] = ()
        if example.workflow == "confocal":
            from aequorea.pipelines.confocal.study import analyse_study

            study = analyse_study(
                parts["study"], out=place, workers=min(2, os.cpu_count() or 1), progress=told
            )
            if study.failed:
                name, why = next(iter(study.failed.items()))
                raise RunError(f"{place}: sample {name} of the demo failed: {why}")
            result = study.summary
        elif example.workflow == "cells":
            settings = dict(example.settings)
            markers = sum(name.startswith("marker") for name in settings)
            result = count(paths, parameters=settings, markers=markers, out=place, progress=told)
        elif example.workflow == "register":
            result = register(paths[0], out=place, progress=told)
            rows = storage_rows(paths[0], out / "inputs")
        else:
            result = colocalize(
                paths, parameters=_settings(example, parts), out=place, progress=told
            )
        entries.append(
            IndexEntry(
                title=example.title,
                text=example.text,
                report=result.report,
                thumbnail_png=_thumbnail(paths),
                comparisons=tuple(example.compare(result)),
                columns=STORAGE_COLUMNS if rows else (),
                rows=rows,
            )
        )
    for entry in entries:
        for comparison in entry.comparisons:
            tell(f"{entry.title}: {comparison.verdict}")
    return write_index(out, entries)


def _claim(out: Path) -> None:
    try:
        if out.exists() and any(out.iterdir()) and not (out / _MARKER).exists():
            raise OutputError(
                f"{out}: exists and is not an aequorea demo, so nothing is written to it; "
                "give another --out"
            )
        (out / "inputs").mkdir(parents=True, exist_ok=True)
        (out / _MARKER).touch()
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{out}: cannot be written ({error.strerror})") from None


def _settings(example: _Example, parts: Mapping[str, Path]) -> ColocalizationParameters:
    return ColocalizationParameters.model_validate({**example.settings, **parts})


class _Named:
    """Progress whose steps say which example they belong to."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._name = name

    def begin(self, step: str) -> None:
        self._progress.begin(f"{self._name}: {step}")

    def advance(self, done: int, total: int) -> None:
        self._progress.advance(done, total)

    def end(self, outcome: str) -> None:
        self._progress.end(outcome)


def _shipped(folder: str, *names: str) -> Callable[[Path], tuple[Sequence[Path], dict[str, Path]]]:
    """Copies of images of the package, beside the results that were made from them."""

    def place(inputs: Path) -> tuple[Sequence[Path], dict[str, Path]]:
        copies = []
        for name in (*names, "NOTICE.md"):
            copy = inputs / folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists():
                with as_file(files("aequorea") / "data" / folder / name) as source:
                    _copy(source, copy)
            copies.append(copy)
        return copies[:-1], {}

    return place


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}")
    temporary.write_bytes(source.read_bytes())
    temporary.replace(target)


def _simulated_cells(
    name: str, shared_fraction: float
) -> Callable[[Path], tuple[Sequence[Path], dict[str, Path]]]:
    def simulate(inputs: Path) -> tuple[Sequence[Path], dict[str, Path]]:
        from aequorea.simulate.colocalization import cell_pair

        pair = cell_pair(
            (512, 512),
            n_cells=4,
            n_puncta=40,
            shared_fraction=shared_fraction,
            distribution="perinuclear",
            rng=_SEED,
        )
        channels = np.stack([pair.a, pair.b])
        image = _write(inputs / f"{name}.ome.tif", channels, ("stain A", "stain B"))
        regions = _write(inputs / f"{name}-cells.ome.tif", pair.cells[None].astype(np.uint16))
        nuclei = _write(inputs / f"{name}-nuclei.ome.tif", pair.nuclei[None].astype(np.uint16))
        return [image], {"regions": regions, "landmarks": nuclei}

    return simulate


def _simulated_fields(inputs: Path) -> tuple[Sequence[Path], dict[str, Path]]:
    from aequorea.simulate.colocalization import correlated_fields

    fields = correlated_fields((512, 512), sigma_px=2, shared_fraction=_CORRELATION, rng=_SEED)
    grey = np.clip(np.rint(1000 + 200 * np.stack(fields)), 0, 65535).astype(np.uint16)
    return [_write(inputs / "fields.ome.tif", grey, ("field A", "field B"))], {}


def _write(path: Path, channels: NDArray[Any], names: tuple[str, ...] = ()) -> Path:
    if not path.exists():
        data = channels if len(channels) > 1 else channels[0]
        axes = "cyx" if len(channels) > 1 else "yx"
        spacing = {"y": _SPACING_UM, "x": _SPACING_UM}
        aequorea.save(Image(data=data, axes=axes, channels=names, spacing_um=spacing), path)
    return path


def _simulated_nuclei(inputs: Path) -> tuple[Sequence[Path], dict[str, Path]]:
    nuclei, first, second = _nuclei_with_markers()
    channels = np.stack([nuclei.image, first.image, second.image])
    return [_write(inputs / "nuclei.ome.tif", channels, ("DAPI", "GFP", "RFP"))], {}


def _nuclei_with_markers() -> tuple[Any, Any, Any]:
    """Nuclei; 40 % are positive for one marker, half for another, independently."""
    from aequorea.simulate.nuclei import simulated_markers, simulated_nuclei

    nuclei = simulated_nuclei((512, 512), n=150, diameter_px=24, rng=_SEED)
    first = simulated_markers(nuclei, positive_fraction=0.4, rng=_SEED + 1)
    second = simulated_markers(nuclei, positive_fraction=0.5, rng=_SEED + 2)
    return nuclei, first, second


def _nuclei_truth(result: RunResult) -> list[Comparison]:
    nuclei, first, second = _nuclei_with_markers()
    overview = result.table("roi_coloc_overview")
    both = int((first.positive & second.positive).sum())
    return [
        Comparison(quantity=quantity, truth=float(truth), measured=float(overview[column].sum()))
        for quantity, truth, column in (
            ("cells", nuclei.labels.max(), "n_cells"),
            ("positive for GFP", first.positive.sum(), "n_marker_positive_cells"),
            ("positive for RFP", second.positive.sum(), "n_marker2_positive_cells"),
            ("positive for both", both, "n_marker_and_marker2_positive_cells"),
        )
    ]


def _simulated_study(inputs: Path) -> tuple[Sequence[Path], dict[str, Path]]:
    """Sixteen stacks of two conditions, four animals each; animals differ, and so do conditions."""
    from aequorea.simulate import PunctaLaw, simulated_confocal

    folder = inputs / "confocal-study"
    folder.mkdir(parents=True, exist_ok=True)
    rows, paths = ["file,sample,animal,condition"], []
    for number, (condition, animal, image) in enumerate(
        itertools.product(_ATTRACTION, range(_ANIMALS), range(_IMAGES))
    ):
        own = np.random.default_rng([_SEED, number // _IMAGES]).normal(scale=_ANIMAL_SD)
        name = f"{condition}-{animal + 1}-{image + 1}"
        path = folder / f"{name}.ome.tif"
        if not path.exists():
            law = PunctaLaw(per_cell=_PER_CELL, attraction=_ATTRACTION[condition] + own)
            stack = simulated_confocal(
                (16, 120, 120),
                n_cells=1,
                cell_diameter_um=6.0,
                nucleus_diameter_um=3.0,
                puncta={"mRNA": law},
                rng=np.random.default_rng([_SEED, 1000 + number]),
            )
            axes = dict(zip("zyx", stack.spacing_um, strict=True))
            names = tuple(stack.images)
            image_ = Image(data=stack.stack(), axes="czyx", channels=names, spacing_um=axes)
            aequorea.save(image_, path)
        rows.append(f"{path.name},{name},{condition}-{animal + 1},{condition}")
        paths.append(path)
    (folder / "samples.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "study.toml").write_text(_STUDY, encoding="utf-8")
    return paths[:1], {"study": folder / "study.toml"}


def _study_truth(result: RunResult) -> list[Comparison]:
    table = result.table("comparison_conditions")
    rank = table[table["column"] == "puncta_mean_volume_rank"].set_index("condition")["mean"]
    number = table[table["column"] == "puncta_n"].set_index("condition")["mean"]
    compared = result.table("comparison").set_index("column")
    tested = compared.loc["puncta_mean_volume_rank", ["difference", "ci_low", "ci_high"]]
    difference, low, high = np.asarray(tested, dtype=np.float64)
    effect = Comparison(
        quantity=f"TAC minus sham of {_RANK}",
        truth=round(_mean_rank(_ATTRACTION["TAC"]) - _mean_rank(_ATTRACTION["sham"]), 3),
        measured=float(difference),
        low=float(low),
        high=float(high),
    )
    counts = [
        Comparison(
            quantity=f"{name}: puncta per cell (some lie too near to others, or beyond outlines)",
            truth=float(_PER_CELL),
            measured=float(number[name]),
        )
        for name in _ATTRACTION
    ]
    ranks = [
        Comparison(
            quantity=f"{name}: {_RANK}",
            # the mean of u with density exp(-a u) on 0 to 1, averaged over the spread of animals
            truth=round(_mean_rank(a), 3),
            measured=float(rank[name]),
        )
        for name, a in _ATTRACTION.items()
    ]
    return [effect, *ranks, *counts]


def _mean_rank(attraction: float) -> float:
    spread = attraction + _ANIMAL_SD * np.linspace(-2.5, 2.5, 101)
    weight = np.exp(-0.5 * np.linspace(-2.5, 2.5, 101) ** 2)
    small = np.where(np.abs(spread) < 1e-6, 1e-6, spread)
    return float(np.average(1 / small - 1 / np.expm1(small), weights=weight))


def _cells_truth(result: RunResult) -> list[Comparison]:
    summary = result.table("object_summary")
    return [
        Comparison(
            quantity="share of A's puncta that B repeats (matched objects)",
            truth=_SHARED,
            measured=float(summary["n_matched"].sum() / summary["n_objects_a"].sum()),
        ),
        Comparison(
            quantity="cells where the puncta align more than by chance",
            truth=len(summary),
            measured=_significant_cells(result),
        ),
    ]


def _independent_truth(result: RunResult) -> list[Comparison]:
    return [
        Comparison(
            quantity="cells where the puncta align more than by chance",
            truth=0,
            measured=_significant_cells(result),
        )
    ]


def _significant_cells(result: RunResult) -> int:
    tests = result.table("significance")
    return int((tests.loc[tests["primary"], "p_fdr"] <= _ALPHA).sum())


def _fields_truth(result: RunResult) -> list[Comparison]:
    measured = float(result.table("pixel").iloc[0]["pcc"])
    return [Comparison(quantity="Pearson's r", truth=_CORRELATION, measured=measured)]


def _thumbnail(paths: Sequence[Path]) -> bytes:
    """The first two channels in green and magenta, as PNG."""
    from PIL import Image as Picture

    from aequorea.report.pictures import overlay, stretch

    planes = []
    for path in paths:
        image = aequorea.open(path)
        if "t" in image.axes:  # a movie: the first frame beside the mean of all
            frames = np.asarray(image.data[:])
            planes += [frames[0], frames.mean(axis=0)]
            continue
        planes += [_flat(np.asarray(image.channel(k))) for k in range(len(image.channels))]
    step = max(1, -(-max(planes[0].shape) // _THUMBNAIL_PX))
    first, second = (stretch(plane[::step, ::step]) for plane in planes[:2])
    rgb = np.rint(255 * overlay(first, second)).astype(np.uint8)
    stream = io.BytesIO()
    Picture.fromarray(rgb).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _flat(pixels: NDArray[Any]) -> NDArray[Any]:
    """A plane, or the maximum projection of a stack."""
    return pixels if pixels.ndim == 2 else np.asarray(pixels.max(axis=0))


_EXAMPLES = (
    _Example(
        name="simulated-cells",
        title="Simulated cells: 60 % shared puncta",
        text="Four cells whose two stains crowd around the nucleus; stain B repeats 60 % of the "
        "puncta of stain A. The null keeps what both share by crowding alike, so that only the "
        "puncta themselves can be significant.",
        inputs=_simulated_cells("shared", _SHARED),
        settings={"significance": {"null": "profile"}, "background": {"background": "mode"}},
        compare=_cells_truth,
    ),
    _Example(
        name="independent-cells",
        title="Simulated cells: independent stains around the nucleus",
        text="The same cells, but the puncta of both stains are independent: they only crowd "
        "around the same nuclei. Their correlation is high, and chance explains it.",
        inputs=_simulated_cells("independent", 0.0),
        settings={"significance": {"null": "profile"}, "background": {"background": "mode"}},
        compare=_independent_truth,
    ),
    _Example(
        name="simulated-fields",
        title="Simulated fields: 30 % shared variance",
        text="Two smooth random fields that share 30 % of their variance: their correlation is "
        "known, and so is what chance would give.",
        inputs=_simulated_fields,
        settings={"objects": {"objects": False}},
        compare=_fields_truth,
    ),
    _Example(
        name="nucleosomes",
        title="Nucleosomes: a histone mark and its antibody",
        text="Single nucleosomes labelled with a Cy3-like dye, and an antibody against a histone "
        "modification labelled with a Cy5-like dye (CellProfiler examples, Jeff Reifenberger, "
        "BSD 3-Clause). The file gives no pixel size, so distances are in pixels.",
        inputs=_shipped("nucleosomes", "Cy3.png", "Cy5.png"),
        settings={"background": {"background": "mode"}},
    ),
    _Example(
        name="human-cells",
        title="Human cells: DNA and actin",
        text="HT29 cells stained for DNA and actin, over the whole image: what a test finds when "
        "no regions are given. Both stains lie in the same cells, and that counts; the page says "
        "so first (CellProfiler examples, Jason Moffat, CC0).",
        inputs=_shipped("human-cells", "DNA.tif", "actin.tif"),
        settings={"background": {"background": "mode"}},
    ),
    _Example(
        name="marker-positive-nuclei",
        workflow="cells",
        title="Cells: simulated nuclei and two markers",
        text="150 nuclei, some touching; 40 % are positive for GFP, half for RFP, independently of "
        "one another. Counted with the default watershed; the page compares each combination with "
        "chance.",
        inputs=_simulated_nuclei,
        settings={
            "cell": {"channel": "DAPI"},
            "marker": {"channel": "GFP"},
            "marker2": {"channel": "RFP"},
        },
        compare=_nuclei_truth,
    ),
    _Example(
        name="counted-human-cells",
        workflow="cells",
        title="Cells: real nuclei, counted",
        text="The DNA of HT29 cells, segmented and counted with an unbiased frame; no marker "
        "(CellProfiler examples, Jason Moffat, CC0). Judge the outlines by eye.",
        inputs=_shipped("human-cells", "DNA.tif", "actin.tif"),
        settings={"counting": {"counting": "frame"}},
    ),
    _Example(
        name="confocal-study",
        workflow="confocal",
        title="Confocal study: an mRNA that moves to the nucleus",
        text="Sixteen simulated stacks, two conditions of four animals. The puncta of an mRNA "
        "crowd more around the nucleus under TAC, and animals differ. One threshold for all "
        "images; conditions compared with the animal as the unit.",
        inputs=_simulated_study,
        compare=_study_truth,
    ),
    _Example(
        name="registered-movie",
        workflow="register",
        title="Movie: four photons per pixel, moving and bending",
        text="A simulated two-photon movie of cells that fire, whose frames jump and bend. Its "
        "motion is found, undone and shown before and after; stored as photons, raw counts take "
        "a fraction of their size. (Picture: one frame, green, and the mean of all, magenta.)",
        inputs=lambda inputs: ([simulated_movie(inputs)], {}),
        compare=movie_truth,
    ),
)
