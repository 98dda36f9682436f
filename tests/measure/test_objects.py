"""Measures of objects against scikit-image, loops and shapes whose measures are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage, special
from skimage import measure

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.measure import MORPHOLOGY, measure_intensities, measure_objects


def random_labels(shape, seed, level=0.0):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    labels = measure.label(smooth > level * smooth.std())
    labels = np.where(labels, labels * 7 + 3, 0)
    labels[rng.random(shape) < 0.01] = 5000  # an object in pieces
    return labels


def ellipsoid(radii_um, spacing_um, centre=(0.0, 0.0, 0.0)):
    """An ellipsoid in an image two voxels larger on every side; the centre in fractions of one."""
    half = [int(np.ceil(r / s)) + 2 for r, s in zip(radii_um, spacing_um, strict=True)]
    axes = [
        ((np.arange(-h, h + 1) + c) * s / r) ** 2
        for h, c, s, r in zip(half, centre, spacing_um, radii_um, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return (z + y + x <= 1).astype(np.uint8)


def ellipsoid_surface(radii):
    """Legendre's formula with incomplete elliptic integrals."""
    c, b, a = np.sort(radii)
    phi = np.arccos(c / a)
    if phi == 0:
        return 4 * np.pi * a * a
    k2 = a**2 * (b**2 - c**2) / (b**2 * (a**2 - c**2))
    terms = special.ellipeinc(phi, k2) * np.sin(phi) ** 2
    terms += special.ellipkinc(phi, k2) * np.cos(phi) ** 2
    return 2 * np.pi * c**2 + 2 * np.pi * a * b / np.sin(phi) * terms


@pytest.mark.parametrize("seed", range(3))
def test_images_agree_with_regionprops(seed):
    labels = random_labels((90, 101), seed)
    image = np.random.default_rng(seed).gamma(2, 100, labels.shape)
    ours = measure_objects(labels, intensity=image, spacing_um=(0.3, 0.3))
    theirs = measure.regionprops(labels, image)
    for k, other in enumerate(theirs):
        assert ours.label[k] == other.label
        assert ours.n_voxels[k] == ours.area_px_2d[k] == other.area
        assert ours.perimeter_px_2d[k] == pytest.approx(other.perimeter, abs=1e-9)
        assert ours.perimeter_um_2d[k] == ours.perimeter_px_2d[k] * 0.3
        assert ours.eccentricity_2d[k] == pytest.approx(other.eccentricity, abs=1e-7)
        assert ours.centroid_px[k, 1:] == pytest.approx(other.centroid)
        assert ours.centroid_um[k, 1:] == pytest.approx(np.multiply(other.centroid, 0.3))
        assert ours.bounding_box[k, 1:, 0].tolist() == list(other.bbox[:2])
        assert ours.bounding_box[k, 1:, 1].tolist() == list(other.bbox[2:])
        assert ours.mean_intensity[k] == pytest.approx(other.intensity_mean)
        assert ours.max_intensity[k] == other.intensity_max
        assert ours.median_intensity[k] == pytest.approx(other.intensity_median)
        assert ours.sum_intensity[k] == pytest.approx(other.intensity_mean * other.area)
    assert len(ours) == len(theirs)
    assert np.isnan(ours.volume_um3_3d).all()
    assert np.isnan(ours.sphericity_3d).all()


@given(arrays(np.uint8, (6, 7), elements=st.integers(0, 2)))
def test_perimeter_of_any_pattern(labels):
    ours = measure_objects(labels)
    theirs = [measure.perimeter(labels == k, neighborhood=4) for k in ours.label]
    np.testing.assert_allclose(ours.perimeter_px_2d, theirs, atol=1e-9)


def test_eccentricity_where_pixels_are_not_square():
    labels = random_labels((60, 70), 4)
    ours = measure_objects(labels, spacing_um=(0.3, 0.1))
    theirs = measure.regionprops(labels, spacing=(0.3, 0.1))
    np.testing.assert_allclose(ours.eccentricity_2d, [r.eccentricity for r in theirs], atol=1e-7)


