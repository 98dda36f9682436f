from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.spatial.localization import (
    INDICES,
    localization_of_intensity,
    localization_of_points,
)

SPACING = np.array([0.3, 0.1, 0.12])
SHAPE = (14, 44, 80)
NEAR = ("proportion_near_landmark", "index_near_landmark")
RATIOS = (
    "dispersion",
    "peripheral_distribution",
    "index_in_landmark",
    "index_mean_distance_landmark",
    "index_mean_distance_membrane",
)


def ball(centre, radius):
    grid = np.meshgrid(
        *[np.arange(n) * s for n, s in zip(SHAPE, SPACING, strict=True)], indexing="ij"
    )
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) < radius**2


def scene():
    """Cells 2 and 5 with nuclei off their centres, and cell 8 without."""
    cells, nuclei = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.int32)
    for label, x in ((2, 1.7), (5, 4.9), (8, 7.9)):
        cells[ball((2.0, 2.1, x), 1.5)] = label
        if label != 8:
            nuclei[ball((2.0, 1.9, x + 0.2), 0.7)] = label
    return cells, nuclei


def scattered(mask, n, rng):
    voxels = np.argwhere(mask)
    return (voxels[rng.integers(0, len(voxels), n)] + rng.uniform(-0.49, 0.49, (n, 3))) * SPACING


def same(one, other, **tolerance):
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_allclose(a, b, err_msg=field.name, **tolerance)


# --- known truth ------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["cell", "cytosol"])
def test_even_puncta_have_an_index_of_one(where):
    cells, nuclei = scene()
    rng = np.random.default_rng(0)
    runs = [
        localization_of_points(
            scattered(cells == 2, 25, rng), cells, nuclei, SPACING, where=where, within_um=[0.3]
        )
        for _ in range(250)
    ]
    names = [name for name in RATIOS if where == "cell" or name != "index_in_landmark"]
    for name in names:
        values = np.array([getattr(run, name)[0] for run in runs])
        assert abs(values.mean() - 1) < 4 * values.std() / np.sqrt(len(runs)), name
    near = np.array(
        [[run.index_near_landmark[0, 0], run.index_near_membrane[0, 0]] for run in runs]
    )
    assert (np.abs(near.mean(axis=0) - 1) < 4 * near.std(axis=0) / np.sqrt(len(runs))).all()
    squared = np.array([(run.polarity[0] / run.polarity_by_chance[0]) ** 2 for run in runs])
    assert abs(squared.mean() - 1) < 4 * squared.std() / np.sqrt(len(runs))


@pytest.mark.parametrize("n", [2, 3, 40])
def test_dispersion_does_not_depend_on_the_number_of_puncta(n):
    cells, nuclei = scene()
    rng = np.random.default_rng(1)
    values = np.array(
        [
            localization_of_points(
                scattered(cells == 5, n, rng), cells, nuclei, SPACING, within_um=[]
            ).dispersion[1]
            for _ in range(150)
        ]
    )
    assert abs(values.mean() - 1) < 4 * values.std() / np.sqrt(len(values))


def test_an_even_intensity_has_an_index_of_exactly_one():
    cells, nuclei = scene()
    for where in ("cell", "cytosol"):
        found = localization_of_intensity(
            np.full(SHAPE, 30), cells, nuclei, SPACING, background=10, where=where
        )
        for name in RATIOS:
            if where == "cell" or name != "index_in_landmark":
                np.testing.assert_allclose(getattr(found, name)[:2], 1, rtol=1e-10)
        np.testing.assert_allclose(found.index_near_membrane[:2], 1)
        np.testing.assert_allclose(found.polarity[:2], 0, atol=1e-10)


def test_indices_equal_a_calculation_by_hand():
    cells, nuclei = scene()
    rng = np.random.default_rng(2)
    at = np.argwhere(cells == 5)
    at = at[rng.integers(0, len(at), 30)]
    found = localization_of_points(at * SPACING, cells, nuclei, SPACING, within_um=[0.5])
    puncta, cell = at * SPACING, np.argwhere(cells == 5) * SPACING
    nucleus, outside = np.argwhere(nuclei == 5) * SPACING, np.argwhere(cells != 5) * SPACING
    gyration = np.sqrt(((cell - cell.mean(axis=0)) ** 2).sum(axis=1).mean())
    polarity = np.linalg.norm(puncta.mean(axis=0) - cell.mean(axis=0)) / gyration
    assert found.polarity[1] == pytest.approx(polarity)
    assert found.polarity_by_chance[1] == pytest.approx(1 / np.sqrt(30))
    assert found.dispersion[1] == pytest.approx(puncta.var(axis=0, ddof=1).sum() / gyration**2)
    seen, even = (((p - nucleus.mean(axis=0)) ** 2).sum(axis=1).mean() for p in (puncta, cell))
    assert found.peripheral_distribution[1] == pytest.approx(seen / even)
    in_nucleus = (nuclei[tuple(at.T)] == 5).mean()
    assert found.proportion_in_landmark[1] == pytest.approx(in_nucleus)
    assert found.expected_in_landmark[1] == pytest.approx(len(nucleus) / len(cell))

    def nearest(points, targets):
        return np.array([np.sqrt(((targets - p) ** 2).sum(axis=1).min()) for p in points])

    cell = cell[::7]
    for target, voxels in (("landmark", nucleus), ("membrane", outside)):
        observed, expected = nearest(puncta, voxels), nearest(cell, voxels)
        assert getattr(found, f"mean_distance_{target}_um")[1] == pytest.approx(observed.mean())
        ratio = observed.mean() / expected.mean()
        assert getattr(found, f"index_mean_distance_{target}")[1] == pytest.approx(ratio, rel=0.02)
        ratio = np.sort(observed)[14] / np.median(expected)
        median = getattr(found, f"index_median_distance_{target}")[1]
        assert median == pytest.approx(ratio, rel=0.05)
        share = (observed <= 0.5).mean()
        assert getattr(found, f"proportion_near_{target}")[1, 0] == pytest.approx(share)
        index = getattr(found, f"index_near_{target}")[1, 0]
        assert index == pytest.approx(share / (expected <= 0.5).mean(), rel=0.05)


