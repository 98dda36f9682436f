"""Numbers as a reader wants them: rounded to what they are worth, with NaN shown as a dash."""

from __future__ import annotations

import math
from typing import Any

DASH = "–"
_MINUS = "−"


def number(value: Any, digits: int = 3) -> str:
    """A number with ``digits`` significant digits, without exponents where people avoid them.

    Parameters
    ----------
    value : float, int, None
        Whole numbers are written in full, with thin spaces between thousands.
    digits : int
        Significant digits of others.

    Returns
    -------
    str
        ``–`` for what is not a finite number.

    Examples
    --------
    >>> number(0.70566), number(-12.0), number(float("nan")), number(0.00012)
    ('0.706', '−12.0', '–', '1.2×10⁻⁴')
    """
    if value is None or isinstance(value, str):
        return DASH
    number_ = float(value)
    if not math.isfinite(number_):
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_whole(value):
        return _signed(f"{int(value):,}".replace(",", "\u202f"))
    if number_ == 0:
        return "0"
    size = math.floor(math.log10(abs(number_)))
    if size < -3 or size >= 6:
        return _signed(f"{number_ / 10.0**size:.{min(digits, 2) - 1}f}×10{_superscript(size)}")
    return _signed(f"{number_:,.{max(0, digits - 1 - size)}f}".replace(",", "\u202f"))


def counted(n: int, what: str) -> str:
    """A number of things.

    Examples
    --------
    >>> counted(1, "animal"), counted(3, "image")
    ('1 animal', '3 images')
    """
    return f"{number(n)} {what}{'' if n == 1 else 's'}"


def fixed(value: Any, decimals: int = 3) -> str:
    """A number with a fixed count of decimals, as coefficients between −1 and 1 are printed.

    Examples
    --------
    >>> fixed(0.5), fixed(-0.0312), fixed(float("nan")), fixed(-0.00001)
    ('0.500', '−0.031', '–', '0.000')
    """
    if value is None or not math.isfinite(float(value)):
        return DASH
    text = f"{float(value):.{decimals}f}"
    return _signed(text.removeprefix("-") if float(text) == 0 else text)


def p_value(p: Any, floor: float = 0.0) -> str:
    """A Monte-Carlo p-value with its relation sign: ``≤`` where it is the smallest possible.

    Parameters
    ----------
    p : float
    floor : float
        The smallest p-value that the draws can give.

    Examples
    --------
    >>> p_value(0.0312), p_value(0.001, 0.001), p_value(float("nan"))
    ('= 0.031', '≤ 0.001', '–')
    """
    if p is None or not math.isfinite(float(p)):
        return DASH
    value = float(p)
    sign = "≤" if value <= floor * (1 + 1e-9) else "="
    return f"{sign} {_trimmed(value)}"


def is_whole(value: Any) -> bool:
    """Whether a value is of an integer type (a count, not a measurement)."""
    return isinstance(value, int) or type(value).__name__.startswith(("int", "uint"))


def _trimmed(value: float) -> str:
    if value >= 0.1:
        return f"{value:.2f}"
    return f"{value:.3f}" if value >= 0.001 else number(value, 2)


def _signed(text: str) -> str:
    return text.replace("-", _MINUS)


def _superscript(exponent: int) -> str:
    digits = dict(zip("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True))
    return "".join(digits[c] for c in str(exponent))
