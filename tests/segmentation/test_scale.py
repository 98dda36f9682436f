"""The typical diameter of objects against known ones, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import InputError
from aequorea.segmentation import estimate_diameter_px, segment, watershed_segmentation
from aequorea.segmentation.scale import object_scale, size_notes
from aequorea.simulate import simulated_nuclei


@pytest.mark.parametrize("diameter", [8, 12, 18, 30, 60])
@pytest.mark.parametrize("photons", [25.0, 120.0])
def test_diameter_of_simulated_nuclei(diameter: int, photons: float) -> None:
    image = simulated_nuclei(
        (14 * diameter, 14 * diameter), n=40, diameter_px=diameter, photons=photons, rng=diameter
    ).image
    assert estimate_diameter_px(image) == pytest.approx(diameter, rel=0.2)


@pytest.mark.parametrize(("diameter", "step"), [(12, 1.0), (16, 2.0), (20, 3.3)])
def test_diameter_and_plane_distance_in_stacks(diameter: int, step: float) -> None:
    shape = (int(4 * diameter / step), 8 * diameter, 8 * diameter)
    image = simulated_nuclei(
        shape, n=40, diameter_px=diameter, spacing_um=(step, 1, 1), rng=diameter
    ).image
    found = object_scale(image)
    assert found.diameter_px == pytest.approx(diameter, rel=0.2)
    assert found.stretch[0] == pytest.approx(step, rel=0.2)
    known = estimate_diameter_px(image, spacing_um=(step, 1, 1))
    assert known == pytest.approx(diameter, rel=0.2)


def test_grey_levels_and_orientation_do_not_matter() -> None:
    image = simulated_nuclei((200, 240), n=30, rng=1).image
    diameter = estimate_diameter_px(image)
    assert estimate_diameter_px(3.0 * image - 70) == pytest.approx(diameter, rel=1e-3)
    assert estimate_diameter_px(image[::-1].T) == pytest.approx(diameter, rel=0.1)
    assert estimate_diameter_px(image.astype(">u2")) == pytest.approx(diameter, rel=1e-6)


def test_hot_pixels_and_specks_do_not_count() -> None:
    nuclei = simulated_nuclei((252, 252), n=40, n_debris=40, rng=2)
    image = nuclei.image.copy()
    rng = np.random.default_rng(0)
    image[tuple(rng.integers(0, 252, (2, 40)))] = 60_000
    assert estimate_diameter_px(image) == pytest.approx(18, rel=0.25)


def test_a_mask_chooses_whose_size() -> None:
    small = simulated_nuclei((200, 200), n=40, diameter_px=10, rng=1).image
    large = simulated_nuclei((200, 200), n=8, diameter_px=34, rng=1).image
    both = np.concatenate([small, large], axis=1)
    left = np.zeros(both.shape, bool)
    left[:, :200] = True
    assert estimate_diameter_px(both, mask=left) == pytest.approx(10, rel=0.2)
    assert estimate_diameter_px(both, mask=~left) == pytest.approx(34, rel=0.2)


def test_a_large_image_is_judged_by_a_part_with_objects() -> None:
    nuclei = simulated_nuclei((300, 300), n=50, rng=3).image
    image = np.full((1500, 1500), 110, np.uint16)
    image += np.random.default_rng(0).poisson(10, image.shape).astype(np.uint16)
    image[1150:1450, 1150:1450] = nuclei
    assert estimate_diameter_px(image) == pytest.approx(18, rel=0.25)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 5)),
        np.zeros((1, 1)),
        np.full((40, 40), 7.0),
        np.full((30, 30), np.nan),
        np.zeros((5, 20, 20), np.uint8),
    ],
)
def test_where_nothing_stands_out_there_is_no_diameter(image: np.ndarray) -> None:
    assert np.isnan(estimate_diameter_px(image))


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(InputError):
        estimate_diameter_px(np.zeros(5))
    with pytest.raises(InputError):
        estimate_diameter_px(np.zeros((5, 5)), spacing_um=(1.0,))
    with pytest.raises(InputError):
        estimate_diameter_px(np.zeros((5, 5)), spacing_um=(1.0, -1.0))


def hazy(strength: float) -> np.ndarray:
    """Many small nuclei and two hazes, each a quarter as wide as the image."""
    side = 360
    nuclei = simulated_nuclei((side, side), n=70, diameter_px=14, rng=0).image.astype(np.float32)
    y, x = np.mgrid[:side, :side] / side
    for centre in (0.3, 0.7):
        far = (y - centre) ** 2 + (x - centre) ** 2
        nuclei += np.float32(strength * nuclei.max()) * np.exp(-far / 0.02).astype(np.float32)
    return nuclei


def test_a_size_on_which_light_and_number_disagree_is_noted() -> None:
    scale = object_scale(hazy(2.0))
    assert scale.diameter_px > 50
    assert scale.diameter_by_number_px == pytest.approx(14, rel=0.15)
    found = watershed_segmentation(hazy(2.0))
    assert found.notes[0] == (
        f"object size is uncertain: {scale.diameter_px:.0f} px by area, "
        f"{scale.diameter_by_number_px:.0f} px by number; give diameter_px (or diameter_um)"
    )
    assert segment(hazy(2.0), method="watershed").notes == found.notes
    assert watershed_segmentation(hazy(2.0), diameter_px=14).notes == ()
    assert watershed_segmentation(hazy(0.3)).notes == ()


@pytest.mark.parametrize("diameter", [12, 18, 30, 60])
@pytest.mark.parametrize("photons", [25.0, 120.0])
def test_the_texture_of_nuclei_makes_their_size_no_less_certain(
    diameter: int, photons: float
) -> None:
    shape = (12 * diameter, 12 * diameter)
    scale = object_scale(
        simulated_nuclei(shape, n=30, diameter_px=diameter, photons=photons, rng=2).image
    )
    assert size_notes(scale.diameter_px, scale.diameter_by_number_px) == ()