def test_directions_are_as_named():
    cells, nuclei = scene()
    rng = np.random.default_rng(3)
    near = scattered(ball((2.0, 1.9, 1.9), 0.9) & (nuclei == 0), 60, rng)
    far = scattered((cells == 5) & ~ball((2.0, 2.1, 4.9), 1.25), 60, rng)
    found = localization_of_points(np.vstack([near, far]), cells, nuclei, SPACING, within_um=[0.3])
    around, away = 0, 1
    assert found.peripheral_distribution[around] < 0.75 < 1.2 < found.peripheral_distribution[away]
    for name in ("index_mean_distance_landmark", "index_median_distance_landmark"):
        assert getattr(found, name)[around] < 0.7 < 1.2 < getattr(found, name)[away]
    for name in ("index_mean_distance_membrane", "index_median_distance_membrane"):
        assert getattr(found, name)[away] < 0.7 < 1.2 < getattr(found, name)[around]
    assert found.index_near_landmark[around, 0] > 2 > 0.5 > found.index_near_landmark[away, 0]
    assert found.index_near_membrane[away, 0] > 1.5 > 0.5 > found.index_near_membrane[around, 0]
    side = scattered((cells == 2) & (np.arange(80) * 0.12 < 0.9), 60, rng)
    found = localization_of_points(side, cells, nuclei, SPACING)
    assert found.polarity[0] > 5 * found.polarity_by_chance[0]
    assert found.dispersion[0] < 0.8


# --- invariance -------------------------------------------------------------------------------


def test_moving_scaling_and_relabelling_change_nothing():
    cells, nuclei = scene()
    rng = np.random.default_rng(4)
    points = scattered(cells > 0, 120, rng)
    one = localization_of_points(points, cells, nuclei, SPACING)
    pad = ((1, 2), (5, 0), (3, 4))
    moved = localization_of_points(
        points + SPACING * (1, 5, 3), np.pad(cells, pad), np.pad(nuclei, pad), SPACING
    )
    same(one, moved, rtol=1e-9, atol=1e-12)
    table = np.arange(9)
    table[[2, 5, 8]] = 100, 200, 300
    relabelled = localization_of_points(points, table[cells], table[nuclei], SPACING)
    for name in INDICES:
        np.testing.assert_array_equal(getattr(one, name), getattr(relabelled, name))
    assert relabelled.label.tolist() == [100, 200, 300]
    tripled = localization_of_points(
        3 * points, cells, nuclei, 3 * SPACING, within_um=(1.5, 3.0, 6.0)
    )
    for name in INDICES:
        factor = 3 if name.endswith("_um") else 1
        np.testing.assert_allclose(getattr(tripled, name), factor * getattr(one, name))
    np.testing.assert_allclose(tripled.index_near_landmark, one.index_near_landmark)


def test_puncta_and_their_counts_as_intensity_agree():
    cells, nuclei = scene()
    points = scattered(cells > 0, 200, np.random.default_rng(5))
    image = np.zeros(SHAPE)
    np.add.at(image, tuple(np.floor(points / SPACING + 0.5).astype(int).T), 1)
    counted = localization_of_points(points, cells, nuclei, SPACING)
    summed = localization_of_intensity(image, cells, nuclei, SPACING)
    for name in INDICES:
        if name not in ("dispersion", "polarity_by_chance"):
            np.testing.assert_allclose(getattr(counted, name), getattr(summed, name))
    n = counted.amount
    np.testing.assert_allclose(counted.dispersion * (n - 1), summed.dispersion * n)
    assert np.isnan(summed.polarity_by_chance).all()


def test_background_of_each_cell_is_subtracted():
    cells, nuclei = scene()
    image = np.random.default_rng(6).random(SHAPE)
    offset = np.zeros(9)
    offset[[2, 5, 8]] = 10, 20, 30
    lifted = localization_of_intensity(
        image + offset[cells], cells, nuclei, SPACING, background=[10, 20, 30]
    )
    same(lifted, localization_of_intensity(image, cells, nuclei, SPACING), rtol=1e-6, atol=1e-9)


