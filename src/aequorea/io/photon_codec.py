"""The codec ``aequorea.photon`` of Zarr 3: photon-limited counts, a quarter of their size or less.

Registered as an entry point of ``zarr.codecs``: with this package installed, any program that uses
zarr-python reads such an array as counts, without importing anything else.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin
from zarr.abc.store import RangeByteRequest

from aequorea.errors import FileFormatError
from aequorea.photon.block import (
    decode_block,
    decode_pieces,
    encode_block,
    head_length,
    pieces_for,
    read_head,
)
from aequorea.photon.quantise import COUNT_TYPES, Quantiser

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from zarr.abc.store import ByteGetter
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

NAME = "aequorea.photon"
_FIRST_READ = 1 << 16


@dataclass(frozen=True, kw_only=True)
class PhotonCodec(ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin):
    """Counts as quantised, predicted, entropy-coded photons.

    Attributes
    ----------
    gain : float
        Counts per photon.
    zero : float
        Count of no light.
    step : float
        Width of the cells in which counts are told apart, in SD of the noise.
    lossless : bool
        Whether each count is kept, too.
    """

    is_fixed_size = False

    gain: float
    zero: float
    step: float = 0.5
    lossless: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The codec that metadata describe."""
        configuration = dict(data.get("configuration", {}))
        unknown = set(configuration) - {"gain", "zero", "step", "lossless"}
        if data.get("name") != NAME or unknown or not {"gain", "zero"} <= set(configuration):
            raise ValueError(f"not a configuration of the codec {NAME}: {data!r}")
        return cls(
            gain=float(configuration["gain"]),
            zero=float(configuration["zero"]),
            step=float(configuration.get("step", 0.5)),
            lossless=bool(configuration.get("lossless", False)),
        )

    def to_dict(self) -> dict[str, Any]:
        """What goes into the metadata of the array."""
        return {
            "name": NAME,
            "configuration": {
                "gain": self.gain,
                "zero": self.zero,
                "step": self.step,
                "lossless": self.lossless,
            },
        }

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuse arrays that are no movies of counts.

        Raises
        ------
        ValueError
            Unless the array has a time axis first, y and x last, chunks of one plane between
            them, and counts of 8 or 16 bits.
        """
        name = dtype.to_native_dtype().name
        if name not in COUNT_TYPES:
            raise ValueError(f"{NAME} stores {', '.join(COUNT_TYPES)}, not {name}")
        chunk = getattr(chunk_grid, "chunk_shape", None)
        if len(shape) < 3 or chunk is None or any(n != 1 for n in chunk[1:-2]):
            raise ValueError(
                f"{NAME} stores movies (t, …, y, x) in chunks of one plane (t, 1, …, y, x); "
                f"got shape {shape}, chunks {chunk}"
            )
        self.quantiser(name)

    def quantiser(self, dtype: str) -> Quantiser:
        """Its cells for a type of counts."""
        return _quantiser(self.gain, self.zero, self.step, dtype)

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Not known beforehand."""
        raise NotImplementedError(f"how small {NAME} makes a chunk depends on what is in it")

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        counts = _as_movie(chunk_array.as_numpy_array())
        fill = chunk_spec.fill_value
        encoded = await asyncio.to_thread(
            encode_block,
            _without_padding(counts, int(fill) if fill is not None else 0),
            self.quantiser(counts.dtype.name),
            lossless=self.lossless,
        )
        return chunk_spec.prototype.buffer.from_bytes(encoded)

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        dtype = chunk_spec.dtype.to_native_dtype()
        encoded = await asyncio.to_thread(
            decode_block, chunk_bytes.to_bytes(), self.quantiser(dtype.name)
        )
        counts = _with_padding(encoded, chunk_spec, dtype).reshape(chunk_spec.shape)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(counts)

    async def _decode_partial_single(
        self, byte_getter: ByteGetter, selection: Any, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        try:
            return await self._part_of(byte_getter, selection, chunk_spec)
        except FileFormatError as error:
            raise FileFormatError(f"{byte_getter}: {error}") from None

    async def _part_of(
        self, byte_getter: ByteGetter, selection: Any, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        dtype = chunk_spec.dtype.to_native_dtype()
        prototype = chunk_spec.prototype

        async def read(start: int, stop: int) -> bytes:
            part = await byte_getter.get(prototype, byte_range=RangeByteRequest(start, stop))
            return b"" if part is None else part.to_bytes()

        start = await read(0, _FIRST_READ)
        if not start:
            return None
        length = head_length(start)
        if length > len(start):
            start += await read(len(start), length)
        head = await asyncio.to_thread(read_head, start[:length], self.quantiser(dtype.name))
        items = _items(selection, chunk_spec.shape)
        box = [slice(min(i), max(i) + 1) if len(i) else slice(0, 0) for i in items]
        inside = [
            slice(min(b.start, n), min(b.stop, n))
            for b, n in zip((box[0], *box[-2:]), head.shape, strict=True)
        ]
        pieces = await _read_pieces(read, head, pieces_for(head, inside))
        counts = await asyncio.to_thread(decode_pieces, head, inside, pieces, dtype)
        shape = [b.stop - b.start for b in (box[0], *box[-2:])]
        whole = _padded(counts, shape, _fill(chunk_spec), dtype)
        whole = whole.reshape((shape[0], *(b.stop - b.start for b in box[1:-2]), *shape[1:]))
        return prototype.nd_buffer.from_numpy_array(_picked(whole, selection, box))


@cache
def _quantiser(gain: float, zero: float, step: float, dtype: str) -> Quantiser:
    return Quantiser(gain=gain, zero=zero, step=step, dtype=dtype)


async def _read_pieces(read: Any, head: Any, numbers: Sequence[int]) -> dict[int, bytes]:
    """The bytes of pieces; neighbours are read in one go."""
    stretches: list[list[int]] = []
    for number in sorted(numbers):
        if stretches and stretches[-1][-1] == number - 1:
            stretches[-1].append(number)
        else:
            stretches.append([number])

    async def stretch(members: list[int]) -> dict[int, bytes]:
        first = int(head.offsets[members[0]])
        data = await read(first, int(head.offsets[members[-1]] + head.lengths[members[-1]]))
        return {
            k: data[int(head.offsets[k]) - first : int(head.offsets[k] + head.lengths[k]) - first]
            for k in members
        }

    found: dict[int, bytes] = {}
    for part in await asyncio.gather(*(stretch(members) for members in stretches)):
        found |= part
    return found


def _as_movie(chunk: NDArray[Any]) -> NDArray[Any]:
    return chunk.reshape(chunk.shape[0], *chunk.shape[-2:])


def _fill(spec: ArraySpec) -> int:
    return int(spec.fill_value) if spec.fill_value is not None else 0


def _without_padding(counts: NDArray[Any], fill: int) -> NDArray[Any]:
    """Leave out frames, rows and columns at the far ends that hold nothing but the fill value."""
    for axis in range(3):
        if (np.take(counts, -1, axis=axis) == fill).all():
            others = tuple(k for k in range(3) if k != axis)
            filled = np.flatnonzero((counts != fill).any(axis=others))
            n = int(filled[-1]) + 1 if filled.size else 1
            counts = counts.take(range(n), axis=axis)
    return counts


def _with_padding(counts: NDArray[Any], spec: ArraySpec, dtype: Any) -> NDArray[Any]:
    return _padded(counts, [spec.shape[0], *spec.shape[-2:]], _fill(spec), dtype)


def _padded(counts: NDArray[Any], shape: Sequence[int], fill: int, dtype: Any) -> NDArray[Any]:
    if counts.shape == tuple(shape):
        return counts
    if any(n > m for n, m in zip(counts.shape, shape, strict=True)):
        raise FileFormatError("a photon block is larger than its chunk; its metadata were changed")
    whole = np.full(shape, fill, dtype)
    whole[tuple(slice(0, n) for n in counts.shape)] = counts
    return whole


def _items(selection: Any, shape: Sequence[int]) -> list[Sequence[int]]:
    chosen = selection if isinstance(selection, tuple) else (selection,)
    found: list[Sequence[int]] = []
    for item, n in zip(chosen, shape, strict=True):
        if isinstance(item, slice):
            found.append(range(*item.indices(n)))
        else:
            found.append([int(k) for k in np.unique(np.asarray(item))])
    return found


def _picked(whole: NDArray[Any], selection: Any, box: Sequence[slice]) -> NDArray[Any]:
    chosen = selection if isinstance(selection, tuple) else (selection,)
    moved: list[Any] = []
    for item, span in zip(chosen, box, strict=True):
        if isinstance(item, slice):
            moved.append(slice(None, None, item.step))
        else:
            moved.append(np.asarray(item) - span.start if np.ndim(item) else int(item) - span.start)
    return np.array(whole[tuple(moved)], order="C")