@pytest.mark.parametrize("pixel", [(0.2, 0.1), (0.1, 0.25), (0.5, 0.1)])
@pytest.mark.parametrize("radii", [(4.0, 4.0), (3.0, 6.0), (6.0, 3.0)])
def test_perimeter_of_an_ellipse_where_pixels_are_not_square(pixel, radii):
    disc = ellipsoid((1.0, *radii), (10.0, *pixel)).max(axis=0)
    ours = measure_objects(disc, spacing_um=pixel)
    major, minor = max(radii), min(radii)
    truth = 4 * major * special.ellipe(1 - (minor / major) ** 2)
    assert ours.perimeter_um_2d[0] == pytest.approx(truth, rel=0.03)
    assert ours.area_um2_2d[0] == pytest.approx(np.pi * major * minor, rel=0.03)
    assert np.sqrt(1 - ours.eccentricity_2d[0] ** 2) == pytest.approx(minor / major, abs=0.03)
    assert ours.roundness_2d[0] == pytest.approx(
        4 * np.pi * np.pi * major * minor / truth**2, rel=0.08
    )


@pytest.mark.parametrize("radius", [5, 8, 15, 30])
def test_a_ball_is_a_ball(radius):
    ball = ellipsoid((radius,) * 3, (1.0,) * 3, centre=(0.3, -0.2, 0.45))
    ours = measure_objects(ball, spacing_um=(1.0, 1.0, 1.0))
    assert 0.97 < ours.sphericity_3d[0] < 1.03
    assert ours.surface_area_um2_3d[0] == pytest.approx(4 * np.pi * radius**2, rel=0.03)
    assert ours.ellipticity_3d[0] < 0.03


@pytest.mark.parametrize("spacing", [(0.5, 0.1, 0.1), (0.3, 0.1, 0.1), (0.1, 0.1, 0.25)])
@pytest.mark.parametrize("radius", [1.5, 3.0, 5.0])
def test_a_ball_of_flat_voxels_is_a_ball(radius, spacing):
    ball = ellipsoid((radius,) * 3, spacing, centre=(0.3, -0.2, 0.45))
    ours = measure_objects(ball, spacing_um=spacing)
    assert 0.97 < ours.sphericity_3d[0] < 1.03
    assert ours.ellipticity_3d[0] < 0.03


@pytest.mark.parametrize("spacing", [(0.2, 0.2, 0.2), (0.5, 0.1, 0.1), (0.3, 0.12, 0.1)])
@pytest.mark.parametrize("radii", [(2.0, 4.0, 6.0), (5.0, 3.0, 3.0), (2.5, 6.0, 6.0)])
def test_surface_of_an_ellipsoid(radii, spacing):
    ours = measure_objects(ellipsoid(radii, spacing), spacing_um=spacing)
    assert ours.surface_area_um2_3d[0] == pytest.approx(ellipsoid_surface(radii), rel=0.03)
    assert ours.volume_um3_3d[0] == pytest.approx(4 / 3 * np.pi * np.prod(radii), rel=0.02)
    assert ours.ellipticity_3d[0] == pytest.approx(1 - min(radii) / max(radii), abs=0.02)


def test_surface_of_flat_faces_stays_within_the_stated_error():
    plate = np.zeros((6, 200, 200), np.uint8)
    plate[1:5] = 1
    ours = measure_objects(plate, spacing_um=(0.5, 0.1, 0.1))
    truth = 2 * 20 * 20 + 4 * 20 * 2.0
    assert 0.90 * truth < ours.surface_area_um2_3d[0] < 1.06 * truth


def test_objects_are_closed_at_the_edge_of_the_image():
    ball = ellipsoid((8.0,) * 3, (1.0,) * 3)
    tight = ball[2:-2, 2:-2, 2:-2]
    a, b = (measure_objects(image, spacing_um=(1, 1, 1)) for image in (ball, tight))
    assert a.surface_area_um2_3d == b.surface_area_um2_3d
    assert (a.touches_border[0], b.touches_border[0]) == (False, True)


