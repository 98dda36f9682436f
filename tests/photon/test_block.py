from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from aequorea.errors import FileFormatError, InputError
from aequorea.photon import Quantiser, decode_block, encode_block, generalized_anscombe
from aequorea.photon.block import head_length, pieces_for, read_head

PHOTONS = Quantiser(gain=8.0, zero=99.3, step=0.5, dtype="uint16")


@pytest.fixture(scope="module")
def movie(movie_of):
    return movie_of((70, 40, 50))[0]


@pytest.fixture(scope="module")
def stored(movie):
    return encode_block(movie, PHOTONS)


def test_codes_are_kept_exactly(movie, stored):
    found = decode_block(stored, PHOTONS)
    assert found.dtype == movie.dtype
    np.testing.assert_array_equal(PHOTONS.code_of(found), PHOTONS.code_of(movie))


def test_lossless_keeps_every_count(movie):
    coarse = Quantiser(gain=8.0, zero=99.3, step=1.0, dtype="uint16")
    encoded = encode_block(movie, coarse, lossless=True)
    np.testing.assert_array_equal(decode_block(encoded, coarse), movie)
    assert len(encoded) < 0.5 * movie.nbytes


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_lossless_keeps_anything(data):
    dtype = data.draw(st.sampled_from(["uint8", "int8", "uint16", "int16"]))
    shape = data.draw(array_shapes(min_dims=3, max_dims=3, max_side=36))
    counts = data.draw(arrays(dtype, shape))
    gain = data.draw(st.sampled_from([0.01, 1.0, 8.0, 5000.0]))
    step = data.draw(st.sampled_from([0.25, 1.0, 3.0]))
    quantiser = Quantiser(gain=gain, zero=data.draw(st.floats(-1e4, 1e5)), step=step, dtype=dtype)
    encoded = encode_block(counts, quantiser, lossless=True)
    np.testing.assert_array_equal(decode_block(encoded, quantiser), counts)


def test_any_part_is_what_it_is_in_the_whole(movie, stored):
    whole = decode_block(stored, PHOTONS)
    for part in [
        (slice(0, 1), slice(None), slice(None)),
        (slice(31, 33), slice(5, 37), slice(31, 50)),
        (slice(None), slice(39, 40), slice(0, 1)),
        (slice(3, 3), slice(None), slice(None)),
    ]:
        np.testing.assert_array_equal(decode_block(stored, PHOTONS, part), whole[part])


def test_a_frame_and_a_trace_touch_few_pieces(stored):
    head = read_head(stored[: head_length(stored)], PHOTONS)
    assert len(head.lengths) == (3 + 1) * 2 * 2
    trace = pieces_for(head, (slice(None), slice(3, 5), slice(3, 5)))
    assert len(trace) == 1 + 3
    frame = pieces_for(head, (slice(40, 41), slice(None), slice(None)))
    assert frame == [0, 1, 2, 3, 8, 9, 10, 11]


def test_the_number_of_threads_changes_no_byte(movie, stored):
    assert encode_block(movie, PHOTONS, workers=3) == stored
    np.testing.assert_array_equal(
        decode_block(stored, PHOTONS, workers=3), decode_block(stored, PHOTONS)
    )


@pytest.mark.parametrize("gain", [1.0, 2.0, 8.0, 50.0])
@pytest.mark.parametrize("mean", [1.0, 4.0, 30.0])
def test_what_is_decoded_is_unbiased_in_every_brightness(movie_of, mean, gain):
    counts, rates = movie_of((400, 32, 32), mean=mean, gain=gain, read=0.3)
    quantiser = Quantiser(gain=gain, zero=100 - 0.09 * gain, step=0.5, dtype="uint16")
    found = decode_block(encode_block(counts, quantiser), quantiser)
    error = (found.astype(float) - counts) / gain
    assert abs(error.mean()) < 0.045
    order = np.argsort(rates.ravel())
    for part in np.array_split(order, 4):
        assert abs(error.reshape(400, -1)[:, part].mean()) < 0.05


