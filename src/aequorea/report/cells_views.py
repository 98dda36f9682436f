"""A counted field as pages look at it: planes, labels, and which cells are called what."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from aequorea.report.pictures import CONTRAST_PERCENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from aequorea.report.run_contents import RunContents, StoredImage

#: How cells are drawn.
POSITIVE, NEGATIVE, NOT_COUNTED = 1, 2, 3
_CLOSE_UP_DIAMETERS = 13
_CLOSE_UP_PX = (160, 420)
_WHOLE_IS_ENOUGH_PX = 900
_LIKELY_CEILINGS = (1023, 4095, 16383)


def names_of(run: RunContents) -> dict[str, str]:
    """What each role is called, the cells first."""
    table = run.table("channels")
    return {str(r): str(n) for r, n in zip(table["role"], table["channel"], strict=True)}


def markers_of(names: Mapping[str, str]) -> dict[str, str]:
    """The roles that are markers, with their names."""
    return {role: name for role, name in names.items() if role != "cell"}


def flags(values: pd.Series[Any]) -> NDArray[np.bool_]:
    """A column of yes and no, also of a table without rows."""
    return values.to_numpy(dtype=bool)


@dataclass(frozen=True, eq=False)
class FieldView:
    """One field from above; stacks as maximum projections.

    Attributes
    ----------
    image : StoredImage
    names : mapping of role to channel name
    cells : DataFrame
        ``cell_summary``.
    planes, labels : mapping of role to ndarray, shape (y, x)
    rois : ndarray of int, shape (y, x)
    region_names : mapping of int to str
        Those that have a name.
    """

    image: StoredImage
    names: Mapping[str, str]
    cells: pd.DataFrame
    planes: Mapping[str, NDArray[Any]]
    labels: Mapping[str, NDArray[Any]]
    rois: NDArray[Any]
    region_names: Mapping[int, str] = field(default_factory=dict)
    _sections: dict[tuple[str, str, int], NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, run: RunContents, image: StoredImage) -> FieldView:
        """Read what a run stored."""
        names = names_of(run)
        planes = {role: image.projection(name) for role, name in names.items()}
        shape = planes["cell"].shape

        def seen(name: str) -> NDArray[Any]:
            found = image.label_projection(name)
            return np.zeros(shape, np.uint8) if found is None else found

        labels = {role: seen(role) for role in names}
        return cls(
            image,
            names,
            run.table("cell_summary"),
            planes,
            labels,
            seen("rois"),
            _region_names(run.table("roi_coloc_overview")),
        )

    @property
    def is_stack(self) -> bool:
        """Whether planes are projections."""
        return self.image.sizes.get("z", 1) > 1

    @property
    def whole(self) -> bool:
        """Whether the one region is the whole field."""
        return bool(self.rois.size and (self.rois == self.rois.flat[0]).all())

    def classes(self, role: str) -> NDArray[np.uint8]:
        """Of each label, 0 to the largest: positive for a marker, negative, or not counted.

        For ``"cell"`` those counted are :data:`NEGATIVE`.
        """
        found = np.zeros(int(self.labels["cell"].max(initial=0)) + 1, np.uint8)
        label = self.cells["cell_label"].to_numpy(np.int64)
        told = np.full(len(label), NEGATIVE, np.uint8)
        if role != "cell":
            told[flags(self.cells[f"{role}_positive"])] = POSITIVE
        if "counted" in self.cells:
            told[~flags(self.cells["counted"])] = NOT_COUNTED
        known = label < len(found)
        found[label[known]] = told[known]
        return found

    @cached_property
    def areas_px(self) -> NDArray[np.int64]:
        """Of each label from 1, the pixels seen from above."""
        return np.bincount(self.labels["cell"].ravel())[1:]

    @cached_property
    def limits(self) -> dict[str, tuple[float, float]]:
        """By role, the grey levels shown black and white, as on all pages."""
        return {role: _limits(plane) for role, plane in self.planes.items()}

    def diameter_px(self, quantile: float = 0.5) -> float:
        """Diameter of a disc as large as a typical cell seen from above."""
        areas = self.areas_px[self.areas_px > 0]
        return 2 * float(np.sqrt(np.quantile(areas, quantile) / np.pi)) if areas.size else 0.0

    @cached_property
    def close_up(self) -> tuple[slice, slice] | None:
        """The part with most cells, where the whole field is too large to see them."""
        height, width = self.rois.shape
        if max(height, width) <= _WHOLE_IS_ENOUGH_PX or not len(self.cells):
            return None
        side = int(np.clip(_CLOSE_UP_DIAMETERS * self.diameter_px(), *_CLOSE_UP_PX))
        y, x = (self.cells[f"centroid_{a}"].to_numpy(np.float64) for a in "yx")
        rows, columns = -(-height // side), -(-width // side)
        place = (y // side).astype(np.int64) * columns + (x // side).astype(np.int64)
        fullest = int(np.bincount(place, minlength=rows * columns).argmax())
        top = max(0, min(fullest // columns * side, height - side))
        left = max(0, min(fullest % columns * side, width - side))
        return slice(top, top + side), slice(left, left + side)

    def crop(self, role: str, z: int, middle: tuple[int, int], side: int) -> NDArray[Any]:
        """Pixels of a channel around a place, in one plane; 0 beyond the edge of the image."""
        return _around(self._section("image", role, z), middle, side)

    def crop_labels(self, role: str, z: int, middle: tuple[int, int], side: int) -> NDArray[Any]:
        """Labels around a place, in one plane."""
        return _around(self._section("labels", role, z), middle, side)

    def _section(self, kind: str, role: str, z: int) -> NDArray[Any]:
        if not self.is_stack:
            return (self.planes if kind == "image" else self.labels)[role]
        key = (kind, role, z)
        if key not in self._sections:
            plane = (
                self.image.plane(self.names[role], z=z)
                if kind == "image"
                else self.image.labels(role, z=z)
            )
            self._sections[key] = np.zeros_like(self.rois) if plane is None else plane
        return self._sections[key]

    def likely_clipped(self, role: str) -> tuple[float, float]:
        """Share of pixels at the highest value, where that is the end of a 10 to 14 bit camera.

        Returns
        -------
        share, value : float
            Zeros where the highest value is no such number.
        """
        plane = self.planes[role]
        top = float(np.max(plane, initial=0))
        if plane.dtype.kind not in "ui" or top not in _LIKELY_CEILINGS:
            return 0.0, 0.0
        return float(np.mean(plane == top)), top


def _region_names(overview: pd.DataFrame) -> dict[int, str]:
    if "roi_name" not in overview:
        return {}
    known = zip(overview["roi_id"].astype(int), overview["roi_name"].astype(str), strict=True)
    return {k: name for k, name in known if name and name != str(k)}


def _limits(plane: NDArray[Any]) -> tuple[float, float]:
    finite = plane[np.isfinite(plane)] if plane.dtype.kind == "f" else plane
    if not finite.size:
        return 0.0, 0.0
    low, high = (float(v) for v in np.percentile(finite, CONTRAST_PERCENT).tolist())
    return (low, high) if high > low else (float(finite.min()), float(finite.max()))


def _around(plane: NDArray[Any], middle: tuple[int, int], side: int) -> NDArray[Any]:
    """A square of a plane, 0 where there is none."""
    found = np.zeros((side, side), plane.dtype)
    y, x = (m - side // 2 for m in middle)
    rows = slice(max(0, y), min(plane.shape[0], y + side))
    columns = slice(max(0, x), min(plane.shape[1], x + side))
    if rows.start < rows.stop and columns.start < columns.stop:
        inside = slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x)
        found[inside] = plane[rows, columns]
    return found
