"""Lengths and times as files write them, in µm and s."""

from __future__ import annotations

import math
from decimal import Decimal

_LENGTHS_UM = {
    "pm": 1e-6,
    "picometer": 1e-6,
    "å": 1e-4,
    "angstrom": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "um": 1.0,
    "micron": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "dm": 1e5,
    "decimeter": 1e5,
    "m": 1e6,
    "meter": 1e6,
    "inch": 25400.0,
    "in": 25400.0,
    "ft": 304800.0,
}
_TIMES_S = {
    "ns": 1e-9,
    "nanosecond": 1e-9,
    "us": 1e-6,
    "microsecond": 1e-6,
    "ms": 1e-3,
    "msec": 1e-3,
    "millisecond": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
}


def length_in_um(unit: str | None) -> float | None:
    """How many µm one ``unit`` is; None for what is not a length (``"pixel"``, ``""``).

    Examples
    --------
    >>> [length_in_um(u) for u in ("µm", "micron", "nm", "inch", "pixel", None)]
    [1.0, 1.0, 0.001, 25400.0, None, None]
    """
    return _look_up(unit, _LENGTHS_UM)


def time_in_s(unit: str | None) -> float | None:
    """How many s one ``unit`` is; None for what is not a time.

    Examples
    --------
    >>> [time_in_s(u) for u in ("s", "sec", "ms", "minutes", "frames")]
    [1.0, 1.0, 0.001, 60.0, None]
    """
    return _look_up(unit, _TIMES_S)


def spacing_or_none(value: float | str | None, unit_um: float | None = 1.0) -> float | None:
    """``value`` times ``unit_um`` if both are usable, else None.

    Files write 0, -1 and NaN where they know nothing.

    Examples
    --------
    >>> spacing_or_none("1e-07", 1e6), spacing_or_none(0.0), spacing_or_none(0.1, None)
    (0.1, None, None)
    """
    if value is None or unit_um is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not (math.isfinite(number) and number > 0):
        return None
    # in decimals, so that 1e-07 m is 0.1 µm and not 0.09999999999999999
    return float(Decimal(str(number)) * Decimal(str(float(unit_um))))


def _look_up(unit: str | None, table: dict[str, float]) -> float | None:
    if unit is None:
        return None
    # both code points of micro (U+00B5, U+03BC), ImageJ's escape, and a Latin-1 byte read as UTF-8
    word = unit.strip().strip("\x00").replace("\\u00B5", "u").replace("\\u00b5", "u")
    word = word.replace("\N{MICRO SIGN}", "u").replace("\N{GREEK SMALL LETTER MU}", "u")
    word = word.replace("\N{ANGSTROM SIGN}", "å").lower().replace("metre", "meter")
    if word in table:
        return table[word]
    return table.get(word.removesuffix("s"))
