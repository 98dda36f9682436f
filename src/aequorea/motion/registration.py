"""Registering a movie: a reference from frames spread over it, then one pass over all frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

from aequorea.errors import InputError
from aequorea.motion.elastic import Elastic, nodes_for
from aequorea.motion.frames import Preparation, evenly_spread
from aequorea.motion.line_phase import align_rows, line_phase
from aequorea.motion.matched import MatchedFilter, Shifts, spectra_of
from aequorea.motion.parameters import MotionParameters
from aequorea.motion.reference import Reference, align, averaged
from aequorea.motion.warp import undo_motion, undo_shifts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from numpy.typing import NDArray

    from aequorea.model.lazy import LazyArray

    FloatArray = NDArray[np.float64]
    Told = Callable[[int, int], None]

__all__ = ["Finder", "Motion", "batches", "find_motion", "find_reference", "held_still", "register"]

BATCH_FRAMES = 32  # always: results do not depend on memory or workers
_RUN_FRAMES = 4
_GAIN_SIDE_PX = 256
_FEW = 60  # frames that the reference is first made of
_KEPT_BY_BINS = 0.8  # share of the information on shifts that binning keeps
_ERROR_PX, _NODE_ERROR_PX = 0.03, 0.25  # or standard errors of the whole and of a place
_FEWEST_PX = 48  # of a binned frame's shorter side
_SAMPLE_BYTES = 400 * 2**20
_FIRST_STEP_PX = 0.5
_DIGITS = 4  # of shifts: far below any error, above the rounding of transforms
_BLANK, _LIMIT = "nothing to be seen", "at the largest shift"
_UNLIKE, _ASKED = "unlike the reference", "left out as asked"
_TOO_BENT = "places move too far from the whole"


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """Where the frames of a movie have moved.

    Attributes
    ----------
    shift_yx_px : ndarray, shape (t, 2), px
        What is at p in the reference is at p + shift in the frame. Marked frames that could not be
        placed have the shift of their neighbours, interpolated along time.
    field_yx_px : ndarray of float32, shape (t, rows, columns, 2), px, or None
        The same for nodes that span the frame evenly, from corner pixel to corner pixel; ``None``
        if frames were moved as a whole.
    error_px : ndarray, shape (t, 2), px
        Standard errors of the shifts of the whole.
    likeness : ndarray, shape (t,)
        Contrast of each frame over that of the reference.
    snr : ndarray, shape (t,)
        How far the match with the reference rises above chance, in SD.
    reason : tuple of str, length t
        Why a frame is marked; empty for good ones.
    line_phase_px : float, px
        How far odd rows lie to the right of even ones; 0 where that was not looked for.
    """

    shift_yx_px: FloatArray
    field_yx_px: NDArray[np.float32] | None
    error_px: FloatArray
    likeness: FloatArray
    snr: FloatArray
    reason: tuple[str, ...]
    line_phase_px: float = 0.0

    @property
    def good(self) -> NDArray[np.bool_]:
        """Frames that are not marked, shape (t,)."""
        return np.array([not r for r in self.reason], dtype=bool)

    def undone(
        self,
        frames: NDArray[Any],
        where: slice,
        *,
        interpolation: Any = "cubic",
        edges: Any = "nan",
    ) -> NDArray[np.float32]:
        """Frames ``where`` of the movie with their motion undone."""
        options = {"interpolation": interpolation, "edges": edges}
        if self.line_phase_px:
            frames = align_rows(frames, self.line_phase_px)
        if self.field_yx_px is None:
            return undo_shifts(frames, self.shift_yx_px[where], **options)
        return undo_motion(frames, self.field_yx_px[where], **options)


@dataclass(frozen=True, kw_only=True, eq=False)
class Finder:
    """What finds the motion of single frames of a movie.

    Attributes
    ----------
    preparation : Preparation
    reference : Reference
        Prepared, and binned, as frames are.
    max_shift_px : float, px
        Of the movie's pixels.
    elastic : Elastic or None
    nodes : (int, int) or None
    band : ndarray or None
    shape : (int, int)
        Of frames.
    still : ndarray of float32, shape (y, x)
        Mean of the frames of the reference, motion undone, in the movie's own unit.
    line_phase_px : float, px
    """

    preparation: Preparation
    reference: Reference
    max_shift_px: float
    elastic: Elastic | None
    band: FloatArray | None
    shape: tuple[int, int]
    still: NDArray[np.float32]
    line_phase_px: float = 0.0

    def matched(self) -> MatchedFilter:
        """The filter for whole-frame shifts."""
        reach = self.max_shift_px / self.preparation.bins
        return self.reference.matched((reach, reach), self.band)

    def batch(
        self, frames: NDArray[Any], matched: MatchedFilter, workers: int = 1
    ) -> tuple[Shifts, NDArray[np.float32] | None]:
        """Shifts and fields of a few frames, in the movie's pixels."""
        bins = self.preparation.bins
        prepared = self.preparation(frames)
        spectra = spectra_of(prepared, workers)
        found = matched.shifts(spectra)
        shifts = replace(
            found, yx_px=np.round(found.yx_px * bins, _DIGITS), error_px=found.error_px * bins
        )
        if self.elastic is None:
            return shifts, None
        nodes = self.elastic.nodes
        start = np.nan_to_num(found.yx_px)[:, None, None] + np.zeros((*nodes, 2))
        field, _ = self.elastic.fields(spectra, start, found.likeness, workers)
        return shifts, np.round(self._in_pixels(field), _DIGITS).astype(np.float32)

    def _in_pixels(self, field: FloatArray) -> FloatArray:
        """Fields of the binned frame at the nodes of the frame itself."""
        bins = self.preparation.bins
        if bins == 1:
            return field
        for axis, (n, binned) in enumerate(
            zip(self.shape, self.reference.image.shape, strict=True), start=1
        ):
            nodes = field.shape[axis]
            at = (np.linspace(0, n - 1, nodes) - (bins - 1) / 2) / bins
            at = np.clip(at / max(binned - 1, 1) * (nodes - 1), 0, nodes - 1)
            low = np.minimum(at.astype(int), nodes - 2)
            part = (at - low).reshape([-1 if a == axis else 1 for a in range(4)])
            field = field.take(low, axis) * (1 - part) + field.take(low + 1, axis) * part
        return field * bins