def test_objects_do_not_depend_on_their_neighbours():
    both = np.zeros((12, 30, 30), int)
    both[2:9, 3:15, 3:15], both[2:9, 3:15, 15:28] = 9, 2
    together = measure_objects(both, spacing_um=(0.4, 0.2, 0.2)).columns()
    for k, label in enumerate((2, 9)):
        alone = measure_objects((both == label) * label, spacing_um=(0.4, 0.2, 0.2)).columns()
        for name, values in together.items():
            np.testing.assert_array_equal(values[k : k + 1], alone[name], err_msg=name)


@pytest.mark.parametrize("seed", range(2))
def test_stacks_agree_with_loops(seed):
    labels = random_labels((7, 20, 24), seed)
    image = np.random.default_rng(seed).integers(0, 4000, labels.shape).astype(np.uint16)
    spacing = np.array([0.5, 0.2, 0.1])
    ours = measure_objects(labels, intensity=image, spacing_um=spacing)
    for k, label in enumerate(np.unique(labels[labels > 0])):
        where = np.argwhere(labels == label)
        values = image[labels == label].astype(float)
        assert ours.label[k] == label
        assert ours.volume_voxels_3d[k] == len(where)
        assert ours.centroid_px[k] == pytest.approx(where.mean(axis=0))
        assert ours.centroid_um[k] == pytest.approx(where.mean(axis=0) * spacing)
        assert ours.bounding_box[k, :, 0].tolist() == where.min(axis=0).tolist()
        assert ours.bounding_box[k, :, 1].tolist() == (where.max(axis=0) + 1).tolist()
        last = np.array(labels.shape) - 1
        assert ours.touches_border[k] == ((where == 0) | (where == last)).any()
        assert ours.touches_side[k] == ((where == 0) | (where == last))[:, 1:].any()
        assert ours.median_intensity[k] == np.median(values)
        assert ours.sum_intensity[k] == values.sum()
        if len(where) >= 3:
            variances = np.linalg.eigvalsh(np.cov((where * spacing).T))
            expected = 1 - np.sqrt(max(variances[0], 0) / variances[-1])
            assert ours.ellipticity_3d[k] == pytest.approx(expected, abs=1e-6)
        else:
            assert np.isnan(ours.ellipticity_3d[k])


def test_without_spacing_nothing_is_in_micrometres():
    columns = measure_objects(ellipsoid((4.0,) * 3, (1.0,) * 3)).columns()
    unknown = {name for name, values in columns.items() if np.isnan(values).all()}
    assert {name for name in columns if "_um" in name} <= unknown
    assert {"sphericity_3d", "ellipticity_3d", "mean_intensity"} <= unknown
    assert columns["volume_voxels_3d"][0] > 0
    assert set(MORPHOLOGY) < set(columns)


def test_one_plane_is_an_image():
    labels = random_labels((40, 40), 3)
    flat = measure_objects(labels, spacing_um=(0.2, 0.2)).columns()
    plane = measure_objects(labels[None], spacing_um=(None, 0.2, 0.2)).columns()
    for name, values in flat.items():
        np.testing.assert_array_equal(values, plane[name], err_msg=name)
    solid = measure_objects(labels[None], spacing_um=(0.5, 0.2, 0.2), stack=True)
    assert np.isfinite(solid.surface_area_um2_3d).all()
    assert np.isnan(solid.area_px_2d).all()


