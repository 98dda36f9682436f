from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aequorea.io.units import length_in_um, spacing_or_none, time_in_s


@pytest.mark.parametrize(
    ("unit", "um"),
    [
        *[(u, 1.0) for u in ("um", "µm", "μm", "\\u00B5m", "micron", "microns", "Micrometer")],
        *[(u, 1.0) for u in ("micrometre", "MICROMETERS", " um ")],
        *[(u, 1e-3) for u in ("nm", "nanometer", "nanometers")],
        *[(u, 1e3) for u in ("mm", "millimetres")],
        *[("cm", 1e4), ("m", 1e6), ("meter", 1e6), ("inch", 25400.0), ("in", 25400.0)],
        *[("Å", 1e-4), ("\N{ANGSTROM SIGN}", 1e-4), ("angstrom", 1e-4), ("pm", 1e-6)],
        *[(u, None) for u in ("pixel", "pixels", "", "reference frame", "voxel", "sec", None)],
    ],
)
def test_lengths(unit, um):
    assert length_in_um(unit) == um


@pytest.mark.parametrize(
    ("unit", "s"),
    [("s", 1.0), ("sec", 1.0), ("seconds", 1.0), ("ms", 1e-3), ("msec", 1e-3), ("min", 60.0),
     ("minutes", 60.0), ("h", 3600.0), ("µs", 1e-6), ("frame", None), ("", None), (None, None)],
)  # fmt: skip
def test_times(unit, s):
    assert time_in_s(unit) == s


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "abc", "", None])
def test_what_files_write_when_they_know_nothing_is_none(value):
    assert spacing_or_none(value, 1.0) is None


@given(st.floats(1e-6, 1e6))
def test_micrometres_stay_what_they_are(value):
    assert spacing_or_none(value) == value
    assert spacing_or_none(repr(value), 1.0) == value


@given(st.integers(1, 10**6))
def test_metres_become_micrometres_without_binary_noise(nanometres):
    assert spacing_or_none(f"{nanometres}e-9", 1e6) == nanometres / 1000
