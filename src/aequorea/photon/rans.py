"""Range asymmetric numeral systems with static tables and four interleaved states.

Symbols are bytes. Each is coded with one of several tables (its *context*); states are 32 bits,
renormalised by 16-bit words, so that decoding is a lookup, a multiplication and no division.

References
----------
J. Duda, *Asymmetric numeral systems* (2013), arXiv:1311.2540; F. Giesen, *Interleaved entropy
coders* (2014), arXiv:1402.3392.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

TABLE_BITS = 12
TABLE_SIZE = 1 << TABLE_BITS
N_LANES = 4
N_SYMBOLS = 256
STATE_WORDS = 2 * N_LANES
"""16-bit words at the head of a stream that hold the states."""
_LOW = 1 << 16


def normalised_frequencies(counts: NDArray[Any]) -> NDArray[np.uint16]:
    """Frequencies out of 4096 for each table; symbols that were seen keep one at least.

    Parameters
    ----------
    counts : ndarray, shape (n_tables, 256)
        How often each symbol was seen, or how likely it is; not all 0 in any table.

    Returns
    -------
    ndarray of uint16, shape (n_tables, 256)
        Each row adds up to 4096.
    """
    weights = np.asarray(counts, dtype=np.float64)
    shares = weights / weights.sum(axis=1, keepdims=True) * TABLE_SIZE
    found = np.where(weights > 0, np.maximum(1, np.floor(shares)), 0).astype(np.int64)
    for row, share in zip(found, shares, strict=True):
        _make_up_the_sum(row, share)
    return found.astype(np.uint16)


def _make_up_the_sum(row: NDArray[np.int64], share: NDArray[np.float64]) -> None:
    missing = TABLE_SIZE - int(row.sum())
    if missing > 0:
        for symbol in np.argsort(row - share, kind="stable")[:missing]:
            row[symbol] += 1
        row[int(np.argmax(row))] += TABLE_SIZE - int(row.sum())
    while row.sum() > TABLE_SIZE:
        room = row > 1
        cheapest = np.where(room, row - share, -np.inf)
        row[int(np.argmax(cheapest))] -= 1


@njit(cache=True, nogil=True)
def starts_of(frequencies: NDArray[np.uint16]) -> NDArray[np.uint16]:  # pragma: no cover
    """Where each symbol's slots begin, for each table."""
    starts = np.zeros(frequencies.shape, np.uint16)
    for table in range(frequencies.shape[0]):
        total = 0
        for symbol in range(N_SYMBOLS):
            starts[table, symbol] = total
            total += frequencies[table, symbol]
    return starts


@njit(cache=True, nogil=True)
def decoding_tables(frequencies: NDArray[np.uint16]) -> NDArray[np.uint32]:  # pragma: no cover
    """For each slot of each table: symbol (8 bits), frequency - 1 and offset (12 bits each)."""
    n_tables = frequencies.shape[0]
    tables = np.empty((n_tables, TABLE_SIZE), np.uint32)
    for table in range(n_tables):
        slot = 0
        for symbol in range(N_SYMBOLS):
            frequency = int(frequencies[table, symbol])
            for offset in range(frequency):
                tables[table, slot] = (symbol << 24) | ((frequency - 1) << 12) | offset
                slot += 1
    return tables


