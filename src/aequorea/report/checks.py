"""Lines with a light: what is wrong, what to look at, what was fine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_NAMES = 6


@dataclass(frozen=True)
class Check:
    """One line of a list of checks."""

    light: str
    sign: str
    text: str


def bad(text: str) -> Check:
    """What must not be passed over."""
    return Check("bad", "✕", text)


def note(text: str) -> Check:
    """What may mislead."""
    return Check("note", "!", text)


def fine(text: str) -> Check:
    """What was looked at and found right."""
    return Check("ok", "✓", text)


def few(names: Sequence[str], most: int = _MOST_NAMES) -> str:
    """The first names, and how many more.

    Examples
    --------
    >>> few(["a", "b"]), few(list("abcdefgh"), 3)
    ('a, b', 'a, b, c and 5 more')
    """
    told = list(dict.fromkeys(names))
    more = f" and {len(told) - most} more" if len(told) > most else ""
    return ", ".join(told[:most]) + more


def capital(text: str) -> str:
    """With a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def percent(share: float) -> str:
    """A share in per cent with two significant digits.

    Examples
    --------
    >>> percent(0.1234), percent(0.0012), percent(math.nan)
    ('12 %', '0.12 %', '–')
    """
    if not math.isfinite(share):
        return "–"
    value = 100 * share
    return f"{value:.0f} %" if value >= 9.5 else f"{value:.2g} %"