def test_one_plane_and_two_axes_agree():
    cells, nuclei = (image[7] for image in scene())
    points = np.argwhere(cells > 0)[::40] * SPACING[1:]
    flat = localization_of_points(points, cells, nuclei, SPACING[1:])
    plane = localization_of_points(
        np.pad(points, ((0, 0), (1, 0))), cells[None], nuclei[None], SPACING
    )
    same(flat, plane, rtol=1e-12)


# --- what is undefined ------------------------------------------------------------------------


def test_reasons_are_given_for_what_is_missing():
    cells, nuclei = scene()
    points = np.vstack(
        [scattered(cells == 2, 1, np.random.default_rng(7)), [[-5, 0, 0], [0, 0, 0]]]
    )
    found = localization_of_points(points, cells, nuclei, SPACING)
    assert found.n_outside == 2
    assert found.amount.tolist() == [1, 0, 0]
    assert found.reason == (
        "dispersion: a single punctum",
        "all: no puncta",
        "landmark: the cell has no landmark; all: no puncta",
    )
    assert np.isfinite(found.polarity[0])
    assert np.isnan(found.dispersion[0])
    assert np.isnan(found.polarity[1:]).all()
    assert np.isfinite(found.expected_in_landmark[1])


def test_cells_without_a_landmark_keep_what_needs_none():
    cells, nuclei = scene()
    points = scattered(cells == 8, 20, np.random.default_rng(8))
    found = localization_of_points(points, cells, nuclei, SPACING)
    assert found.reason[2] == "landmark: the cell has no landmark"
    assert np.isfinite(
        [found.polarity[2], found.dispersion[2], found.index_mean_distance_membrane[2]]
    ).all()
    assert np.isnan([found.peripheral_distribution[2], found.index_mean_distance_landmark[2]]).all()
    in_cytosol = localization_of_points(points, cells, nuclei, SPACING, where="cytosol")
    assert "cytosol is not known" in in_cytosol.reason[2]
    assert np.isnan(in_cytosol.polarity[2])


def test_degenerate_cells_are_named():
    one = localization_of_points([[0, 0]], [[1]], [[0]], (1, 1))
    assert "membrane: the cell fills the image" in one.reason[0]
    assert "polarity: a single voxel" in one.reason[0]
    full = localization_of_points([[0, 1]], [[0, 1, 1, 0]], [[0, 1, 1, 0]], (1, 1), where="cytosol")
    assert full.reason == ("all: the landmark fills the cell",)
    assert full.proportion_in_landmark[0] == 1
    inside = localization_of_points([[0, 1], [0, 2]], [[0, 1, 1, 0]], [[0, 1, 1, 0]], (1, 1))
    assert "index_mean_distance_landmark: no volume away from it" in inside.reason[0]
    tight = localization_of_points(
        [[0, 1]], [[0, 1, 1, 0]], [[0, 0, 1, 0]], (1, 1), within_um=[0.5]
    )
    assert "index_near_membrane: no volume within 0.5 µm" in tight.reason[0]
    assert np.isnan(tight.index_near_membrane[0, 0])
    assert "index_median_distance_landmark: half of the volume is at distance 0" in tight.reason[0]
    far = localization_of_points([[0, 1]], [[0, 1, 1, 0]], [[1, 0, 0, 0]], (1, 1))
    assert "index_in_landmark: the landmark is not in the cell" in far.reason[0]
    dim = localization_of_intensity(
        np.ones((1, 4)), [[0, 1, 1, 0]], [[0, 1, 0, 0]], (1, 1), background=2
    )
    assert dim.reason == ("all: no signal above background",)


def test_no_cells_and_no_points_are_no_error():
    nothing = np.zeros((3, 4, 5), int)
    found = localization_of_points([], nothing, nothing, SPACING)
    assert len(found) == 0
    assert found.index_near_landmark.shape == (0, 3)
    assert localization_of_points([[0, 0, 0]], nothing, nothing, SPACING).n_outside == 1


def test_what_does_not_fit_is_refused():
    cells, nuclei = scene()
    with pytest.raises(InputError, match="where"):
        localization_of_points([], cells, nuclei, SPACING, where="nucleus")
    with pytest.raises(InputError, match="within_um"):
        localization_of_points([], cells, nuclei, SPACING, within_um=[-1])
    with pytest.raises(CalibrationError, match="spacing_um"):
        localization_of_points([], cells, nuclei, (1, 1))
    with pytest.raises(AxisMismatchError, match="landmarks"):
        localization_of_points([], cells, nuclei[1:], SPACING)
    with pytest.raises(AxisMismatchError, match="image"):
        localization_of_intensity(np.ones((2, 2)), cells, nuclei, SPACING)
    with pytest.raises(InputError, match="background"):
        localization_of_intensity(np.ones(SHAPE), cells, nuclei, SPACING, background=[1, 2])
    with pytest.raises(InputError, match="finite"):
        localization_of_intensity(np.full(SHAPE, np.nan), cells, nuclei, SPACING)