def register(
    movie: LazyArray,
    parameters: MotionParameters | None = None,
    *,
    left_out: Collection[int] = (),
    workers: int = 1,
    told: Told | None = None,
) -> Motion:
    """Find how the frames of a movie have moved.

    Parameters
    ----------
    movie : lazy array, shape (t, y, x)
        Read in order, a few frames at a time, but for those the reference is made of.
    parameters : MotionParameters, optional
    left_out : collection of int
        Frames with a stimulus or without light; they are marked.
    workers : int
        Threads; change no result.
    told : callable, optional
        Called with the number of frames done and of all.

    Returns
    -------
    Motion

    Raises
    ------
    InputError
        If there is nothing to register: fewer than 2 frames, no contrast, no number.

    Notes
    -----
    Whole frames are shifted to the maximum of the likelihood, for noise whose spectrum is that of
    what frames have beside the reference; smooth deformations are fitted by least squares to the
    whitened frame, held together as much as the movie itself says. Takes about
    30 frames of working memory, and those of the reference.

    Examples
    --------
    >>> from aequorea.simulate import simulated_twophoton
    >>> movie = simulated_twophoton((60, 64, 64), photons=20, jitter_px=1.0)
    >>> found = register(movie.counts, MotionParameters(model="rigid", reference_frames=60))
    >>> error = found.shift_yx_px - movie.shift_yx_px
    >>> bool((error - np.median(error, axis=0)).std() < 0.1)
    True
    """
    parameters = parameters or MotionParameters()
    finder = find_reference(movie, parameters, left_out=left_out, workers=workers)
    return find_motion(movie, finder, parameters, left_out=left_out, workers=workers, told=told)


