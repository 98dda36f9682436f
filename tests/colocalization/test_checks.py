"""Each check speaks up on an image made for it and stays silent on a clean one."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from aequorea.colocalization.checks import CheckResult, check_channels
from aequorea.errors import InputError
from aequorea.simulate import cell_pair


def found(name, *channels, channel=None, **options):
    """Levels of all results of one check."""
    results = check_channels(*channels, **options)
    return [r.level for r in results if r.name == name and channel in (None, r.channel)]


@pytest.fixture(scope="module")
def clean():
    """Raw images with the camera's offset subtracted, 20 counts above zero."""
    pair = cell_pair(rng=3, camera_offset=20, cytoplasm_photons=60, background_photons=1)
    return pair.a, pair.b


def stripes(shape=(64, 64), seed=0):
    rng = np.random.default_rng(seed)
    return rng.poisson(20, shape) + 100 * (rng.random(shape) > 0.9)


def test_clean_channels_raise_no_alarm():
    pair = cell_pair(rng=3, camera_offset=0, cytoplasm_photons=60, background_photons=4)
    a, b = pair.a.astype(float) - 1, pair.b.astype(float) - 1
    a, b = np.clip(a, 0, None), np.clip(b, 0, None)
    loud = {r.name for r in check_channels(a, b) if r.level in ("warning", "refusal")}
    assert loud == {"empty-area"}  # cells on a dark background, and no regions given


def test_results_are_frozen_and_speak():
    result = check_channels(stripes(), stripes(seed=1))[0]
    assert isinstance(result, CheckResult)
    assert result.level == "ok"
    assert result.message
    with pytest.raises(AttributeError):
        result.level = "warning"


def test_missing_values_are_refused():
    a = stripes().astype(float)
    a[3, 4] = np.nan
    assert found("finite", a, stripes(seed=1)) == ["refusal", "ok"]
    mask = np.ones(a.shape, bool)
    mask[3, 4] = False
    assert found("finite", a, stripes(seed=1), mask=mask) == ["ok", "ok"]


@pytest.mark.parametrize("value", [0, 7])
def test_constant_channels_are_refused_in_their_region(value):
    a, b = stripes(), stripes(seed=1)
    a[:10] = value
    mask = np.zeros(a.shape, bool)
    mask[:10] = True
    assert found("signal", a, b) == ["ok", "ok"]
    assert found("signal", a, b, mask=mask) == ["refusal", "ok"]


@pytest.mark.parametrize("copy", [lambda a: a.copy(), lambda a: 3.0 * a + 7, lambda a: 255.0 - a])
def test_copies_are_refused(copy):
    a = stripes()
    assert found("identical", a, copy(a)) == ["refusal"]
    assert found("identical", a, stripes(seed=1)) == ["ok"]


@pytest.mark.parametrize(
    ("full_scale", "dtype", "bit_depth"),
    [
        (255, "u1", None),
        (4095, "u2", None),
        (4095, "u2", 12),
        (65535, "u2", None),
        (777, "f4", None),
    ],
)
def test_saturation(full_scale, dtype, bit_depth):
    rng = np.random.default_rng(0)
    a, b = (rng.gamma(2, full_scale / 6, (128, 128)) for _ in range(2))
    clipped = np.clip(a, 0, full_scale).astype(dtype)
    free = np.clip(b * 0.2, 0, full_scale - 1).astype(dtype)
    assert found("saturation", clipped, free, bit_depth=bit_depth) == ["warning", "ok"]


def test_few_saturated_pixels_are_a_note():
    a = stripes((200, 200)).astype("u1")
    a.flat[:20] = 255
    assert found("saturation", a, stripes((200, 200), 1).astype("u1")) == ["note", "ok"]


def test_the_channel_maximum_alone_is_no_saturation(clean):
    assert found("saturation", *clean) == ["ok", "ok"]
    assert found("saturation", *clean, bit_depth=16) == ["ok", "ok"]


def test_negative_pixels():
    a, b = stripes() - 15, stripes(seed=1)
    assert found("negatives", a, b) == ["warning", "ok"]