@pytest.mark.parametrize(("mean", "gain"), [(4.0, 8.0), (1.0, 8.0), (30.0, 8.0), (4.0, 1.0)])
def test_size_is_near_the_entropy_given_the_true_rates(movie_of, mean, gain):
    counts, rates = movie_of((256, 64, 64), mean=mean, gain=gain, read=0.0)
    quantiser = Quantiser(gain=gain, zero=100.0, step=0.5, dtype="uint16")
    bits = 8 * len(encode_block(counts, quantiser)) / counts.size
    assert _floor(rates, quantiser, gain) < bits < 1.04 * _floor(rates, quantiser, gain) + 0.1


def _floor(rates, quantiser, gain):
    from scipy.stats import poisson

    photons = np.arange(0, 400)
    code = quantiser.code_of(np.rint(gain * photons + 100).astype(int))
    entropies = []
    for rate in rates.ravel()[::16]:
        share = np.bincount(code - code.min(), poisson.pmf(photons, rate))
        share = share[share > 0]
        entropies.append(-(share * np.log2(share)).sum())
    return float(np.mean(entropies))


def test_cells_have_the_width_asked_for():
    z = generalized_anscombe(PHOTONS.edges[:-1].astype(float), gain=8.0, zero=99.3)
    inner = (PHOTONS.edges[:-1] > 200) & (PHOTONS.edges[:-1] < 60_000)
    widths = np.diff(z)[inner[:-1]]
    assert widths.mean() == pytest.approx(0.5, rel=0.01)
    assert (np.diff(PHOTONS.codes.astype(int)) >= 0).all()
    assert (np.diff(PHOTONS.edges) >= 1).all()


def test_low_gain_never_wraps():
    low = Quantiser(gain=1.0, zero=0.0, step=0.5, dtype="uint16")
    counts = np.array([[[0, 1, 100, 150, 1000, 32767, 40000, 65535]]], np.uint16)
    found = decode_block(encode_block(counts, low), low).astype(int)
    assert (np.abs(found - counts) <= 0.5 * np.sqrt(counts + 1.0) * 0.5 + 1).all()


def test_constant_movies_are_tiny():
    counts = np.full((64, 128, 128), 137, np.uint16)
    encoded = encode_block(counts, PHOTONS, lossless=True)
    assert len(encoded) < 0.01 * counts.nbytes
    np.testing.assert_array_equal(decode_block(encoded, PHOTONS), counts)


def test_a_changed_byte_is_found_anywhere_and_named(stored):
    rng = np.random.default_rng(0)
    end = head_length(stored)
    for place in [*rng.integers(4, end, 20), *rng.integers(end, len(stored), 20)]:
        damaged = bytearray(stored)
        damaged[place] ^= 0x10
        with pytest.raises(FileFormatError, match="photon block"):
            decode_block(bytes(damaged), PHOTONS)
    damaged = bytearray(stored)
    damaged[-3] ^= 1
    with pytest.raises(FileFormatError, match=r"frames 64-69, rows 32-39, columns 32-49"):
        decode_block(bytes(damaged), PHOTONS)


@pytest.mark.parametrize("length", [0, 3, 40, 2000])
def test_cut_short(stored, length):
    with pytest.raises(FileFormatError):
        decode_block(stored[:length], PHOTONS)


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="expected uint16"):
        encode_block(np.zeros((3, 4, 4), np.int16), PHOTONS)
    with pytest.raises(InputError, match="t, y, x"):
        encode_block(np.zeros((4, 4), np.uint16), PHOTONS)
    with pytest.raises(InputError, match="none of them empty"):
        encode_block(np.zeros((0, 4, 4), np.uint16), PHOTONS)
    with pytest.raises(InputError, match="float32"):
        Quantiser(gain=1.0, zero=0.0, step=0.5, dtype="float32")
    with pytest.raises(InputError, match="step"):
        Quantiser(gain=1.0, zero=0.0, step=0.0, dtype="uint16")
    with pytest.raises(InputError, match="gain"):
        Quantiser(gain=-1.0, zero=0.0, step=0.5, dtype="uint16")
