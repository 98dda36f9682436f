"""What registering a movie does, step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aequorea.errors import InputError
from aequorea.io.ome_tiff import write_ome_tiff
from aequorea.io.ome_zarr_writer import write_ome_zarr
from aequorea.model import Image
from aequorea.motion import find_motion, find_reference, registered, stillness
from aequorea.motion.registration import largest_deviation
from aequorea.pipelines.kept_tables import table_outputs, write_tables
from aequorea.pipelines.movies.kept_motion import read_motion, write_motion
from aequorea.pipelines.movies.preview import write_preview
from aequorea.pipelines.run.steps import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from aequorea.model.lazy import LazyArray
    from aequorea.motion import Motion, Stillness
    from aequorea.motion.registration import Finder
    from aequorea.pipelines.movies.parameters import RegisterParameters
    from aequorea.pipelines.run.steps import StepContext

PREVIEW = "preview.webp"
MOTION, STORED = "motion.npz", {"zarr": "registered.zarr", "tiff": "registered.ome.tif"}
BEFORE, AFTER = "mean before", "mean after"


class RegisterSteps:
    """Steps of one movie.

    Parameters
    ----------
    movie : Image
        With all its channels.
    parameters : RegisterParameters
    workers : int
    """

    def __init__(self, movie: Image, parameters: RegisterParameters, workers: int) -> None:
        self.whole, self.parameters, self.workers = movie, parameters, workers
        self.movie = one_channel(movie, parameters.movie.channel)

    def steps(self) -> Iterator[Step]:
        """In the order in which they run."""
        p = self.parameters
        yield Step(
            name="motion",
            version=1,
            function=self.motion,
            inputs=("movie",),
            parameters={"movie": p.movie, "motion": p.motion},
            outputs=(
                MOTION,
                *table_outputs("frames", "planes", "components"),
                "images.zarr",
                PREVIEW,
            ),
        )
        if p.output.store != "none":
            yield Step(
                name="movie",
                version=1,
                function=self.store,
                inputs=("movie",),
                needs=("motion",),
                parameters={
                    "store": p.output.store,
                    "edges": p.motion.edges,
                    "interpolation": p.motion.interpolation,
                },
                outputs=(STORED[p.output.store],),
            )
        yield Step(
            name="report",
            version=1,
            function=write_page,
            needs=("motion",),
            parameters={"all": p},
            outputs=("report.html",),
        )

    def motion(self, context: StepContext) -> None:
        """Find the motion of every frame, and look at the movie before and after."""
        p, left_out = self.parameters, self.parameters.movie.left_out
        planes = list(_planes(self.movie))
        told = _in_parts(context.progress.advance, 2 * len(planes))
        motions, looks, finders = [], [], []
        for k, frames in enumerate(planes):
            finder = find_reference(frames, p.motion, left_out=left_out, workers=self.workers)
            motion = find_motion(
                frames, finder, p.motion, left_out=left_out, workers=self.workers, told=told(2 * k)
            )
            looks.append(stillness(frames, motion, finder, told=told(2 * k + 1)))
            motions.append(motion)
            finders.append(finder)
        write_motion(motions, context.target(MOTION))
        every_frame = pd.concat(
            [
                frame_table(m, s, self.movie, z)
                for z, (m, s) in enumerate(zip(motions, looks, strict=True))
            ],
            ignore_index=True,
        )
        rows = [
            plane_row(m, s, f, z)
            for z, (m, s, f) in enumerate(zip(motions, looks, finders, strict=True))
        ]
        components = [
            {"plane": z, "component": k + 1, "shift_px": float(shift)}
            for z, look in enumerate(looks)
            for k, shift in enumerate(look.principal_shift_px)
        ]
        write_tables(
            context,
            frames=every_frame,
            planes=pd.DataFrame(rows),
            components=pd.DataFrame(components, columns=["plane", "component", "shift_px"]),
        )
        write_preview(planes[0], motions[0], finders[0].still, context.target(PREVIEW))
        write_ome_zarr(_means(self.movie, looks), context.target("images.zarr"))

    def store(self, context: StepContext) -> None:
        """Store the movie, all channels, without its motion."""
        p = self.parameters
        motions = read_motion(context.result(MOTION))
        target = context.target(STORED[p.output.store])
        options = {"interpolation": p.motion.interpolation, "edges": p.motion.edges}
        channels = [
            registered(one_channel(self.whole, name), motions, whole_numbers=True, **options)
            for name in self.whole.channels
        ]
        movie = channels[0] if len(channels) == 1 else _stacked(channels, self.whole)
        if p.output.store == "zarr":
            write_ome_zarr(movie, target)
        else:
            write_ome_tiff(movie, target)


def write_page(context: StepContext) -> None:
    """Make the page out of what the run directory holds."""
    from aequorea.report.movies import write_report

    write_report(context.run_dir).replace(context.target("report.html"))


def one_channel(movie: Image, channel: str | None) -> Image:
    """One channel of a movie, by name or number.

    Raises
    ------
    InputError
        If there are several, and none is named.
    """
    if channel is not None:
        names = movie.channels
        return movie.channel(
            int(channel) if channel.isdigit() and channel not in names else channel
        )
    if movie.sizes.get("c", 1) > 1:
        raise InputError(
            f"{movie.source}: has {movie.sizes['c']} channels; choose the one whose motion is to "
            f"be found, of {', '.join(movie.channels)} (--channel)"
        )
    return movie.isel(c=0) if "c" in movie.axes else movie


def frame_table(motion: Motion, look: Stillness, movie: Image, z: int) -> pd.DataFrame:
    """One row per frame of one plane."""
    n = len(motion.reason)
    table = pd.DataFrame({"frame": np.arange(n)})
    if movie.times_s is not None:
        table["time_s"] = movie.times_s
    if "z" in movie.axes:
        table["plane"] = z
    deviation = np.zeros(n)
    if motion.field_yx_px is not None:
        deviation = largest_deviation(motion.shift_yx_px, motion.field_yx_px)
    for k, axis in enumerate("yx"):
        table[f"shift_{axis}_px"] = motion.shift_yx_px[:, k]
        step = movie.spacing_um.get(axis)
        if step is not None:
            table[f"shift_{axis}_um"] = motion.shift_yx_px[:, k] * step
        table[f"error_{axis}_px"] = motion.error_px[:, k]
    return table.assign(
        largest_deviation_px=deviation,
        likeness=motion.likeness,
        snr=motion.snr,
        correlation_before=look.correlation_before,
        correlation_after=look.correlation_after,
        good=motion.good,
        reason=list(motion.reason),
    )


def plane_row(motion: Motion, look: Stillness, finder: Finder, z: int) -> dict[str, Any]:
    """What registering one plane came to."""
    good = motion.good if motion.good.any() else np.ones(len(motion.reason), bool)
    shift = motion.shift_yx_px[good] - np.median(motion.shift_yx_px[good], axis=0)
    prepared = finder.preparation
    some = look.principal_shift_px
    return {
        "plane": z,
        "n_frames": len(good),
        "n_marked": int((~motion.good).sum()),
        "shift_rms_px": float(np.sqrt((shift**2).sum(axis=1).mean())),
        "shift_largest_px": float(np.hypot(shift[:, 0], shift[:, 1]).max()),
        "error_px": float(np.median(motion.error_px[good])),
        "deviation_rms_px": _deviation(motion),
        "correlation_before": float(np.nanmedian(look.correlation_before[good])),
        "correlation_after": float(np.nanmedian(look.correlation_after[good])),
        "crispness_before": look.crispness_before,
        "crispness_after": look.crispness_after,
        "residual_px": look.residual_px,
        "principal_shift_mean_px": float(some.mean()) if len(some) else np.nan,
        "principal_shift_largest_px": float(some.max()) if len(some) else np.nan,
        "line_phase_px": motion.line_phase_px,
        "saturated_share": look.saturated_share,
        "bins": prepared.bins,
        "stabilised": prepared.stabilise,
        "gain": prepared.gain if prepared.stabilise else np.nan,
        "zero": prepared.zero if prepared.stabilise else np.nan,
        "not_stabilised": prepared.reason,
        "node_step_px": np.nan
        if finder.elastic is None
        else finder.elastic.step_px * prepared.bins,
    }


def _deviation(motion: Motion) -> float:
    if motion.field_yx_px is None:
        return 0.0
    apart = (motion.field_yx_px - motion.shift_yx_px[:, None, None])[motion.good]
    apart = apart - np.median(apart, axis=0)
    return float(np.sqrt((apart.astype(np.float64) ** 2).sum(axis=-1).mean()))


def _planes(movie: Image) -> Iterator[LazyArray]:
    if "z" not in movie.axes:
        yield movie.data
        return
    for z in range(movie.sizes["z"]):
        yield movie.isel(z=z).data


def _means(movie: Image, looks: list[Stillness]) -> Image:
    """Mean images before and after, as two channels."""
    pairs = [np.stack([look.mean_before, look.mean_after]) for look in looks]
    many = "z" in movie.axes
    return Image(
        data=np.nan_to_num(np.stack(pairs, axis=1) if many else pairs[0]),
        axes="czyx" if many else "cyx",
        channels=(BEFORE, AFTER),
        spacing_um={a: s for a, s in movie.spacing_um.items() if a in "zyx" and (many or a != "z")},
    )


def _stacked(channels: list[Image], whole: Image) -> Image:
    return replace(whole, data=_Channels([c.data for c in channels], whole.axes.index("c")))


class _Channels:
    """Lazy arrays side by side along a new axis."""

    def __init__(self, parts: list[LazyArray], axis: int) -> None:
        self._parts, self._axis = parts, axis

    @property
    def shape(self) -> tuple[int, ...]:
        shape = [int(n) for n in self._parts[0].shape]
        return (*shape[: self._axis], len(self._parts), *shape[self._axis :])

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self._parts[0].dtype)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        from aequorea.model.lazy import full_index

        items = list(full_index(index, len(self.shape)))
        chosen = range(len(self._parts))[items.pop(self._axis)]
        if isinstance(chosen, int):
            return np.asarray(self._parts[chosen][tuple(items)])
        place = sum(isinstance(i, slice) for i in items[: self._axis])
        return np.stack([np.asarray(self._parts[c][tuple(items)]) for c in chosen], axis=place)


def _in_parts(
    advance: Callable[[int, int], None], parts: int
) -> Callable[[int], Callable[[int, int], None]]:
    """Progress of one of several parts of equal length as progress of the whole."""

    def part(k: int) -> Callable[[int, int], None]:
        return lambda done, total: advance(k * total + done, parts * total)

    return part