def test_offset(clean):
    a, b = clean
    lowered = np.clip(b.astype(float) - 20, 0, None)
    assert found("offset", a + 100.0, lowered) == ["warning", "ok"]


def test_zero_zero():
    a, b = stripes(), stripes(seed=1)
    assert found("zero-zero", a, b) == ["ok"]
    a[:20], b[:20] = 0, 0
    assert found("zero-zero", a, b) == ["warning"]
    mask = np.zeros(a.shape, bool)
    mask[20:] = True
    assert found("zero-zero", a, b, mask=mask) == ["ok"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("masked", [False, True])
def test_bleed_through_is_told_from_partial_colocalization(seed, masked):
    for shared in (0.0, 0.5):
        pair = cell_pair(rng=seed, shared_fraction=shared)
        mask = pair.cells if masked else None
        assert found("bleed-through", pair.a, pair.b, mask=mask) == ["ok", "ok"]
    pair = cell_pair(rng=seed, bleed_through=0.3)
    mask = pair.cells if masked else None
    results = check_channels(pair.a, pair.b, mask)
    forward = next(r for r in results if r.name == "bleed-through" and r.channel == "B")
    assert forward.level == "warning"
    assert forward.value == pytest.approx(0.3, abs=0.1)
    assert found("bleed-through", pair.a, pair.b, mask=mask, channel="A") == ["ok"]


def jpeg(image, quality):
    stored = io.BytesIO()
    Image.fromarray(np.clip(image, 0, 255).astype("u1")).save(stored, "JPEG", quality=quality)
    return np.asarray(Image.open(stored))


def test_jpeg(clean):
    a, b = clean
    assert found("jpeg", a, b) == ["ok", "ok"]
    assert found("jpeg", jpeg(a, 75), b) == ["warning", "ok"]
    cropped = jpeg(b, 60)[5:, 3:] * 7.0
    assert found("jpeg", a[5:, 3:], cropped) == ["ok", "warning"]


def test_interpolated_images_are_noted(clean):
    a, b = (c.astype(float) for c in clean)
    assert found("interpolation", a, b) == ["ok", "ok"]
    enlarged = [ndimage.zoom(c, 2, order=1) for c in (a, b)]
    assert found("interpolation", *enlarged) == ["note", "note"]
    assert found("jpeg", *enlarged) == ["ok", "ok"]
    assert found("interpolation", ndimage.gaussian_filter(a, 1.5), b) == ["note", "ok"]


def test_deconvolved_look_is_noted(clean):
    a, b = (c.astype(float) for c in clean)
    smooth = np.clip(ndimage.gaussian_filter(a, 2) - 60, 0, None)
    assert found("deconvolution", smooth, b) == ["note", "ok"]


def test_skewed_background_is_noted():
    rng = np.random.default_rng(0)
    stack = rng.normal(200, 12, (20, 128, 128))
    assert found("projection", stack.max(axis=0), stack[0]) == ["note", "ok"]


def test_words_of_the_metadata():
    a, b = stripes(), stripes(seed=1)
    for title in ("MAX_cell3.tif", "Maximum intensity projection", "MIP of stack"):
        assert found("projection", a, b, metadata={"title": title})[-1] == "warning"
    for metadata in ({"max_value": 3}, {"pulse": "climip", "title": "climax_3.tif"}):
        assert found("projection", a, b, metadata=metadata)[-1] == "ok"
    assert found("deconvolution", a, b, metadata="Huygens Professional")[-1] == "warning"
    assert found("deconvolution", a, b, metadata={"objective": "63x"})[-1] == "ok"


def test_intercept_of_coloc_2():
    rng = np.random.default_rng(0)
    a = rng.uniform(0, 100, (64, 64))
    b = 0.5 * a + rng.normal(0, 0.01, a.shape)
    assert found("intercept", a, b) == ["ok"]
    assert found("intercept", a, b + 30) == ["note"]


def test_thresholds():
    a, b = stripes(), stripes(seed=1)
    middle = (float(np.mean(a)) - 1, float(np.mean(b)) - 1)
    assert found("threshold", a, b, thresholds=middle) == ["ok", "ok"]
    assert found("threshold", a, b, thresholds=(1000, -1)) == ["note", "warning"]
    assert found("threshold", a, b, thresholds=(np.nan, 1))[0] == "note"
    assert found("threshold", a, 200 - a + 0.1 * b) == ["note", "note"]


def test_one_line_and_small_images():
    results = check_channels([1, 5, 2, 8, 1], [3, 1, 4, 1, 5])
    assert all(r.level != "refusal" for r in results)
    assert np.isnan(next(r.value for r in results if r.name == "jpeg"))


def test_stacks_with_missing_planes():
    a, b = (np.stack([stripes(seed=k) for k in s]).astype(float) for s in ([0, 1, 2], [3, 4, 5]))
    a[1] = np.nan
    mask = np.ones(a.shape, bool)
    mask[1] = False
    assert "refusal" not in {r.level for r in check_channels(a, b, mask)}


def test_real_confocal_stack_has_no_false_alarm(shared_data):
    from skimage import io as images

    folder = shared_data("coloc2-fiji")
    a, b = (images.imread(next(folder.glob(f"*1b*{c}*.tif*"))) for c in ("green", "red"))
    warnings = {r.name for r in check_channels(a, b) if r.level in ("warning", "refusal")}
    assert warnings <= {"zero-zero", "empty-area"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3)), np.ones((3, 2))), "shape mismatch"),
        ((np.ones((2, 3)), np.ones((2, 3)), np.ones(3)), "mask: expected"),
        ((np.array(["x"]), np.array(["y"])), "real numbers"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(InputError, match=message):
        check_channels(*arguments)
    with pytest.raises(InputError, match="bit_depth"):
        check_channels([1, 2], [2, 1], bit_depth=0)


def test_boolean_channels_and_an_array_of_thresholds_are_judged():
    a, b = np.random.default_rng(0).poisson(20, (2, 64, 64))
    assert found("signal", a > 20, b > 20) == ["ok", "ok"]
    assert found("threshold", a, b, thresholds=np.array([-1, 15])) == ["warning", "ok"]


def test_a_threshold_within_the_background_is_no_tick():
    rng = np.random.default_rng(0)
    a, b = rng.poisson(100, (2, 64, 64))
    low = check_channels(a, b, thresholds=(80.0, 80.0))
    told = [r for r in low if r.name == "threshold"]
    assert [r.level for r in told] == ["warning", "warning"]
    assert all("within the background" in r.message for r in told)


def test_a_costes_threshold_that_never_decorrelates_is_no_tick():
    shared = np.random.default_rng(1).uniform(0, 200, (64, 64))
    noise = np.random.default_rng(2).normal(0, 2, (64, 64))
    assert "ok" not in found("threshold", shared, np.abs(shared + noise))


def test_the_intercept_is_told_from_a_tenth_of_the_mean():
    x = np.random.default_rng(3).uniform(0, 100, (64, 64))
    noise = np.random.default_rng(4).normal(0, 1, x.shape)
    assert found("intercept", x, x + 2 + noise) == ["ok"]
    assert found("intercept", x, x + 20 + noise) == ["note"]


def test_empty_area_is_told_for_cells_on_dark_background_without_regions():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256] - 128
    cell = np.hypot(y, x) < 80
    a, b = (rng.poisson(10 + cell * rng.gamma(2, 200, cell.shape)) for _ in range(2))
    (told,) = [r for r in check_channels(a, b) if r.name == "empty-area"]
    assert told.level == "warning"
    assert told.value == pytest.approx(1 - cell.mean(), abs=0.1)
    assert "give the cells as regions" in told.message
    assert not [r for r in check_channels(a, b, mask=cell) if r.name == "empty-area"]


@pytest.mark.parametrize("sigma", [0.0, 2.0, 8.0])
def test_a_field_of_texture_or_noise_has_no_empty_area(sigma):
    rng = np.random.default_rng(1)
    a, b = (1000 + 100 * ndimage.gaussian_filter(rng.normal(size=(256, 256)), sigma) for _ in "ab")
    assert found("empty-area", a, b) == ["ok"]
