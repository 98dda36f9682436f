"""Bleed-through and negative levels on simulated controls of known truth."""

import numpy as np
import pytest
from scipy import ndimage

from aequorea.errors import AxisMismatchError, ChannelError, InputError
from aequorea.measure.controls import bleed_through_matrix, control_warnings, negative_levels


def stained_cells(rng, shape=(256, 256), n_cells=25, peak=300.0):
    """Expected photons of one stain: blurred spots of different brightness."""
    spots = np.zeros(shape)
    where = tuple(rng.integers(0, n, n_cells) for n in shape)
    spots[where] = rng.uniform(0.4, 1, n_cells)
    light = ndimage.gaussian_filter(spots, 5)
    return peak * light / light.max()


def control(rng, light, fraction, offsets=(100, 300), noise=3.0):
    """A camera image of one stain, of which ``fraction`` appears in the second channel."""
    photons = rng.poisson(np.stack([light, fraction * light]))
    return photons + rng.normal(np.reshape(offsets, (2, *[1] * light.ndim)), noise, photons.shape)


def slope(*images, **options):
    found = bleed_through_matrix(images, ["A"] * len(images), ["A", "B"], **options)
    return found.fraction[0, 1], found.low[0, 1], found.high[0, 1]


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.2])
def test_no_bias_from_noise_or_background(fraction):
    rng = np.random.default_rng(1)
    runs = np.array([slope(control(rng, stained_cells(rng), fraction)) for _ in range(12)])
    assert runs[:, 0].mean() == pytest.approx(fraction, abs=max(0.01 * fraction, 0.0005))
    covered = (runs[:, 1] <= fraction) & (fraction <= runs[:, 2])
    assert covered.sum() >= 9


def test_an_ordinary_regression_is_biased_where_this_is_not():
    rng = np.random.default_rng(2)
    image = control(rng, stained_cells(rng, (512, 512), 100, peak=20), 0.2)
    a, b = image.reshape(2, -1)
    assert np.polyfit(a, b, 1)[0] < 0.2 * 0.9
    assert slope(image)[0] == pytest.approx(0.2, abs=0.01)


def test_offsets_and_gain_of_the_camera():
    rng = np.random.default_rng(3)
    image = control(rng, stained_cells(rng), 0.1)
    found = np.array(slope(image))
    shifted = image + np.reshape([1e6, -500.0], (2, 1, 1))
    np.testing.assert_allclose(slope(shifted), found, rtol=1e-6)
    np.testing.assert_allclose(slope(image * np.reshape([1, 3], (2, 1, 1))), 3 * found, rtol=1e-9)


def test_saturated_pixels_are_left_out():
    rng = np.random.default_rng(4)
    image = control(rng, stained_cells(rng, peak=2000), 0.2)
    assert np.mean(image[0] > 900) > 0.03
    clipped = np.minimum(image, 900)
    assert slope(clipped)[0] > 0.22
    assert slope(clipped, saturation=900)[0] == pytest.approx(0.2, rel=0.01)
    eight_bit = np.minimum(np.round(image / 5), 255).astype(np.uint8)
    assert slope(eight_bit)[0] == pytest.approx(0.2, rel=0.02)


def test_debris_that_shines_everywhere_hardly_moves_it():
    rng = np.random.default_rng(5)
    light = stained_cells(rng, (512, 512), 120)
    debris = np.zeros(light.shape)
    debris[40:60, 40:60] = debris[300:320, 200:220] = 3000
    image = control(rng, light, 0.05) + debris
    a, b = image.reshape(2, -1)
    assert np.polyfit(a, b, 1)[0] > 0.8
    assert slope(image)[0] == pytest.approx(0.05, abs=0.006)


def test_stacks_and_several_controls():
    rng = np.random.default_rng(6)
    light = np.stack([stained_cells(rng) for _ in range(3)])
    stack = control(rng, light, 0.2)
    found = bleed_through_matrix([stack, stack[:, 0]], ["A", "A"], ["A", "B"])
    assert found.fraction[0, 1] == pytest.approx(0.2, rel=0.01)
    assert found.n_images.tolist() == [2, 0]
    assert found.n_pixels[0, 1] > slope_pixels(stack[:, 0])


def slope_pixels(image):
    return bleed_through_matrix([image], ["A"], ["A", "B"]).n_pixels[0, 1]


