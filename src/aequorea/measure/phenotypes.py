"""Phenotypes: cells positive for some markers and negative for others."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from aequorea.errors import AxisMismatchError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Phenotype", "all_phenotypes", "parse_phenotype", "phenotype_counts"]

BoolArray = npt.NDArray[np.bool_]
_POSITIVE = "+"
_NEGATIVE = "-−"  # hyphen and minus sign
_BETWEEN = " ,;&\t"


@dataclass(frozen=True)
class Phenotype:
    """Markers a cell must have, and markers it must not have.

    Attributes
    ----------
    signs : tuple of (str, bool)
        Markers and whether the cell is positive; markers not named may be either.
    """

    signs: tuple[tuple[str, bool], ...]

    def __str__(self) -> str:
        return "".join(f"{name}{'+' if positive else '−'}" for name, positive in self.signs)

    def matches(self, positive: Mapping[str, npt.ArrayLike]) -> BoolArray:
        """Which cells have this phenotype.

        Parameters
        ----------
        positive : mapping of marker to array_like of bool, shape (n,)

        Returns
        -------
        ndarray of bool, shape (n,)

        Raises
        ------
        InputError
            If a marker is missing or a column is not boolean.
        AxisMismatchError
            If columns differ in length.

        Examples
        --------
        >>> Phenotype((("A", True), ("B", False))).matches({"A": [True, True], "B": [True, False]})
        array([False,  True])
        """
        columns = _columns(positive)
        missing = [name for name, _ in self.signs if name not in columns]
        if missing:
            raise InputError(
                f"phenotype {self}: expected markers among {_listed(columns)}, found "
                f"{missing[0]!r}; call cells for it first"
            )
        length = len(next(iter(columns.values()))) if columns else 0
        found = np.ones(length, dtype=np.bool_)
        for name, wanted in self.signs:
            found &= columns[name] == wanted
        return found


def parse_phenotype(text: str, markers: Iterable[str]) -> Phenotype:
    """Read a phenotype such as ``"A+B−C+"``.

    Parameters
    ----------
    text : str
        Names of markers, each followed by + or - (or the minus sign −); spaces, commas,
        semicolons and & between them are skipped.
    markers : iterable of str
        The names that there are, of any characters. Where several fit, the longest is read.

    Returns
    -------
    Phenotype

    Raises
    ------
    InputError
        If a name is unknown or named twice, or a sign is missing.

    Examples
    --------
    >>> str(parse_phenotype("CD4+ Ki-67-", ["CD4", "Ki", "Ki-67"]))
    'CD4+Ki-67−'
    """
    names = list(dict.fromkeys(markers))
    if not all(isinstance(name, str) and name.strip(_BETWEEN) for name in names):
        raise InputError(f"markers: expected names that are not empty, found {names!r}; name them")
    ordered = sorted(names, key=len, reverse=True)
    signs = _read(text, 0, ordered, {})
    if signs is None:
        raise InputError(_complaint(text, ordered))
    if not signs:
        raise InputError(
            f"phenotype: expected signs such as {names[0] if names else 'A'}+, found {text!r}; "
            f"name markers among {_listed(names)}"
        )
    read = [name for name, _ in signs]
    twice = next((name for name in read if read.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            f"phenotype {text!r}: expected each marker once, found {twice!r} twice; drop one"
        )
    return Phenotype(tuple(signs))


def _read(
    text: str, start: int, names: Sequence[str], known: dict[int, list[tuple[str, bool]] | None]
) -> list[tuple[str, bool]] | None:
    """Signs from ``start`` on; a shorter name is tried where the rest cannot be read otherwise."""
    while start < len(text) and text[start] in _BETWEEN:
        start += 1
    if start == len(text):
        return []
    if start not in known:
        known[start] = None
        for name, end in _terms(text, start, names):
            rest = _read(text, end + 1, names, known)
            if rest is not None:
                known[start] = [(name, text[end] == _POSITIVE), *rest]
                break
    return known[start]


def _terms(text: str, start: int, names: Sequence[str]) -> list[tuple[str, int]]:
    """Names that stand at ``start``, and where the sign after each is."""
    found = []
    for name in names:
        if text.startswith(name, start):
            end = start + len(name)
            while end < len(text) and text[end] == " ":
                end += 1
            if end < len(text) and text[end] in _POSITIVE + _NEGATIVE:
                found.append((name, end))
    return found


def _complaint(text: str, names: Sequence[str]) -> str:
    """Why a text cannot be read: what stands where no known name with a sign fits."""
    start = 0
    while True:
        while start < len(text) and text[start] in _BETWEEN:
            start += 1
        terms = _terms(text, start, names)
        if not terms or start >= len(text):
            break
        start = terms[0][1] + 1
    rest = text[start:]
    unsigned = next((name for name in names if rest.strip() == name), None)
    if unsigned is not None:
        return f"phenotype {text!r}: expected + or - after {unsigned!r}, found the end; add it"
    return (
        f"phenotype {text!r}: expected a marker among {_listed(names)} and a sign, found "
        f"{rest!r}; correct the name"
    )


def all_phenotypes(markers: Iterable[str]) -> tuple[Phenotype, ...]:
    """Every combination of positive and negative: 2ᵏ phenotypes of k markers.

    Parameters
    ----------
    markers : iterable of str

    Returns
    -------
    tuple of Phenotype
        From all positive to all negative; the last marker changes fastest.

    Raises
    ------
    InputError
        If there are more than 16 markers.

    Examples
    --------
    >>> [str(phenotype) for phenotype in all_phenotypes(["A", "B"])]
    ['A+B+', 'A+B−', 'A−B+', 'A−B−']
    """
    names = list(dict.fromkeys(markers))
    if len(names) > 16:
        raise InputError(
            f"markers: expected at most 16, found {len(names)}; name those of interest"
        )
    return tuple(
        Phenotype(tuple(zip(names, signs, strict=True)))
        for signs in product((True, False), repeat=len(names))
    )


def phenotype_counts(positive: Mapping[str, npt.ArrayLike]) -> dict[Phenotype, int]:
    """Number of cells of every combination of the markers.

    Parameters
    ----------
    positive : mapping of marker to array_like of bool, shape (n,)

    Returns
    -------
    dict of Phenotype to int
        In the order of :func:`all_phenotypes`; the counts add up to n.

    Raises
    ------
    InputError
        If a column is not boolean, or there are more than 16.
    AxisMismatchError
        If columns differ in length.

    Examples
    --------
    >>> counts = phenotype_counts({"A": [True, True, False], "B": [True, False, False]})
    >>> {str(phenotype): n for phenotype, n in counts.items()}
    {'A+B+': 1, 'A+B−': 1, 'A−B+': 0, 'A−B−': 1}
    """
    columns = _columns(positive)
    phenotypes = all_phenotypes(columns)
    length = len(next(iter(columns.values()))) if columns else 0
    code = np.zeros(length, dtype=np.int64)
    for column in columns.values():
        code = 2 * code + ~column
    counts = np.bincount(code, minlength=len(phenotypes))
    return {phenotype: int(n) for phenotype, n in zip(phenotypes, counts, strict=True)}


def _columns(positive: Mapping[str, npt.ArrayLike]) -> dict[str, BoolArray]:
    columns = {name: np.asarray(values) for name, values in positive.items()}
    for name, values in columns.items():
        if values.ndim != 1 or (values.dtype != np.bool_ and values.size):
            raise InputError(
                f"marker {name!r}: expected one True or False per cell, found dtype "
                f"{values.dtype}, shape {values.shape}; compare with a threshold first"
            )
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise AxisMismatchError(
            f"markers: expected one value per cell in each, found {sorted(lengths)} values; "
            "give columns of the same cells"
        )
    return {name: values.astype(np.bool_) for name, values in columns.items()}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "(none)"
