"""What all comparisons of conditions share: names, units of inference, pairs of conditions."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from aequorea.errors import AxisMismatchError, InputError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

Unit = Literal["animal", "image"]
Design = Literal["auto", "independent", "paired", "blocked"]

NO_ANIMALS = (
    "no animal column: cells and images of one animal are not independent replicates; "
    "say which animal each image is from"
)
IMAGES_AS_ASKED = "each image counts as an independent replicate, as asked for"
#: Below this many animals in the smaller of two unequal groups Welch's level is not sure.
_FEW = 6


def names_of(values: Any, n: int, name: str, *, of: str = "image") -> list[Any]:
    """One name for each of n rows, none of them missing."""
    names = list(values)
    if len(names) != n:
        raise AxisMismatchError(
            f"{name}: expected {n} values, found {len(names)}; give one per {of}"
        )
    for k, value in enumerate(names):
        if value is None or value != value or value == "":
            raise InputError(f"{name}: expected a name, found {value!r} in row {k}; fill it in")
    return names


def check_choices(choices: Sequence[tuple[str, Any, Any]]) -> None:
    """Each of (name, value, literal type) must be one of the values of its type."""
    for name, value, allowed in choices:
        if value not in get_args(allowed):
            expected = ", ".join(str(v) for v in get_args(allowed))
            raise InputError(f"{name}: expected one of {expected}, found {value!r}")


def check_confidence(confidence: float) -> None:
    """Between 0 and 1."""
    if not 0 < confidence < 1:
        raise InputError(f"confidence: expected a number between 0 and 1, found {confidence}")


def couples_of(order: list[Any], reference: Hashable | None) -> list[tuple[Any, Any]]:
    """Pairs (reference, condition): all, or those with the given reference."""
    if reference is None:
        return list(itertools.combinations(order, 2))
    if reference not in order:
        raise InputError(
            f"reference: expected one of {order}, found {reference!r}; name a condition"
        )
    return [(reference, name) for name in order if name != reference]


def lopsided(
    reference: Any, n_reference: int, condition: Any, n_condition: int, unit: str
) -> str | None:
    """Warning about few animals in unequal groups, where Welch's test may reject too often."""
    few, many = sorted((n_reference, n_condition))
    if few >= _FEW or many < 1.5 * few:
        return None
    return (
        f"{n_reference} {unit}s in {reference}, {n_condition} in {condition}: "
        "if the smaller group varies more, p is too small"
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Rows:
    """Which condition and unit of inference each row (cell, value) belongs to.

    Attributes
    ----------
    conditions : list
        In the order in which they were first given.
    owners : list
        Animals (or images), likewise; empty without animals.
    condition_index, owner_index : ndarray of int, shape (n,)
        Into those; the second is -1 throughout without animals.
    unit : str
        "animal" or "image".
    warnings : list of str
    """

    conditions: list[Any]
    owners: list[Any]
    condition_index: npt.NDArray[np.intp]
    owner_index: npt.NDArray[np.intp]
    unit: str
    warnings: list[str]

    @property
    def has_owners(self) -> bool:
        """Whether anything can be tested."""
        return bool(self.owners) or not len(self.owner_index)


def rows_of(
    n: int, animal: Any, condition: Any, *, unit: str, image: Any = None, of: str = "cell"
) -> Rows:
    """Conditions and units of n rows, with the images as units if that was asked for."""
    conditions, condition_index = indexed(names_of(condition, n, "condition", of=of))
    warnings: list[str] = []
    chosen = animal
    if unit == "image":
        if image is None:
            raise InputError(
                "image: expected the image of each cell with unit='image', found None; give them"
            )
        chosen = image
        warnings.append(IMAGES_AS_ASKED)
    owners: list[Any] = []
    owner_index = np.full(n, -1, dtype=np.intp)
    if chosen is not None:
        owners, owner_index = indexed(names_of(chosen, n, unit, of=of))
        if unit == "image" and animal is not None:
            animals = set(names_of(animal, n, "animal", of=of))
            if len(animals) < len(owners):
                warnings[0] += f", though {len(owners)} images come from {len(animals)} animals"
    return Rows(
        conditions=conditions,
        owners=owners,
        condition_index=condition_index,
        owner_index=owner_index,
        unit=unit,
        warnings=warnings,
    )


def indexed(names: list[Any]) -> tuple[list[Any], npt.NDArray[np.intp]]:
    """Different names in the order in which they come, and the index of each."""
    places: dict[Any, int] = {}
    index = np.fromiter((places.setdefault(v, len(places)) for v in names), np.intp, len(names))
    return list(places), index


def design_of(asked: str, unit: str, a: Any, of_a: list[Any], b: Any, of_b: list[Any]) -> str:
    """Independent without shared animals, paired if all are shared, else blocked.

    Raises
    ------
    InputError
        If independent animals are asked for and some are in both conditions.
    """
    shared = set(of_a) & set(of_b)
    if asked == "independent" and shared:
        raise InputError(
            f"design: expected different {unit}s in {a} and {b}, found {len(shared)} in both; "
            "use 'auto' to compare within them, or name different animals differently"
        )
    if asked != "auto":
        return asked
    if not shared:
        return "independent"
    return "paired" if len(shared) == len(set(of_a) | set(of_b)) else "blocked"
