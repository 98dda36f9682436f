"""Simulated confocal stacks are what they say they are."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import InputError
from aequorea.simulate.confocal import PunctaLaw, simulated_confocal, volume_ranks

SHAPE = (20, 128, 128)


def test_same_seed_same_stack():
    one, other = (simulated_confocal(SHAPE, n_cells=1, rng=5) for _ in range(2))
    assert all(np.array_equal(one.images[k], other.images[k]) for k in one.images)


def test_puncta_lie_where_they_are_said_to_lie():
    stack = simulated_confocal(SHAPE, n_cells=2, cell_diameter_um=5, nucleus_diameter_um=2.5, rng=1)
    spots = stack.puncta["mRNA"]
    here = tuple(np.rint(spots.position_px).astype(int).T)
    assert np.array_equal(stack.cells[here], spots.cell)
    assert np.array_equal(stack.nuclei[here] > 0, spots.in_nucleus)
    assert np.allclose(spots.position_um, spots.position_px * stack.spacing_um)


def test_light_of_a_channel_is_that_of_its_puncta():
    law = PunctaLaw(per_cell=40, nuclear=0, photons=800)
    stack = simulated_confocal(
        SHAPE, n_cells=1, puncta={"A": law}, cell_background_photons=0, camera_offset=0, rng=3
    )
    light = stack.images["A"].astype(float).sum() - 6.0 * np.prod(SHAPE)
    seen = stack.puncta["A"].photons.sum()
    noise = np.sqrt(np.prod(SHAPE) * (6 + 1.5**2))
    # clipping at 0 adds a little: P(grey < 0) is about 1 % at 6 photons and read noise 1.5
    assert light == pytest.approx(seen, abs=8 * noise)


@pytest.mark.parametrize(("attraction", "mean"), [(0.0, 0.5), (3.0, 0.281), (-3.0, 0.719)])
def test_spatial_law_holds(attraction: float, mean: float):
    # the mean of u with density exp(-a u) on (0, 1) is 1/a - 1/(exp(a) - 1)
    law = PunctaLaw(per_cell=3000, nuclear=0, attraction=attraction)
    stack = simulated_confocal(SHAPE, n_cells=1, puncta={"A": law}, rng=2)
    spots = stack.puncta["A"]
    ranks = volume_ranks(stack.cells, stack.nuclei, np.array(stack.spacing_um))
    here = tuple(np.rint(spots.position_px).astype(int).T)
    assert ranks[here].mean() == pytest.approx(mean, abs=0.02)


def test_light_fades_with_depth_and_bleeds_into_the_next_channel():
    clear = simulated_confocal(SHAPE, n_cells=1, rng=4)
    faded = simulated_confocal(SHAPE, n_cells=1, attenuation_depth_um=3.0, crosstalk=0.2, rng=4)
    inside = clear.nuclei > 0
    deep, shallow = (inside & (np.arange(20)[:, None, None] // 10 == half) for half in (1, 0))

    def level(stack, channel, where):
        return stack.images[channel][where].astype(float).mean() - 106

    loss = level(faded, "nuclei", deep) / level(clear, "nuclei", deep)
    assert loss < level(faded, "nuclei", shallow) / level(clear, "nuclei", shallow) < 1
    more = level(faded, "cells", shallow) / level(clear, "cells", shallow)
    assert more > level(faded, "nuclei", shallow) / level(clear, "nuclei", shallow) + 0.2


def test_hot_pixels_outshine_everything():
    stack = simulated_confocal(SHAPE, n_cells=1, n_hot_pixels=3, rng=6)
    for image in stack.images.values():
        hot = image[tuple(stack.hot_pixels.T)]
        assert hot.min() >= 4095
        assert np.all(hot == image.max())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (4, 5)}, "shape"),
        ({"spacing_um": (0.3, 0, 0.1)}, "spacing_um"),
        ({"cell_diameter_um": 60.0, "nucleus_diameter_um": 8.0}, "no room"),
        ({"nucleus_diameter_um": 9.0}, "nucleus_diameter_um"),
    ],
)
def test_impossible_stacks_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        simulated_confocal(**{"shape": SHAPE, "rng": 0, **options})
