"""One block of a photon-limited movie as bytes: tiles that can be read one by one.

Layout (little endian): a head of fixed size; tables; an index with length and checksum of every
tile; the tiles. Tiles of 32 frames lie frames first, so that a frame is one stretch of the file
and the trace of a pixel a few small ones.
"""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from aequorea.errors import FileFormatError, InputError
from aequorea.photon.predictor import (
    ESCAPE,
    MIDDLE,
    N_CONTEXTS,
    N_PHASES,
    UNIT,
    _above,
    _predict_row,
    _remember,
    _smooth_deviation,
    model_tile,
    residual_of,
    weight_sums,
    weights_from,
)
from aequorea.photon.rans import (
    N_LANES,
    N_SYMBOLS,
    TABLE_SIZE,
    decode_row,
    decoding_tables,
    encode_rows,
    normalised_frequencies,
    read_states,
    starts_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from aequorea.photon.quantise import Quantiser

MAGIC = b"AQPH"
VERSION = 1
TILE = (32, 32, 32)
_HEAD = struct.Struct("<4sHH3I3HHhhIHIII")
"""magic, version, flags, shape, tile, code of the lowest, two weights, top, number of tables,
bytes of the packed tables, bytes before the first tile, checksum of those after the head."""
HEAD_BYTES = _HEAD.size
_LOSSLESS = 1
_ENTRY = np.dtype([("bytes", "<u4"), ("crc32", "<u4")])
_STATISTICS_PIXELS = 1 << 21
_MEAN_TABLE = N_CONTEXTS
_FIRST_FINE = N_CONTEXTS + 1
_LEAST_FOR_OWN_TABLE = 2000
_PRIOR_WEIGHT = 8.0


@dataclass(frozen=True)
class _Layers:
    """How the counts inside a cell are coded, by code above the lowest of the block.

    ``fine`` and ``low`` are the tables of the high and the ``shift`` low bits of the place in the
    cell; ``first`` is the lowest count of each cell.
    """

    first: NDArray[np.int32]
    fine: NDArray[np.uint16]
    low: NDArray[np.uint16]
    shift: NDArray[np.uint8]


def encode_block(
    counts: NDArray[Any], quantiser: Quantiser, *, lossless: bool = False, workers: int = 1
) -> bytes:
    """A block of a movie as bytes.

    Parameters
    ----------
    counts : ndarray, shape (t, y, x)
        Of the quantiser's type, at least one of each.
    quantiser : Quantiser
    lossless : bool, default False
        Keep every count: cells say where to look, further symbols which count it was.
    workers : int, default 1
        Threads; changes no byte.

    Raises
    ------
    InputError
        For another type or shape.
    """
    counts = np.ascontiguousarray(counts)
    if counts.ndim != 3 or not counts.size:
        raise InputError(f"a block has axes t, y, x, none of them empty, got shape {counts.shape}")
    if counts.dtype.name != quantiser.dtype:
        raise InputError(f"counts of type {counts.dtype}; expected {quantiser.dtype}")
    codes = np.empty(counts.shape, np.uint16)
    tiles = _tiles(counts.shape, TILE)
    columns = [tile[1:] for tile in tiles if tile[0].start == 0]
    with ThreadPoolExecutor(max(1, workers)) as pool:

        def map_counts(frames: slice) -> None:
            _to_codes(counts[frames], quantiser.codes, quantiser.lowest, codes[frames])

        list(pool.map(map_counts, _spans(len(counts), TILE[0])))
        lowest = int(codes.min())
        top = int(codes.max()) - lowest
        codes -= np.uint16(lowest)
        coarse = np.floor(codes.sum(axis=0, dtype=np.int64) * 4 / len(codes) + 2.5).astype(np.int32)
        means = coarse * np.int32(UNIT // 4)
        sample = tiles[:: max(1, codes.size // _STATISTICS_PIXELS)]
        sums = np.zeros(5)
        for tile in sample:
            weight_sums(codes[tile], means[tile[1:]], sums)
        weights = weights_from(sums)
        tallies = np.zeros((_FIRST_FINE, N_SYMBOLS))
        for tile in sample:
            _tally(codes[tile], means[tile[1:]], *weights, top, tallies)
        for column in columns:
            _tally_means(coarse[column], tallies[_MEAN_TABLE])
        rows = normalised_frequencies(_smoothed(tallies))
        cells = quantiser.edges[lowest : lowest + top + 2]
        layers = _no_layers(cells)
        if lossless:
            some = tiles[:: max(1, codes.size // (4 * _STATISTICS_PIXELS))]
            layers, further = _fine_layers(cells, [(counts[t], codes[t]) for t in some])
            rows = np.concatenate([rows, further])
        starts = starts_of(rows)

        def encode_means(column: tuple[slice, ...]) -> bytes:
            return _encoded_means(coarse[column], rows, starts)

        def encode(tile: tuple[slice, ...]) -> bytes:
            return _encoded_tile(
                counts[tile],
                codes[tile],
                means[tile[1:]],
                weights,
                top,
                lossless,
                layers,
                rows,
                starts,
            )

        pieces = [*pool.map(encode_means, columns), *pool.map(encode, tiles)]
    flags = _LOSSLESS if lossless else 0
    packed = zlib.compress(_table_bytes(rows, layers), 6)
    index = np.array([(len(p), zlib.crc32(p)) for p in pieces], dtype=_ENTRY).tobytes()
    head = _HEAD.pack(
        MAGIC,
        VERSION,
        flags,
        *counts.shape,
        *TILE,
        lowest,
        *weights,
        top,
        len(rows),
        len(packed),
        HEAD_BYTES + len(packed) + len(index),
        zlib.crc32(packed + index),
    )
    return b"".join([head, packed, index, *pieces])


@dataclass(frozen=True, kw_only=True)
class BlockHead:
    """What has to be known of a block before any tile of it is read.

    Attributes
    ----------
    shape : tuple of int
        (t, y, x).
    lossless : bool
    offsets, lengths, checksums : ndarray of int
        Of each piece: first the means of each column of tiles, then the tiles, frames first.
    """

    shape: tuple[int, int, int]
    tile: tuple[int, int, int]
    lossless: bool
    top: int
    weights: tuple[int, int]
    tables: NDArray[np.uint32]
    layers: _Layers
    middles: NDArray[np.int32]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    checksums: NDArray[np.uint32]

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tiles along each axis."""
        t, y, x = (-(-n // size) for n, size in zip(self.shape, self.tile, strict=True))
        return t, y, x


def head_length(start: bytes) -> int:
    """How many bytes the head with tables and index has, from the first :data:`HEAD_BYTES`.

    Raises
    ------
    FileFormatError
        If these are not the first bytes of a block.
    """
    if len(start) < HEAD_BYTES:
        raise FileFormatError(f"{len(start)} bytes are too few for a photon block; it is cut short")
    fields = _HEAD.unpack_from(start)
    if fields[0] != MAGIC:
        raise FileFormatError("not a photon block (it does not begin with AQPH)")
    if fields[1] != VERSION:
        raise FileFormatError(
            f"photon block of version {fields[1]}; this aequorea reads {VERSION}: update it"
        )
    return int(fields[-2])


def read_head(head: bytes, quantiser: Quantiser) -> BlockHead:
    """Tables and index of a block, checked.

    Parameters
    ----------
    head : bytes
        As many as :func:`head_length` says.
    quantiser : Quantiser
        That of the encoder.

    Raises
    ------
    FileFormatError
        If they were changed or cut short.
    """
    if len(head) < head_length(head):
        raise FileFormatError("the head of a photon block is cut short")
    (_, _, flags, *shape_and_tile, lowest, above, past, top, n_tables, n_packed, end, crc) = (
        _HEAD.unpack_from(head)
    )
    shape, tile = tuple(shape_and_tile[:3]), tuple(shape_and_tile[3:])
    rest = head[HEAD_BYTES:end]
    if zlib.crc32(rest) != crc or min(*shape, *tile) < 1 or lowest + top + 2 > len(quantiser.edges):
        raise FileFormatError("the head of a photon block was damaged (its checksum is wrong)")
    cells = quantiser.edges[lowest : lowest + top + 2]
    rows, layers = _tables_from(zlib.decompress(rest[:n_packed]), n_tables, cells)
    index = np.frombuffer(rest[n_packed:], dtype=_ENTRY)
    lengths = index["bytes"].astype(np.int64)
    found = BlockHead(
        shape=(shape[0], shape[1], shape[2]),
        tile=(tile[0], tile[1], tile[2]),
        lossless=bool(flags & _LOSSLESS),
        top=top,
        weights=(above, past),
        tables=decoding_tables(rows),
        layers=layers,
        middles=quantiser.sixteenths[lowest : lowest + top + 1],
        offsets=end + np.cumsum(lengths) - lengths,
        lengths=lengths,
        checksums=index["crc32"],
    )
    n_t, n_y, n_x = found.grid
    if len(index) != (n_t + 1) * n_y * n_x:
        raise FileFormatError("the index of a photon block does not fit its shape")
    return found


def pieces_for(head: BlockHead, selection: Sequence[slice]) -> list[int]:
    """Numbers of the pieces that have to be read for a part of the block.

    Parameters
    ----------
    head : BlockHead
    selection : sequence of slice, one per axis
        With step 1.
    """
    t, y, x = _touched(head, selection)
    _, n_y, n_x = head.grid
    columns = [row * n_x + column for row in y for column in x]
    return columns + [(1 + frame) * n_y * n_x + c for frame in t for c in columns]


def decode_pieces(
    head: BlockHead,
    selection: Sequence[slice],
    pieces: Mapping[int, bytes],
    dtype: Any,
    *,
    workers: int = 1,
) -> NDArray[Any]:
    """A part of a block as counts.

    Parameters
    ----------
    head : BlockHead
    selection : sequence of slice, one per axis
        With step 1.
    pieces : mapping of int to bytes
        Those that :func:`pieces_for` names.
    dtype : dtype
        Of the counts.
    workers : int, default 1
        Threads; changes no count.

    Raises
    ------
    FileFormatError
        If a piece was damaged; it says which pixels and frames.
    """
    spans = [range(*s.indices(n)) for s, n in zip(selection, head.shape, strict=True)]
    out = np.empty([len(s) for s in spans], dtype)
    t_tiles, y_tiles, x_tiles = _touched(head, selection)
    _, n_y, n_x = head.grid

    def decode_column(place: tuple[int, int]) -> None:
        column = place[0] * n_x + place[1]
        ys, xs = (
            _extent(k, size, n)
            for k, size, n in zip(place, head.tile[1:], head.shape[1:], strict=True)
        )
        where = f"rows {ys.start}-{ys.stop - 1}, columns {xs.start}-{xs.stop - 1}"
        words, escapes = _opened(head, column, pieces, f"the mean of {where}")
        means = np.empty((len(ys), len(xs)), np.int32)
        _decode_means(words, escapes, head.tables, means)
        for k in t_tiles:
            ts = _extent(k, head.tile[0], head.shape[0])
            number = (1 + k) * n_y * n_x + column
            words, escapes = _opened(
                head, number, pieces, f"frames {ts.start}-{ts.stop - 1}, {where}"
            )
            counts = np.empty((len(ts), len(ys), len(xs)), dtype)
            _decode_tile(
                words,
                escapes,
                means,
                *head.weights,
                head.top,
                head.tables,
                head.lossless,
                head.layers.first,
                head.layers.fine,
                head.layers.low,
                head.layers.shift,
                head.middles,
                (ts.start, ys.start, xs.start),
                counts,
            )
            inner, target = [], []
            for extent, span in zip((ts, ys, xs), spans, strict=True):
                begin, end = max(extent.start, span.start), min(extent.stop, span.stop)
                inner.append(slice(begin - extent.start, end - extent.start))
                target.append(slice(begin - span.start, end - span.start))
            out[tuple(target)] = counts[tuple(inner)]

    places = [(y, x) for y in y_tiles for x in x_tiles]
    if workers > 1 and len(places) > 1:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(decode_column, places))
    else:
        for place in places:
            decode_column(place)
    return out


def decode_block(
    data: bytes,
    quantiser: Quantiser,
    selection: Sequence[slice] | None = None,
    *,
    workers: int = 1,
) -> NDArray[Any]:
    """A block, or a part of it, as counts.

    Parameters
    ----------
    data : bytes
        From :func:`encode_block`.
    quantiser : Quantiser
        That of the encoder.
    selection : sequence of slice, optional
        One per axis, with step 1; everything if not given.
    workers : int, default 1
        Threads; changes no count.

    Raises
    ------
    FileFormatError
        If the bytes were changed or cut short.

    Examples
    --------
    >>> import numpy as np
    >>> from aequorea.photon import Quantiser
    >>> movie = np.random.default_rng(0).poisson(5, (40, 8, 8)).astype(np.uint16)
    >>> photons = Quantiser(gain=1.0, zero=0.0, step=0.5, dtype="uint16")
    >>> stored = encode_block(movie, photons, lossless=True)
    >>> bool((decode_block(stored, photons) == movie).all())
    True
    """
    head = read_head(data[: head_length(data)], quantiser)
    wanted = [slice(None)] * 3 if selection is None else list(selection)
    view = memoryview(data)
    pieces = {
        k: bytes(view[head.offsets[k] : head.offsets[k] + head.lengths[k]])
        for k in pieces_for(head, wanted)
    }
    return decode_pieces(head, wanted, pieces, quantiser.dtype, workers=workers)


def _spans(n: int, size: int) -> list[slice]:
    return [slice(k, min(k + size, n)) for k in range(0, n, size)]


def _tiles(shape: Sequence[int], tile: Sequence[int]) -> list[tuple[slice, ...]]:
    return list(product(*(_spans(n, size) for n, size in zip(shape, tile, strict=True))))


def _extent(k: int, size: int, n: int) -> range:
    return range(k * size, min((k + 1) * size, n))


def _touched(head: BlockHead, selection: Sequence[slice]) -> list[range]:
    found = []
    for item, n, size in zip(selection, head.shape, head.tile, strict=True):
        span = range(*item.indices(n))
        if span.step != 1:
            raise InputError(f"parts of a photon block have step 1, got {item}")
        found.append(range(span.start // size, -(-span.stop // size)) if len(span) else range(0))
    return found


def _opened(
    head: BlockHead, number: int, pieces: Mapping[int, bytes], where: str
) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
    """Words and escaped values of a piece, readable some way beyond its end."""
    piece = pieces[number]
    if len(piece) != head.lengths[number] or zlib.crc32(piece) != head.checksums[number]:
        raise FileFormatError(f"a photon block was damaged: checksum of {where} is wrong")
    n_words = int.from_bytes(piece[:4], "little")
    words = np.zeros(n_words + 8, np.uint16)
    words[:n_words] = np.frombuffer(piece, "<u2", n_words, 4)
    return words, np.frombuffer(piece, "<u4", offset=4 + 2 * n_words).astype(np.uint32)


def _closed(words: NDArray[np.uint16], escapes: NDArray[np.uint32]) -> bytes:
    parts = [len(words).to_bytes(4, "little"), words.astype("<u2").tobytes()]
    return b"".join([*parts, escapes.astype("<u4").tobytes()])


def _smoothed(tallies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tallies with a little of what is usual at the same phase, and room for an escape."""
    found = tallies.copy()
    found[:, ESCAPE] += 0.5
    models = found[:N_CONTEXTS].reshape(-1, N_PHASES, N_SYMBOLS)
    usual = models.sum(axis=0)
    models += _PRIOR_WEIGHT * usual / np.maximum(usual.sum(axis=1, keepdims=True), 1)
    return found


def _no_layers(cells: NDArray[np.int32]) -> _Layers:
    n = len(cells) - 1
    none = np.zeros(n, np.uint16)
    return _Layers(cells.astype(np.int32), none, none, none.astype(np.uint8))


def _fine_layers(
    cells: NDArray[np.int32], sample: Sequence[tuple[NDArray[Any], NDArray[np.uint16]]]
) -> tuple[_Layers, NDArray[np.uint16]]:
    """Which table codes the place of a count in its cell, and those tables."""
    widths = np.diff(cells)
    shift = np.maximum(0, np.ceil(np.log2(np.maximum(widths, 1))).astype(int) - 8)
    n_high = ((widths - 1) >> shift) + 1
    tallies = np.zeros((len(widths), N_SYMBOLS))
    for counts, codes in sample:
        _tally_places(counts, codes, cells, shift.astype(np.uint8), tallies)
    tables: list[NDArray[np.float64]] = []
    known: dict[int, int] = {}

    def even(n: int) -> int:
        if n not in known:
            known[n] = _FIRST_FINE + len(tables)
            tables.append((np.arange(N_SYMBOLS) < n).astype(np.float64))
        return known[n]

    fine, low = np.empty(len(widths), np.uint16), np.empty(len(widths), np.uint16)
    for code, (n, bits) in enumerate(zip(n_high, shift, strict=True)):
        low[code] = even(1 << int(bits))
        if n > 1 and tallies[code].sum() >= _LEAST_FOR_OWN_TABLE:
            fine[code] = _FIRST_FINE + len(tables)
            tables.append(tallies[code] + (np.arange(N_SYMBOLS) < n))
        else:
            fine[code] = even(int(n))
    rows = normalised_frequencies(np.array(tables))
    return _Layers(cells.astype(np.int32), fine, low, shift.astype(np.uint8)), rows


def _table_bytes(rows: NDArray[np.uint16], layers: _Layers) -> bytes:
    places = [layers.fine.astype("<u2"), layers.low.astype("<u2"), layers.shift.astype("<u2")]
    return rows.astype("<u2").T.tobytes() + b"".join(p.tobytes() for p in places)


def _tables_from(
    data: bytes, n_tables: int, cells: NDArray[np.int32]
) -> tuple[NDArray[np.uint16], _Layers]:
    values = np.frombuffer(data, "<u2").astype(np.uint16)
    n_codes = len(cells) - 1
    if values.size != n_tables * N_SYMBOLS + 3 * n_codes or n_tables < _FIRST_FINE:
        raise FileFormatError("the tables of a photon block do not fit its head")
    rows = np.ascontiguousarray(values[: n_tables * N_SYMBOLS].reshape(N_SYMBOLS, n_tables).T)
    fine, low, shift = values[n_tables * N_SYMBOLS :].reshape(3, n_codes)
    if (rows.sum(axis=1, dtype=np.int64) != TABLE_SIZE).any() or max(*fine, *low) >= n_tables:
        raise FileFormatError("the tables of a photon block are not those of an encoder")
    return rows, _Layers(cells.astype(np.int32), fine.copy(), low.copy(), shift.astype(np.uint8))


def _encoded_means(
    coarse: NDArray[np.int32], rows: NDArray[np.uint16], starts: NDArray[np.uint16]
) -> bytes:
    symbols, escapes = _mean_symbols(np.ascontiguousarray(coarse))
    contexts = np.full(symbols.size, _MEAN_TABLE, np.uint16)
    words = np.empty(symbols.size + 2 * N_LANES, np.uint16)
    at = encode_rows(contexts, symbols, *coarse.shape, rows, starts, words)
    return _closed(words[at:], escapes)


def _encoded_tile(
    counts: NDArray[Any],
    codes: NDArray[np.uint16],
    means: NDArray[np.int32],
    weights: tuple[int, int],
    top: int,
    lossless: bool,
    layers: _Layers,
    rows: NDArray[np.uint16],
    starts: NDArray[np.uint16],
) -> bytes:
    contexts, symbols = np.empty(codes.size, np.uint16), np.empty(codes.size, np.uint8)
    model_tile(codes, means, *weights, top, contexts, symbols)
    _escape_unseen(contexts, symbols, rows)
    escapes = codes.ravel()[symbols == ESCAPE].astype(np.uint32)
    n_frames, height, width = codes.shape
    n_rows = n_frames * height
    if lossless:
        contexts, symbols = _interleaved(
            counts, codes, contexts, symbols, layers.first, layers.fine, layers.low, layers.shift
        )
        n_rows *= 3
    words = np.empty(symbols.size + 2 * N_LANES, np.uint16)
    at = encode_rows(contexts, symbols, n_rows, width, rows, starts, words)
    return _closed(words[at:], escapes)


@njit(cache=True, nogil=True)
def _to_codes(
    counts: NDArray[Any], lookup: NDArray[np.uint16], lowest: int, codes: NDArray[np.uint16]
) -> None:  # pragma: no cover
    flat, out = counts.reshape(-1), codes.reshape(-1)
    for k in range(flat.size):
        out[k] = lookup[np.int64(flat[k]) - lowest]


@njit(cache=True, nogil=True)
def _tally(
    codes: NDArray[np.uint16],
    means: NDArray[np.int32],
    weight_up: int,
    weight_past: int,
    top: int,
    tallies: NDArray[np.float64],
) -> None:  # pragma: no cover
    contexts, symbols = np.empty(codes.size, np.uint16), np.empty(codes.size, np.uint8)
    model_tile(codes, means, weight_up, weight_past, top, contexts, symbols)
    for k in range(codes.size):
        tallies[contexts[k], symbols[k]] += 1


@njit(cache=True, nogil=True, inline="always")
def _expected_mean(coarse: NDArray[np.int32], y: int, x: int) -> Any:  # pragma: no cover
    if y > 0 and x > 0:
        return (coarse[y, x - 1] + coarse[y - 1, x]) >> 1
    if x > 0:
        return coarse[y, x - 1]
    if y > 0:
        return coarse[y - 1, x]
    return 0


@njit(cache=True, nogil=True)
def _mean_symbols(
    coarse: NDArray[np.int32],
) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:  # pragma: no cover
    height, width = coarse.shape
    symbols = np.empty(coarse.size, np.uint8)
    escapes = np.empty(coarse.size, np.uint32)
    n = 0
    for y in range(height):
        for x in range(width):
            symbol = coarse[y, x] - _expected_mean(coarse, y, x) + MIDDLE
            if 0 <= symbol < ESCAPE and (y > 0 or x > 0):
                symbols[y * width + x] = symbol
            else:
                symbols[y * width + x] = ESCAPE
                escapes[n] = coarse[y, x]
                n += 1
    return symbols, escapes[:n].copy()


def _tally_means(coarse: NDArray[np.int32], tally: NDArray[np.float64]) -> None:
    tally += np.bincount(_mean_symbols(np.ascontiguousarray(coarse))[0], minlength=N_SYMBOLS)


@njit(cache=True, nogil=True)
def _tally_places(
    counts: NDArray[Any],
    codes: NDArray[np.uint16],
    first: NDArray[np.int32],
    shift: NDArray[np.uint8],
    tallies: NDArray[np.float64],
) -> None:  # pragma: no cover
    for t in range(counts.shape[0]):
        for y in range(counts.shape[1]):
            for x in range(counts.shape[2]):
                code = codes[t, y, x]
                tallies[code, (np.int64(counts[t, y, x]) - first[code]) >> shift[code]] += 1


@njit(cache=True, nogil=True)
def _escape_unseen(
    contexts: NDArray[np.uint16], symbols: NDArray[np.uint8], rows: NDArray[np.uint16]
) -> None:  # pragma: no cover
    for k in range(symbols.size):
        if rows[contexts[k], symbols[k]] == 0:
            symbols[k] = ESCAPE


@njit(cache=True, nogil=True)
def _interleaved(
    counts: NDArray[Any],
    codes: NDArray[np.uint16],
    contexts: NDArray[np.uint16],
    symbols: NDArray[np.uint8],
    first: NDArray[np.int32],
    fine: NDArray[np.uint16],
    low: NDArray[np.uint16],
    shift: NDArray[np.uint8],
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:  # pragma: no cover
    """Rows of codes, of high and of low bits of the place in the cell, in turn."""
    n_frames, height, width = codes.shape
    all_contexts = np.empty(3 * codes.size, np.uint16)
    all_symbols = np.empty(3 * codes.size, np.uint8)
    row = 0
    for t in range(n_frames):
        for y in range(height):
            source, target = row * width, 3 * row * width
            for x in range(width):
                code = codes[t, y, x]
                place = np.int64(counts[t, y, x]) - first[code]
                high = place >> shift[code]
                all_contexts[target + x] = contexts[source + x]
                all_symbols[target + x] = symbols[source + x]
                all_contexts[target + width + x] = fine[code]
                all_symbols[target + width + x] = high
                all_contexts[target + 2 * width + x] = low[code]
                all_symbols[target + 2 * width + x] = place - (high << shift[code])
            row += 1
    return all_contexts, all_symbols


@njit(cache=True, nogil=True)
def _decode_means(
    words: NDArray[np.uint16],
    escapes: NDArray[np.uint32],
    tables: NDArray[np.uint32],
    means: NDArray[np.int32],
) -> None:  # pragma: no cover
    height, width = means.shape
    contexts = np.full(width, _MEAN_TABLE, np.uint16)
    symbols = np.empty(width, np.uint8)
    states = np.zeros(N_LANES, np.uint64)
    coarse = np.zeros((height, width), np.int32)
    at, taken = read_states(words, states), 0
    for y in range(height):
        at = decode_row(words, at, states, contexts, tables, symbols, width)
        for x in range(width):
            if symbols[x] == ESCAPE:
                coarse[y, x] = escapes[taken] if taken < escapes.size else 0
                taken += 1
            else:
                coarse[y, x] = _expected_mean(coarse, y, x) + np.int32(symbols[x]) - MIDDLE
            means[y, x] = coarse[y, x] * (UNIT // 4)


@njit(cache=True, nogil=True)
def _decode_tile(
    words: NDArray[np.uint16],
    escapes: NDArray[np.uint32],
    means: NDArray[np.int32],
    weight_up: int,
    weight_past: int,
    top: int,
    tables: NDArray[np.uint32],
    lossless: bool,
    first: NDArray[np.int32],
    fine: NDArray[np.uint16],
    low: NDArray[np.uint16],
    shift: NDArray[np.uint8],
    middles: NDArray[np.int32],
    origin: tuple[int, int, int],
    counts: NDArray[Any],
) -> None:  # pragma: no cover
    n_frames, height, width = counts.shape
    residuals = np.zeros((height, width), np.int32)
    deviation = np.zeros((height, width), np.int32)
    columns = np.zeros((height, width), np.int32)
    smooth = np.zeros((height, width), np.int32)
    up = np.zeros(width, np.int32)
    bases = np.zeros(width, np.int32)
    codes = np.zeros(width, np.int32)
    contexts = np.zeros(width, np.uint16)
    symbols = np.zeros(width, np.uint8)
    lower = np.zeros(width, np.uint8)
    states = np.zeros(N_LANES, np.uint64)
    zero, highest = np.int32(0), np.int32(top)
    at, taken = read_states(words, states), 0
    for t in range(n_frames):
        if t > 0:
            _remember(residuals, deviation)
            _smooth_deviation(deviation, columns, smooth)
        for y in range(height):
            _above(residuals, y, up)
            _predict_row(means[y], up, smooth[y], weight_up, weight_past, top, contexts, bases)
            at = decode_row(words, at, states, contexts, tables, symbols, width)
            n_escaped = 0
            for x in range(width):
                code = np.int32(np.int32(bases[x] + np.int32(symbols[x])) - np.int32(MIDDLE))
                code = max(code, zero)
                codes[x] = min(code, highest)
                n_escaped += int(symbols[x] == ESCAPE)
            if n_escaped:
                for x in range(width):
                    if symbols[x] == ESCAPE:
                        escaped = escapes[taken] if taken < escapes.size else np.uint32(0)
                        codes[x] = np.int32(min(escaped, np.uint32(top)))
                        taken += 1
            for x in range(width):
                code = codes[x]
                residuals[y, x] = residual_of(code, means[y, x])
            if lossless:
                for x in range(width):
                    contexts[x] = fine[codes[x]]
                at = decode_row(words, at, states, contexts, tables, symbols, width)
                for x in range(width):
                    contexts[x] = low[codes[x]]
                at = decode_row(words, at, states, contexts, tables, lower, width)
                for x in range(width):
                    high = np.int32(symbols[x]) << np.int32(shift[codes[x]])
                    counts[t, y, x] = first[codes[x]] + high + np.int32(lower[x])
            else:
                # a value between two counts: each in its turn, over four rows and four columns
                frame = origin[0] + t
                turn = np.int32((origin[1] + y + (frame >> 2)) & 3)
                for x in range(width):
                    part = np.int32(4 * ((origin[2] + x + frame) & 3) + turn)
                    counts[t, y, x] = np.int32(middles[codes[x]] + part) >> np.int32(4)