def test_numbering_does_not_matter():
    labels = random_labels((50, 60), 5)
    huge = np.where(labels, labels.astype(np.int64) * 10**14 + 1, 0)
    a, b = measure_objects(labels).columns(), measure_objects(huge).columns()
    assert a.pop("label").tolist() == ((b.pop("label") - 1) // 10**14).tolist()
    for name, values in a.items():
        np.testing.assert_array_equal(values, b[name], err_msg=name)


@pytest.mark.parametrize("dtype", [np.uint8, ">u2", np.int16, ">i4", np.uint64, np.int64])
def test_any_integer_labels(dtype):
    labels = np.array([[0, 3, 3], [0, 0, 9]]).astype(dtype)
    labels.setflags(write=False)
    assert measure_objects(labels).n_voxels.tolist() == [2, 1]
    assert measure_objects(np.asfortranarray(labels)[:, ::-1]).n_voxels.tolist() == [2, 1]


@pytest.mark.parametrize("dtype", [bool, np.uint8, ">u2", np.int32, np.float16, ">f4", ">f8"])
def test_any_real_image(dtype):
    image = np.array([[0, 1, 1], [1, 0, 0]]).astype(dtype)
    image.setflags(write=False)
    found = measure_intensities([[1, 1, 1], [2, 2, 2]], image)
    assert found.sum.dtype == np.float64
    assert found.sum.tolist() == [2, 1]
    assert found.median.tolist() == [1, 0]


def test_sums_of_bright_objects_do_not_overflow():
    image = np.full((300, 300), 65535, np.uint16)
    found = measure_intensities(np.ones(image.shape, int), image)
    assert found.sum[0] == 65535 * 90_000
    assert found.mean[0] == 65535


def test_a_pixel_without_value_spoils_only_its_object():
    image = np.array([[1.0, np.nan, 3.0, 5.0], [2.0, 2.0, np.inf, -np.inf]])
    found = measure_intensities([[1, 1, 2, 2], [3, 3, 4, 4]], image)
    for values in (found.mean, found.median, found.max, found.sum):
        assert np.isnan(values[0])
    assert found.median[1:3].tolist() == [4, 2]
    assert found.max[3] == np.inf


def test_nothing_found_is_a_result():
    ours = measure_objects(
        np.zeros((4, 5, 6), int), spacing_um=(1, 1, 1), intensity=np.ones((4, 5, 6))
    )
    assert len(ours) == 0
    assert all(len(values) == 0 for values in ours.columns().values())
    assert len(measure_objects(np.zeros((1, 1), np.uint8))) == 0


def test_one_pixel():
    ours = measure_objects([[1]], spacing_um=(0.5, 0.5), intensity=[[7.0]])
    assert (ours.area_um2_2d[0], ours.perimeter_px_2d[0], ours.eccentricity_2d[0]) == (0.25, 0, 0)
    assert np.isnan(ours.roundness_2d[0])
    assert ours.median_intensity[0] == 7


@pytest.mark.parametrize(
    ("labels", "keywords", "error", "message"),
    [
        (np.zeros((0, 5), int), {}, InputError, "with pixels"),
        (np.zeros((3, 3)), {}, InputError, "integer labels"),
        (np.zeros((3, 3), bool), {}, InputError, "integer labels"),
        (np.full((3, 3), -1), {}, InputError, "at least 0"),
        (np.full((3, 3), 2**63, np.uint64), {}, InputError, "2\\*\\*63"),
        (np.zeros(3, int), {}, AxisMismatchError, "shape"),
        (np.zeros((2, 2, 2, 2), int), {}, AxisMismatchError, "shape"),
        (np.ones((2, 3, 3), int), {"spacing_um": (0.1, 0.1)}, CalibrationError, "z, y and x"),
        (np.ones((3, 3), int), {"spacing_um": (0.1,)}, CalibrationError, "y and x"),
        (np.ones((3, 3), int), {"spacing_um": (0.1, 0)}, CalibrationError, "positive"),
        (np.ones((3, 3), int), {"spacing_um": (0.1, np.nan)}, CalibrationError, "positive"),
        (np.ones((3, 3), int), {"spacing_um": {"y": 0.1}}, CalibrationError, "positive"),
        (np.ones((3, 3), int), {"intensity": np.ones((3, 4))}, AxisMismatchError, "shape"),
        (np.ones((3, 3), int), {"intensity": np.ones((3, 3), complex)}, InputError, "real"),
        (np.ones((3, 3), int), {"intensity": np.ones(9)}, AxisMismatchError, "shape"),
        (np.ones((2, 3, 3), int), {"stack": False}, InputError, "one plane"),
        (np.ones((3, 3), int), {"stack": True}, InputError, "z, y, x"),
    ],
)
def test_bad_input(labels, keywords, error, message):
    with pytest.raises(error, match=message):
        measure_objects(labels, **keywords)