def held_still(movie: LazyArray, *, frames: int = 200, workers: int = 1) -> NDArray[Any]:
    """Frames spread over a movie, moved by whole pixels so that the scene stays where it is.

    Their counts are as recorded: what is left of the noise is that of the detector, as
    :func:`aequorea.photon.photon_transfer` needs it.

    Parameters
    ----------
    movie : lazy array, shape (t, y, x)
    frames : int
        So many at most.
    workers : int

    Returns
    -------
    ndarray, shape (n, rows, columns)
        The part that all frames see, but for those that moved farthest.

    Raises
    ------
    InputError
        As :func:`register`.
    """
    n_frames, *shape = (int(n) for n in movie.shape)
    if len(shape) != 2 or min(shape) < 16:
        raise InputError(f"expected frames of 16 x 16 pixels at least, got shape {movie.shape}")
    some = _sample(movie, n_frames, frames, set())
    plain = Preparation(stabilise=False, reason="as asked").binned(_coarse(shape))
    reach = 0.1 * min(shape)
    few = some[np.linspace(0, len(some) - 1, min(len(some), _FEW)).round().astype(int)]
    rough, _ = _aligned(few, plain, reach, None, None, workers)
    limits = (reach / plain.bins, reach / plain.bins)
    shifts = rough.matched(limits).shifts(_all_spectra(plain(some), workers))
    return _held_by_whole_pixels(some, shifts.yx_px * plain.bins)