def test_three_stains_of_which_one_has_no_control():
    rng = np.random.default_rng(7)
    names = ["DAPI", "GFP", "RFP"]
    images = []
    for k, fractions in enumerate([(1, 0.1, 0), (0, 1, 0.2)]):
        light = stained_cells(rng)
        images.append(rng.poisson(np.multiply.outer(fractions, light)) + 10)
        assert fractions[k] == 1
    found = bleed_through_matrix(images, names[:2], names)
    np.testing.assert_allclose(found.fraction[:2], [[1, 0.1, 0], [0, 1, 0.2]], atol=0.004)
    assert np.isnan(found.fraction[2, :2]).all()
    assert found.fraction[2, 2] == 1
    assert found.reasons[2] == ("no single-stain control for RFP",) * 2 + ("",)
    told = control_warnings(found)
    assert [t.split(" of ", 1)[1] for t in told[:2]] == [
        "DAPI appears in GFP: positives of GFP among DAPI cells are suspect",
        "GFP appears in RFP: positives of RFP among GFP cells are suspect",
    ]
    assert told[2].startswith("no single-stain control for RFP")


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 0, 5), (2, 64, 64), (2, 3, 100)])
def test_nothing_to_see_is_nan_with_a_reason(shape):
    found = bleed_through_matrix([np.full(shape, 7.0)], ["A"], ["A", "B"])
    assert np.isnan(found.fraction[0, 1])
    assert np.isnan(found.low[0, 1])
    assert found.reasons[0][1].startswith("controls of A: no ")
    assert control_warnings(found)[0].startswith("controls of A: no ")


def test_pure_noise_has_no_slope():
    image = np.random.default_rng(8).normal(100, 5, (2, 256, 256))
    assert np.isnan(slope(image)[0])


def test_pixels_that_are_not_finite_are_left_out():
    rng = np.random.default_rng(9)
    image = control(rng, stained_cells(rng), 0.2)
    image[0, 100:110] = np.nan
    image[1, :, 50] = np.inf
    assert slope(image)[0] == pytest.approx(0.2, rel=0.02)
    assert np.isnan(slope(np.full((2, 64, 64), np.nan))[0])


def test_a_small_image_has_a_slope_and_no_interval():
    rng = np.random.default_rng(10)
    found, low, high = slope(control(rng, stained_cells(rng, (40, 40), 3), 0.2))
    assert found == pytest.approx(0.2, abs=0.02)
    assert np.isnan([low, high]).all()


@pytest.mark.parametrize("kind", [">u2", "<u2", "i4", "f4"])
def test_kinds_of_pixels(kind):
    rng = np.random.default_rng(11)
    image = np.round(control(rng, stained_cells(rng), 0.2)).astype(kind)
    image.flags.writeable = False
    assert slope(image)[0] == pytest.approx(slope(image.astype(float))[0], rel=1e-9)


def test_the_same_answer_every_time():
    rng = np.random.default_rng(12)
    image = control(rng, stained_cells(rng), 0.2)
    assert slope(image) == slope(image)
    assert slope(image, rng=1, n_bootstraps=9)[1:] != slope(image, n_bootstraps=9)[1:]


def test_bad_input():
    image = np.zeros((2, 8, 8))
    with pytest.raises(AxisMismatchError, match=r"expected shape \(3, \[z,\] y, x\)"):
        bleed_through_matrix([image], ["A"], ["A", "B", "C"])
    with pytest.raises(AxisMismatchError):
        negative_levels([np.zeros((8, 8))], ["A"] * 1)
    with pytest.raises(ChannelError, match="no channel 'C'"):
        bleed_through_matrix([image], ["C"], ["A", "B"])
    with pytest.raises(ChannelError, match="different channel names"):
        bleed_through_matrix([image], ["A"], ["A", "A"])
    with pytest.raises(InputError, match="a stain for each image"):
        bleed_through_matrix([image], [], ["A", "B"])
    with pytest.raises(InputError, match="confidence"):
        bleed_through_matrix([image], ["A"], ["A", "B"], confidence=1)
    with pytest.raises(InputError, match="percentile"):
        negative_levels([image], ["A", "B"], percentile=101)


def test_negative_levels_are_those_of_images():
    ramp = np.arange(101.0).reshape(1, 1, 101)
    found = negative_levels([ramp, ramp + 10], ["A"], percentile=90, k=2)
    np.testing.assert_allclose(found.percentile_levels, [[90], [100]])
    np.testing.assert_allclose(found.sd_levels, [[50 + 2 * ramp.std()], [60 + 2 * ramp.std()]])
    assert found.percentile_level.tolist() == [100]
    assert found.n_images.tolist() == [2]


def test_negative_levels_of_nothing():
    found = negative_levels([], ["A", "B"])
    assert np.isnan(found.percentile_level).all()
    assert found.n_images.tolist() == [0, 0]
    half = negative_levels([np.stack([np.full((4, 4), np.nan), np.ones((4, 4))])], ["A", "B"])
    assert half.n_images.tolist() == [0, 1]
    assert half.percentile_level[1] == half.sd_level[1] == 1


def test_warnings_are_only_for_what_is_sure_and_large_enough():
    rng = np.random.default_rng(13)
    clean = bleed_through_matrix(
        [control(rng, stained_cells(rng), 0), control(rng, stained_cells(rng), 0)[::-1]],
        ["A", "B"],
        ["A", "B"],
    )
    assert control_warnings(clean) == ()
    dark = negative_levels([np.full((1, 8, 8), 50)], ["A"])
    assert control_warnings(negative=dark, thresholds={"A": 60}) == ()
    assert control_warnings() == ()
