"""What a finished run directory holds: its record, its tables, its pixels."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import zarr

from aequorea.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

RECORD, PIXELS = "run.json", "images.zarr"


@dataclass(frozen=True, kw_only=True)
class RunContents:
    """A run, opened for reading.

    Attributes
    ----------
    path : Path
    record : mapping
        What ``run.json`` says.
    tables : mapping of str to DataFrame
        By name; a run that left a part out has no such table.
    """

    path: Path
    record: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]

    def table(self, name: str) -> pd.DataFrame:
        """A table, empty where the run has none."""
        return self.tables.get(name, pd.DataFrame())

    def parameter(self, key: str) -> Any:
        """The value in force of a parameter, by dotted key; ``None`` where there is none."""
        return self.record["parameters"].get(key)

    @property
    def title(self) -> str:
        """The names of the images."""
        inputs = self.record["inputs"].items()
        return " and ".join(Path(f["path"]).name for r, f in inputs if r.startswith("image"))

    @property
    def version(self) -> str:
        """Of aequorea."""
        return str(self.record.get("versions", {}).get("aequorea", "of unknown version"))

    @property
    def analysed(self) -> str:
        """When, and with what."""
        started = str(self.record.get("timings", {}).get("started", "")).replace("T", " ")
        return f"{started.removesuffix('+00:00')} UTC with aequorea {self.version}"

    def parameter_rows(self) -> list[tuple[str, str, str]]:
        """Every parameter: key, value, where it came from."""
        sources = self.record.get("parameter_sources", {})
        return [
            (key, _shown(value), str(sources.get(key, "")))
            for key, value in self.record["parameters"].items()
        ]


def _shown(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "on" if value else "off"
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def open_contents(
    run_dir: Path, *, needs: str = "pixel", only: Callable[[str], bool] | None = None
) -> RunContents:
    """Read the record and the tables of a run.

    Parameters
    ----------
    run_dir : Path
    needs : str
        The table without which there is nothing to report.
    only : callable, optional
        Whether a table of this name is read; all are if not given.

    Raises
    ------
    RunError
        If there is no readable record, or the table that is needed is not there.
    """
    try:
        record = json.loads((run_dir / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RunError(f"{run_dir}: is not an aequorea run (no readable {RECORD})") from None
    tables = {
        path.stem: pd.read_parquet(path)
        for path in sorted(_tables_of(run_dir, record))
        if only is None or only(path.stem)
    }
    if needs not in tables:
        raise RunError(f"{run_dir}: has no table {needs!r}; finish the run first")
    return RunContents(path=run_dir, record=record, tables=tables)


def _tables_of(run_dir: Path, record: Mapping[str, Any]) -> Iterator[Path]:
    """The tables that the steps of the run made, not what else lies beside them."""
    for step in record.get("steps", {}).values():
        for output in step.get("outputs", {}):
            path = run_dir / output
            if path.suffix == ".parquet" and path.parent == run_dir / "tables" and path.exists():
                yield path


class StoredImage:
    """The channels and labels a run stored, read plane by plane.

    Attributes
    ----------
    axes : str
    shape : tuple of int
    channels : tuple of str
    spacing_um : mapping of axis to float or None
    """

    def __init__(self, run_dir: Path) -> None:
        try:
            self._group: Any = zarr.open_group(run_dir / PIXELS, mode="r")
            described: Any = self._group.attrs["ome"]
        except (OSError, KeyError, ValueError):
            raise RunError(f"{run_dir}: has no readable {PIXELS}; run the analysis again") from None
        multiscale = described["multiscales"][0]
        self.axes = "".join(axis["name"] for axis in multiscale["axes"])
        level: Any = self._group["0"]
        self._level = level
        self.shape: tuple[int, ...] = tuple(self._level.shape)
        self.channels = tuple(str(c["label"]) for c in described["omero"]["channels"])
        self._highest = {
            str(c["label"]): float(c["window"]["end"]) for c in described["omero"]["channels"]
        }
        scale = multiscale["datasets"][0]["coordinateTransformations"][0]["scale"]
        self.spacing_um = {
            axis["name"]: float(step) if axis.get("unit") == "micrometer" else None
            for axis, step in zip(multiscale["axes"], scale, strict=True)
            if axis["name"] in "zyx"
        }

    @property
    def sizes(self) -> dict[str, int]:
        """Size by axis name."""
        return dict(zip(self.axes, self.shape, strict=True))

    @property
    def pixel_um(self) -> tuple[float | None, float | None]:
        """Distance between pixels along y and x."""
        return self.spacing_um["y"], self.spacing_um["x"]

    @property
    def calibration(self) -> str:
        """The distance between pixels in words."""
        known = [f"{a} {s:.4g} µm" for a, s in self.spacing_um.items() if s is not None]
        unknown = [a for a, s in self.spacing_um.items() if s is None]
        if not known:
            return "not given by the file; lengths are in pixels"
        return ", ".join(known) + (f"; not given along {', '.join(unknown)}" if unknown else "")

    @property
    def is_integer(self) -> bool:
        """Whether pixels are whole grey levels."""
        return bool(self._level.dtype.kind in "ui")

    def highest(self, channel: str) -> float:
        """The largest value of a channel."""
        return self._highest[channel]

    def plane(self, channel: str, *, t: int = 0, z: int = 0) -> NDArray[Any]:
        """One slice of one channel, shape (y, x)."""
        index = {"t": t, "z": z, "c": self.channels.index(channel)}
        return np.asarray(self._level[tuple(index.get(a, slice(None)) for a in self.axes)])

    def labels(self, name: str, *, t: int = 0, z: int = 0) -> NDArray[Any] | None:
        """One slice of a label image; ``None`` if the run has no such labels."""
        key = f"labels/{name}"
        if key not in self._group:
            return None
        group: Any = self._group[key]
        described = group.attrs["ome"]["multiscales"][0]
        axes = [axis["name"] for axis in described["axes"]]
        index = {"t": t, "z": z}
        return np.asarray(group["0"][tuple(index.get(a, slice(None)) for a in axes)])

    def box(self, channel: str, box: Sequence[slice]) -> NDArray[Any]:
        """A part of one channel of a stack, shape (z, y, x)."""
        index = {"c": self.channels.index(channel), "t": 0}
        places = dict(zip("zyx", box, strict=True))
        return np.asarray(self._level[tuple(places.get(a, index.get(a)) for a in self.axes)])

    def labels_box(self, name: str, box: Sequence[slice]) -> NDArray[Any]:
        """The same part of a label image."""
        return np.asarray(self._group[f"labels/{name}"]["0"][tuple(box)])

    def projection(self, channel: str) -> NDArray[Any]:
        """Maximum over z of one channel, shape (y, x)."""
        planes = (self.plane(channel, z=z) for z in range(self.sizes.get("z", 1)))
        return functools.reduce(np.maximum, planes)

    def label_projection(self, name: str) -> NDArray[Any] | None:
        """Labels as seen from above, those of the first planes in front; None without them."""
        seen: NDArray[Any] | None = None
        for z in range(self.sizes.get("z", 1)):
            plane = self.labels(name, z=z)
            if plane is None:
                return None
            seen = plane if seen is None else np.where(seen > 0, seen, plane)
        return seen

    def slices(self, first: str, second: str, *, t: int = 0) -> Iterator[tuple[int, Any, Any]]:
        """Every z with the planes of two channels."""
        for z in range(self.sizes.get("z", 1)):
            yield z, self.plane(first, t=t, z=z), self.plane(second, t=t, z=z)
