import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import get_backend, rcParams

from aequorea.report import pictures, plots
from aequorea.report.canvas import printable, to_picture
from aequorea.report.numbers import fixed, number

HOSTILE = "$\\frac{ _^ \x00 细胞"


def test_outlines_are_the_inner_edge_of_each_label() -> None:
    labels = np.zeros((7, 7), int)
    labels[1:6, 1:6] = 3
    edge = pictures.outlines(labels)
    assert edge.sum() == 16
    assert not edge[2:5, 2:5].any()
    assert not (edge & (labels == 0)).any()


def test_touching_labels_are_told_apart() -> None:
    labels = np.repeat([[1, 1, 1, 2, 2, 2]], 6, axis=0)
    assert pictures.outlines(labels)[:, 2:4].all()


def test_masks_use_the_threshold_of_the_region_they_lie_in() -> None:
    plane = np.full((2, 4), 5.0)
    regions = np.array([[1, 1, 2, 2], [0, 0, 3, 3]])
    above = pictures.masks_above(plane, {1: 4.0, 2: 5.0, 3: math.nan}, regions)
    assert above.tolist() == [[True, True, False, False], [False] * 4]
    assert pictures.masks_above(plane, {0: 4.0}, None).all()


def test_equal_channels_overlay_to_grey_and_single_ones_keep_their_colour() -> None:
    one, none = np.ones((1, 1)), np.zeros((1, 1))
    assert pictures.overlay(one, one).ravel().tolist() == [1, 1, 1]
    assert pictures.overlay(one, none).ravel().tolist() == [0, 1, 0]
    assert pictures.overlay(none, one).ravel().tolist() == [1, 0, 1]


@pytest.mark.parametrize("plane", [np.zeros((3, 3)), np.full((3, 3), np.nan), np.full((2, 2), 7)])
def test_planes_without_contrast_are_black(plane: np.ndarray) -> None:
    assert not pictures.stretch(plane).any()


@given(st.floats(1e-3, 1e5))
def test_scale_bars_are_round_and_fit(width_um: float) -> None:
    length = pictures.scale_bar_um(width_um)
    assert 0.09 * width_um < length <= 0.2500001 * width_um
    mantissa = length / 10.0 ** math.floor(math.log10(length) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 5)) < 1e-6


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (2001, 1603), (760, 760), (761, 2)])
def test_pictures_are_printed_at_a_bounded_size(shape: tuple[int, int]) -> None:
    fitted = pictures.fit_to_panel(np.ones(shape))
    assert min(fitted.shape) >= 1
    assert max(fitted.shape) <= 760
    assert np.all(fitted == 1)
    assert pictures.fit_to_panel(np.ones(shape, int), labels=True).shape == fitted.shape


def test_drawing_leaves_no_global_state_and_takes_names_literally() -> None:
    before = dict(rcParams)
    backend = get_backend()
    names = (HOSTILE, HOSTILE)
    x = np.linspace(0, 10, 20)
    region = np.ones((20, 30), int)
    figures = [
        pictures.channels_figure(region, region, names=names, pixel_um=(0.1, 0.2), regions=region),
        plots.cytofluorogram(np.eye(5), np.arange(6), np.arange(6), names=names, lines=[(1, 0)]),
        plots.cytofluorogram(np.zeros((5, 5)), np.arange(6), np.arange(6), names=names),
        plots.threshold_curves(x, x / 10, x / 10, x / 10, names=names, chosen=3, method="Costes"),
        plots.null_distribution(x, observed=12, expected=5, p=0.01, metric="r"),
        plots.null_distribution([], observed=math.nan, expected=math.nan, p=math.nan, metric="r"),
        plots.cross_correlation([("x", x, x)], fits={"x": (0, 1, 5, 2)}, unit="px"),
        plots.fraction_within([(HOSTILE, [x, x / 10, x / 10, x / 20, x / 5])], cutoff=1),
        plots.nearest_distances([(HOSTILE, x), ("none", [math.nan])]),
        plots.values_by_region([HOSTILE] * 3, [1, math.nan, 2], [0, 0, 0], [1, 0, 0], metric="r"),
    ]
    pictures_ = [to_picture(figure, "a figure", dpi=60) for figure in figures]
    assert all(p.png.startswith(b"\x89PNG") for p in pictures_)
    assert dict(rcParams) == before
    assert get_backend() == backend


def test_pictures_of_noise_stay_small() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 700, 700))
    figure = pictures.channels_figure(a, b, names=("A", "B"), pixel_um=(None, None))
    assert len(to_picture(figure, "noise").png) < 1_300_000


def test_a_figure_has_the_same_bytes_each_time() -> None:
    once, again = (
        to_picture(plots.nearest_distances([("A", [1, 2, 3])]), "x").png for _ in range(2)
    )
    assert once == again


@given(st.text(max_size=200))
def test_any_name_can_be_printed(text: str) -> None:
    assert len(printable(text)) <= 60


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_rounded_numbers_read_back_near_the_value(value: float) -> None:
    text = number(value).replace("−", "-").replace("\u202f", "")
    if "×10" in text:
        mantissa, power = text.split("×10")
        table = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
        back = float(mantissa) * 10.0 ** int(power.translate(table))
        assert back == pytest.approx(value, rel=0.051)
    else:
        assert float(text) == pytest.approx(value, rel=0.0051)


@given(st.floats(-1, 1))
def test_coefficients_have_three_decimals(value: float) -> None:
    assert abs(float(fixed(value).replace("−", "-")) - value) <= 0.0005 + 1e-12
    assert fixed(value) != "−0.000"