@njit(cache=True, nogil=True)
def encode_rows(
    contexts: NDArray[np.uint16],
    symbols: NDArray[np.uint8],
    n_rows: int,
    width: int,
    frequencies: NDArray[np.uint16],
    starts: NDArray[np.uint16],
    words: NDArray[np.uint16],
) -> int:  # pragma: no cover
    """Code ``n_rows`` rows of ``width`` symbols; column x belongs to state x mod 4.

    ``words`` is filled from its end; the stream is ``words[returned:]``. It must have room for
    as many words as there are symbols, and the states.
    """
    states = np.full(N_LANES, _LOW, np.uint64)
    at = words.size
    for row in range(n_rows - 1, -1, -1):
        first = row * width
        for x in range(width - 1, -1, -1):
            lane = x & (N_LANES - 1)
            context, symbol = contexts[first + x], symbols[first + x]
            frequency = np.uint64(frequencies[context, symbol])
            state = states[lane]
            if state >= (frequency << np.uint64(32 - TABLE_BITS)):
                at -= 1
                words[at] = np.uint16(state & np.uint64(0xFFFF))
                state >>= np.uint64(16)
            short, wanted = np.uint32(state), np.uint32(frequency)
            whole = np.uint32(short // wanted)
            rest = np.uint32(short - whole * wanted)
            states[lane] = (
                (np.uint64(whole) << np.uint64(TABLE_BITS))
                + np.uint64(rest)
                + np.uint64(starts[context, symbol])
            )
    for lane in range(N_LANES - 1, -1, -1):
        at -= 2
        words[at] = np.uint16(states[lane] & np.uint64(0xFFFF))
        words[at + 1] = np.uint16(states[lane] >> np.uint64(16))
    return at


@njit(cache=True, nogil=True, inline="always")
def read_states(words: NDArray[np.uint16], states: NDArray[np.uint64]) -> int:  # pragma: no cover
    """Take the states off the head of a stream; gives the position of the next word."""
    for lane in range(N_LANES):
        states[lane] = np.uint64(words[2 * lane]) | (
            np.uint64(words[2 * lane + 1]) << np.uint64(16)
        )
    return STATE_WORDS


@njit(cache=True, nogil=True)
def decode_row(
    words: NDArray[np.uint16],
    at: int,
    states: NDArray[np.uint64],
    contexts: NDArray[np.uint16],
    tables: NDArray[np.uint32],
    symbols: NDArray[np.uint8],
    width: int,
) -> int:  # pragma: no cover
    """Decode one row of ``width`` symbols; gives the position of the next word.

    ``words`` must be readable ``width`` words beyond the end of the stream.
    """
    mask, bits, twelve = np.uint64(TABLE_SIZE - 1), np.uint64(TABLE_BITS), np.uint32(0xFFF)
    low, sixteen, one = np.uint64(_LOW), np.uint64(16), np.uint64(1)
    s0, s1, s2, s3 = states[0], states[1], states[2], states[3]
    full = width - width % N_LANES
    for x in range(0, full, N_LANES):
        e0 = tables[contexts[x], s0 & mask]
        e1 = tables[contexts[x + 1], s1 & mask]
        e2 = tables[contexts[x + 2], s2 & mask]
        e3 = tables[contexts[x + 3], s3 & mask]
        symbols[x] = e0 >> np.uint32(24)
        symbols[x + 1] = e1 >> np.uint32(24)
        symbols[x + 2] = e2 >> np.uint32(24)
        symbols[x + 3] = e3 >> np.uint32(24)
        s0 = (np.uint64((e0 >> np.uint32(12)) & twelve) + one) * (s0 >> bits) + np.uint64(
            e0 & twelve
        )
        s1 = (np.uint64((e1 >> np.uint32(12)) & twelve) + one) * (s1 >> bits) + np.uint64(
            e1 & twelve
        )
        s2 = (np.uint64((e2 >> np.uint32(12)) & twelve) + one) * (s2 >> bits) + np.uint64(
            e2 & twelve
        )
        s3 = (np.uint64((e3 >> np.uint32(12)) & twelve) + one) * (s3 >> bits) + np.uint64(
            e3 & twelve
        )
        w = np.uint64(words[at])
        n = s0 < low
        s0 = (s0 << sixteen) | w if n else s0
        at += int(n)
        w = np.uint64(words[at])
        n = s1 < low
        s1 = (s1 << sixteen) | w if n else s1
        at += int(n)
        w = np.uint64(words[at])
        n = s2 < low
        s2 = (s2 << sixteen) | w if n else s2
        at += int(n)
        w = np.uint64(words[at])
        n = s3 < low
        s3 = (s3 << sixteen) | w if n else s3
        at += int(n)
    states[0], states[1], states[2], states[3] = s0, s1, s2, s3
    for x in range(full, width):
        lane = x - full
        state = states[lane]
        entry = tables[contexts[x], state & mask]
        symbols[x] = entry >> np.uint32(24)
        state = (np.uint64((entry >> np.uint32(12)) & twelve) + one) * (state >> bits) + np.uint64(
            entry & twelve
        )
        if state < low:
            state = (state << sixteen) | np.uint64(words[at])
            at += 1
        states[lane] = state
    return at