def find_reference(
    movie: LazyArray,
    parameters: MotionParameters,
    *,
    left_out: Collection[int] = (),
    workers: int = 1,
) -> Finder:
    """Make the reference, and all else that finds the motion, from frames spread over the movie.

    Raises
    ------
    InputError
        As :func:`register`.
    """
    n_frames, *shape = (int(n) for n in movie.shape)
    if len(shape) != 2 or min(shape) < 16:
        raise InputError(
            f"registration needs frames of 16 x 16 pixels at least, got shape {movie.shape}"
        )
    wanted = min(parameters.reference_frames, max(20, _SAMPLE_BYTES // (4 * shape[0] * shape[1])))
    frames = _sample(movie, n_frames, wanted, set(left_out))
    raw, phase = frames, line_phase(frames) if parameters.bidirectional else 0.0
    if phase:
        frames = align_rows(frames, phase)
    reach = parameters.max_shift_px or 0.1 * min(shape)
    reach = min(reach, 0.5 * min(shape) - 1)
    some = frames[np.linspace(0, len(frames) - 1, min(len(frames), _FEW)).round().astype(int)]
    coarse = Preparation(stabilise=False, reason="as asked").binned(_coarse(shape))
    if parameters.gain is not None and parameters.stabilise is not False:
        coarse = replace(coarse, stabilise=True, gain=parameters.gain, zero=parameters.zero or 0.0)
    _, found = _aligned(some, coarse, reach, None, None, workers)
    known = found.yx_px * coarse.bins
    preparation = coarse.binned(1)
    if parameters.gain is None and parameters.stabilise is not False:
        counts = raw[np.linspace(0, len(raw) - 1, len(some)).round().astype(int)]
        still = _held_by_whole_pixels(_middle(counts), known)
        preparation = Preparation.of(still, stabilise=parameters.stabilise)
    bins = parameters.bins or _enough_bins(some, known, preparation, parameters, workers)
    band = _highpass(shape, parameters.highpass_px, bins)
    rough, _ = _aligned(some, preparation.binned(bins), reach, known, band, workers)
    reference = _settled(frames, rough, preparation.binned(bins), reach, band, workers)
    preparation = preparation.binned(bins)
    elastic = None
    if parameters.model == "nonrigid":
        prepared = preparation(frames)
        nodes = nodes_for(reference.image.shape, parameters.node_distance_px / bins)
        elastic, reference = _bent(prepared, reference, nodes, reach / bins, band, bins, workers)
    finder = Finder(
        preparation=preparation, reference=reference, max_shift_px=reach, elastic=elastic,
        band=band, shape=(shape[0], shape[1]), still=np.zeros(shape, np.float32),
        line_phase_px=phase,
    )  # fmt: skip
    return replace(finder, still=_still(some, finder, workers))


def find_motion(
    movie: LazyArray,
    finder: Finder,
    parameters: MotionParameters,
    *,
    left_out: Collection[int] = (),
    workers: int = 1,
    told: Told | None = None,
) -> Motion:
    """Motion of every frame, in one pass."""
    parts = []
    matched = finder.matched()
    n = int(movie.shape[0])
    for where in batches(n):
        frames = np.asarray(movie[where])
        if finder.line_phase_px:
            frames = align_rows(frames, finder.line_phase_px)
        parts.append(finder.batch(frames, matched, workers))
        if told is not None:
            told(where.stop, n)
    return joined(parts, finder, parameters, left_out)


def batches(n_frames: int) -> Iterator[slice]:
    """The frames of a movie, a few at a time."""
    for start in range(0, n_frames, BATCH_FRAMES):
        yield slice(start, min(start + BATCH_FRAMES, n_frames))


def joined(
    parts: list[tuple[Shifts, NDArray[np.float32] | None]],
    finder: Finder,
    parameters: MotionParameters,
    left_out: Collection[int] = (),
) -> Motion:
    """What was found in batches, with marks for frames that cannot be trusted."""
    shift = np.concatenate([s.yx_px for s, _ in parts])
    error = np.concatenate([s.error_px for s, _ in parts])
    likeness = np.concatenate([s.likeness for s, _ in parts])
    snr = np.concatenate([s.snr for s, _ in parts])
    limit = np.concatenate([s.at_limit for s, _ in parts])
    field = None
    if finder.elastic is not None:
        field = np.concatenate([f for _, f in parts if f is not None])
    reason = np.full(len(shift), "", dtype=object)
    if field is not None:
        with np.errstate(invalid="ignore"):
            bent = largest_deviation(shift, field) > parameters.max_deviation_px
        reason[bent] = _TOO_BENT
        field[bent] = shift[bent, None, None]
    with np.errstate(invalid="ignore"):
        reason[limit] = _LIMIT
        unlike = ~(snr >= parameters.min_snr)
    reason[unlike] = _UNLIKE
    reason[~np.isfinite(shift).all(axis=1)] = _BLANK
    for k in left_out:
        if not 0 <= k < len(shift):
            raise InputError(f"left_out: there is no frame {k} among {len(shift)}")
        reason[k] = _ASKED
    lost = np.isin(reason, [_UNLIKE, _BLANK, _ASKED])
    if lost.all():
        raise InputError(
            "no frame is alike any other: the movie shows nothing that can be registered"
        )
    times = np.arange(len(shift))
    for d in range(2):
        before = shift[:, d].copy()
        shift[lost, d] = np.interp(times[lost], times[~lost], before[~lost])
    if field is not None:
        field[lost] = shift[lost, None, None]
    return Motion(
        shift_yx_px=shift, field_yx_px=field, error_px=error, likeness=likeness, snr=snr,
        reason=tuple(str(r) for r in reason),
        line_phase_px=finder.line_phase_px,
    )  # fmt: skip


def largest_deviation(shift: FloatArray, field: NDArray[np.float32]) -> FloatArray:
    """How far a place in each frame moves from the whole, other than in most frames, px."""
    apart = field - shift[:, None, None]
    apart = apart - np.nanmedian(apart, axis=0)
    return np.asarray(np.hypot(apart[..., 0], apart[..., 1]).max(axis=(1, 2)), dtype=np.float64)


def _sample(movie: LazyArray, n_frames: int, wanted: int, left_out: set[int]) -> NDArray[Any]:
    """Frames spread over the movie, without those left out, blank or not numbers."""
    runs = [
        np.asarray(movie[part])[[k not in left_out for k in range(part.start, part.stop)]]
        for part in evenly_spread(n_frames, wanted, _RUN_FRAMES)
    ]  # fmt: skip
    frames = np.concatenate(runs) if runs else np.zeros((0,))
    wrong = 0
    if len(frames):
        flat = frames.reshape(len(frames), -1)
        with np.errstate(invalid="ignore"):
            seen = np.array([float(f.max()) - float(f.min()) for f in flat])
        wrong = int((~np.isfinite(seen)).sum())
        frames = frames[np.isfinite(seen) & (seen > 0)]
    if len(frames) < 2:
        raise InputError(
            f"registration needs 2 frames with contrast at least; {len(frames)} of the "
            f"{sum(map(len, runs))} looked at have any"
            + (f", and {wrong} hold values that are no finite numbers" if wrong else "")
        )
    return frames


def _coarse(shape: list[int]) -> int:
    return 2 if min(shape) // 2 >= _FEWEST_PX else 1


def _aligned(
    frames: NDArray[Any],
    preparation: Preparation,
    reach: float,
    known_px: FloatArray | None,
    band: FloatArray | None,
    workers: int,
) -> tuple[Reference, Shifts]:
    bins = preparation.bins
    start = None if known_px is None else known_px / bins
    limits = (reach / bins, reach / bins)
    return align(preparation(frames), limits, start=start, band=band, workers=workers)


def _middle(frames: NDArray[Any]) -> NDArray[Any]:
    """The middle of frames, large enough to tell the gain by."""
    cuts = [slice(max(0, (n - _GAIN_SIDE_PX) // 2), (n + _GAIN_SIDE_PX) // 2) for n in
            frames.shape[1:]]  # fmt: skip
    return frames[:, cuts[0], cuts[1]]


def _held_by_whole_pixels(frames: NDArray[Any], shift_px: FloatArray) -> NDArray[Any]:
    """Counts as they are, moved by whole pixels: motion no longer makes neighbours alike."""
    whole = np.rint(np.nan_to_num(shift_px)).astype(int)
    height, width = frames.shape[1:]
    (top, left), (bottom, right) = (np.percentile(whole, q, axis=0).astype(int) for q in (2, 98))
    kept = [
        frame[max(0, -top) + y : height - max(0, bottom) + y,
              max(0, -left) + x : width - max(0, right) + x]
        for frame, (y, x) in zip(frames, whole.tolist(), strict=True)
        if top <= y <= bottom and left <= x <= right
    ]  # fmt: skip
    return np.stack(kept) if kept else frames[:0]


def _highpass(shape: list[int], cutoff_px: float | None, bins: int) -> FloatArray | None:
    if cutoff_px is None:
        return None
    height, width = (n // bins for n in shape)
    frequency = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None])
    return 1 - np.exp(-0.5 * (frequency * cutoff_px / bins) ** 2)


def _enough_bins(
    frames: NDArray[Any],
    known_px: FloatArray,
    preparation: Preparation,
    parameters: MotionParameters,
    workers: int,
) -> int:
    """Squares of 2 x 2 pixels, where they lose little of what is known, or little that counts.

    The error of the shift of a whole frame, and of a node, are told by the information that the
    spectrum of the reference holds above that of the noise.
    """
    shape = frames.shape[1:]
    seen = np.isfinite(known_px).all(axis=1).astype(float)
    fine = averaged(preparation(frames), np.nan_to_num(known_px), seen, workers=workers)
    height, width = shape
    fy, fx = fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None]
    twice = np.where((fx == 0) | (fx == 0.5), 1.0, 2.0)
    power = np.abs(fft.rfft2(fine.image.astype(np.float64))) ** 2 * fine.whitening**2 * twice
    known = power * (2 * np.pi) ** 2 * (fy**2 + fx**2) / (2 * height * width)
    nodes = 1
    if parameters.model == "nonrigid":
        nodes = int(np.prod(nodes_for((height, width), parameters.node_distance_px)))
    if min(shape) // 2 < _FEWEST_PX:
        return 1
    passed = (np.cos(np.pi * fy) * np.cos(np.pi * fx)) ** 2
    left = (known * passed * (np.abs(fy) <= 0.25) * (fx <= 0.25)).sum()
    error = np.sqrt(nodes / left) if left > 0 else np.inf
    good = _ERROR_PX if nodes == 1 else _NODE_ERROR_PX
    return 2 if left >= _KEPT_BY_BINS * known.sum() or error <= good else 1


def _settled(
    frames: NDArray[Any],
    rough: Reference,
    preparation: Preparation,
    reach: float,
    band: FloatArray | None,
    workers: int,
) -> Reference:
    """The reference of all frames, placed by that of a few."""
    prepared = preparation(frames)
    limits = (reach / preparation.bins, reach / preparation.bins)
    shifts = rough.matched(limits, band).shifts(_all_spectra(prepared, workers))
    moved = shifts.yx_px - np.nanmedian(shifts.yx_px, axis=0)
    return averaged(prepared, np.nan_to_num(moved), shifts.likeness, workers=workers)


def _all_spectra(frames: NDArray[np.float32], workers: int) -> NDArray[np.complex64]:
    return np.concatenate([
        spectra_of(frames[k : k + BATCH_FRAMES], workers)
        for k in range(0, len(frames), BATCH_FRAMES)
    ])  # fmt: skip


def _bent(
    frames: NDArray[np.float32],
    reference: Reference,
    nodes: tuple[int, int],
    reach: float,
    band: FloatArray | None,
    bins: int,
    workers: int,
) -> tuple[Elastic, Reference]:
    """The reference once more, of frames whose deformation is undone."""
    step = _FIRST_STEP_PX / bins
    spectra = _all_spectra(frames, workers)
    some = slice(None, None, max(1, len(frames) // _FEW))
    field: FloatArray | None = None
    shifts = reference.matched((reach, reach), band).shifts(spectra)
    for _ in range(2):
        start = np.nan_to_num(shifts.yx_px)[:, None, None] + np.zeros((*nodes, 2))
        elastic = Elastic.of(reference.image, _banded(reference, band), nodes, step)
        elastic = elastic.with_step_of(spectra[some], start[some], shifts.likeness[some], workers)
        field, _ = elastic.fields(spectra, start, shifts.likeness, workers, initial=field)
        middle = np.median(field, axis=0)
        reference = averaged(frames, field - middle, shifts.likeness, workers=workers)
        field, step = field - middle, elastic.step_px
        shifts = reference.matched((reach, reach), band).shifts(spectra)
    return Elastic.of(reference.image, _banded(reference, band), nodes, step), reference


def _banded(reference: Reference, band: FloatArray | None) -> FloatArray:
    """What whitens frames, without frequencies that are to play no part."""
    return reference.whitening if band is None else reference.whitening * np.sqrt(band)


def _still(frames: NDArray[Any], finder: Finder, workers: int) -> NDArray[np.float32]:
    """Mean of frames, motion undone, in their own unit; NaN where none has seen anything."""
    matched = finder.matched()
    total, n = np.zeros(finder.shape), np.zeros(finder.shape, np.int64)
    for where in batches(len(frames)):
        shifts, field = finder.batch(frames[where], matched, workers)
        good = np.isfinite(shifts.yx_px).all(axis=1)
        moved = (
            undo_shifts(frames[where][good], shifts.yx_px[good])
            if field is None
            else undo_motion(frames[where][good], field[good])
        )
        seen = np.isfinite(moved)
        total += np.where(seen, moved, 0).sum(axis=0, dtype=np.float64)
        n += seen.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return (total / n).astype(np.float32)
