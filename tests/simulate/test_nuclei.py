"""Simulated nuclei and markers: what is said of them is true of the pixels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aequorea.errors import InputError
from aequorea.simulate import simulated_markers, simulated_nuclei


def neighbours_of(labels: np.ndarray, label: int) -> set[int]:
    around = ndimage.binary_dilation(labels == label, np.ones((3,) * labels.ndim))
    return set(np.unique(labels[around]).tolist()) - {0, label}


@pytest.mark.parametrize(
    ("shape", "spacing"), [((200, 220), None), ((20, 90, 100), (1.0, 0.5, 0.5))]
)
def test_every_nucleus_is_one_piece_around_its_centre(
    shape: tuple[int, ...], spacing: tuple[float, ...] | None
) -> None:
    nuclei = simulated_nuclei(shape, n=25, diameter_px=14, spacing_um=spacing, rng=1)
    assert nuclei.image.shape == nuclei.labels.shape == shape
    assert nuclei.image.dtype == np.uint16
    assert nuclei.n == nuclei.labels.max() == 25
    for k in range(25):
        pieces, n = ndimage.label(nuclei.labels == k + 1)
        assert np.bincount(pieces.ravel())[1:].max() >= 0.9 * (pieces > 0).sum(), n
        assert nuclei.labels[tuple(np.rint(nuclei.centres_px[k]).astype(int))] == k + 1


def test_those_said_to_touch_do_and_no_others() -> None:
    nuclei = simulated_nuclei((300, 300), n=40, touching_fraction=0.5, rng=3)
    assert nuclei.touching.sum() == 20
    for k in range(nuclei.n):
        assert bool(neighbours_of(nuclei.labels, k + 1)) == nuclei.touching[k]


def test_size_follows_the_diameter_and_the_spacing() -> None:
    flat = simulated_nuclei((500, 500), n=60, diameter_px=20, size_cv=0.0, rng=2)
    inner = flat.labels[:, :]
    whole = [k for k in range(1, 61) if _is_inside(inner, k)]
    area = np.mean([(inner == k).sum() for k in whole])
    assert area == pytest.approx(np.pi * 10**2, rel=0.05)
    deep = simulated_nuclei(
        (24, 100, 100), n=12, diameter_px=20, size_cv=0.0, spacing_um=(2, 1, 1), rng=2
    )
    whole = [k for k in range(1, 13) if _is_inside(deep.labels, k)]
    volume = np.mean([(deep.labels == k).sum() for k in whole])
    assert volume == pytest.approx(4 / 3 * np.pi * 10**3 / 2, rel=0.08)


def _is_inside(labels: np.ndarray, label: int) -> bool:
    places = np.argwhere(labels == label)
    return bool((places.min(0) > 0).all() and (places.max(0) < np.array(labels.shape) - 1).all())


def test_light_and_noise_are_those_of_a_camera() -> None:
    nuclei = simulated_nuclei(
        (256, 256), n=20, photons=200, background_photons=16, camera_offset=300, rng=4
    )
    far = ndimage.distance_transform_edt(nuclei.labels == 0) > 8
    dark = nuclei.image[far].astype(float)
    assert dark.mean() == pytest.approx(316, abs=0.5)
    assert dark.var() == pytest.approx(16 + 1.5**2 + 1 / 12, rel=0.05)
    inside = nuclei.image[ndimage.distance_transform_edt(nuclei.labels) > 4]
    assert inside.mean() == pytest.approx(516, rel=0.1)


def test_the_same_seed_gives_the_same_image_and_another_seed_another() -> None:
    one, same, other = (simulated_nuclei((96, 96), n=6, rng=seed) for seed in (5, 5, 6))
    assert (one.image == same.image).all()
    assert (one.labels == same.labels).all()
    assert (one.image != other.image).any()


def test_light_falls_along_x_with_a_gradient_and_debris_is_not_labelled() -> None:
    flat = simulated_nuclei(
        (128, 256), n=0, background_photons=200, illumination_gradient=0.5, rng=0
    )
    ends = [flat.image[:, k].mean() - 100 for k in (0, -1)]
    assert ends == pytest.approx([300, 100], rel=0.03)
    specks = simulated_nuclei((128, 128), n=0, n_debris=10, rng=0)
    assert specks.labels.max() == 0
    assert specks.image.max() > 150


@pytest.mark.parametrize("where", ["cell", "ring", "nucleus", "puncta"])
def test_the_stain_is_where_it_is_said_to_be(where: str) -> None:
    nuclei = simulated_nuclei((200, 200), n=20, rng=7)
    marker = simulated_markers(nuclei, positive_fraction=0.35, where=where, rng=8)  # type: ignore[arg-type]
    assert marker.positive.sum() == 7
    stained = set(np.unique(marker.labels).tolist()) - {0}
    assert stained == set((np.flatnonzero(marker.positive) + 1).tolist())
    overlap = (marker.labels > 0) & (nuclei.labels > 0)
    assert (marker.labels[overlap] == nuclei.labels[overlap]).all()
    for label in stained:
        on = (marker.labels == label) & (nuclei.labels == label)
        if where == "ring":
            assert not on.any()
        elif where in ("cell", "nucleus"):
            assert (on == (nuclei.labels == label)).all()
    bright = marker.image[marker.labels > 0].mean()
    assert bright > marker.image[marker.labels == 0].mean() + 20


def test_positives_can_be_chosen() -> None:
    nuclei = simulated_nuclei((128, 128), n=5, rng=0)
    marker = simulated_markers(nuclei, positive=[True, False, False, True, False], rng=0)
    assert set(np.unique(marker.labels)) == {0, 1, 4}
    none = simulated_markers(nuclei, positive_fraction=0, rng=0)
    assert none.labels.max() == 0


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (50,)},
        {"shape": (0, 50)},
        {"n": -1},
        {"diameter_px": 1},
        {"diameter_px": float("nan")},
        {"touching_fraction": 1.5},
        {"cluster_size": 0},
        {"spacing_um": (1,)},
        {"spacing_um": (1, 0)},
        {"shape": (40, 40), "n": 100},
    ],
)
def test_what_cannot_be_simulated_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        simulated_nuclei(**options)  # type: ignore[arg-type]


def test_markers_that_do_not_fit_are_refused() -> None:
    nuclei = simulated_nuclei((64, 64), n=3, rng=0)
    for options in ({"positive": [True]}, {"positive_fraction": 2}, {"where": "nowhere"}):
        with pytest.raises(InputError):
            simulated_markers(nuclei, **options)  # type: ignore[arg-type]
