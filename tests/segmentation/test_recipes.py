"""The recipe of the 3CaMs notebooks against the same steps in plain scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import ball
from skimage.segmentation import watershed

from aequorea.errors import AxisMismatchError, InputError
from aequorea.segmentation.recipes import three_cams_bodies, three_cams_labels, three_cams_puncta
from aequorea.simulate import PunctaLaw, simulated_confocal


@pytest.fixture(scope="module")
def stack():
    return simulated_confocal(
        (40, 160, 160),
        spacing_um=(0.2, 0.1, 0.1),
        n_cells=1,
        cell_diameter_um=12,
        nucleus_diameter_um=5,
        puncta={"A": PunctaLaw(per_cell=150, photons=2500)},
        body_photons=0,
        background_photons=3,
        rng=2,
    )


def grow(mask, radius):
    return ndimage.binary_dilation(mask, ball(radius), border_value=0)


def shrink(mask, radius):
    return ndimage.binary_erosion(mask, ball(radius), border_value=1)


def drop(mask, smallest):
    pieces, n = ndimage.label(mask)
    for k in range(1, n + 1):
        if (pieces == k).sum() < smallest:
            mask = mask & (pieces != k)
    return mask


def plain_bodies(raw):
    image = raw.astype(np.float32) / raw.max()
    smooth = ndimage.gaussian_filter(image, 3)
    nuclei = shrink(grow(smooth > smooth.max() / 10, 4), 4)
    nuclei = drop(~drop(~nuclei, 30**3), 30**3)
    nuclei = grow(shrink(nuclei, 4), 4)
    smooth = ndimage.gaussian_filter(image, 4)
    body = grow(shrink(smooth > smooth.mean() * 1.1, 2), 2)
    body = drop(body, 130**3)
    body = shrink(grow(body, 4), 4)
    body = ~drop(~body, 130**3)
    body = grow(shrink(body, 2), 2)
    return body, nuclei


def plain_labels(raw, cytosol):
    smooth = ndimage.gaussian_filter(raw.astype(np.float32) / raw.max(), 1.1)
    mask = drop(smooth > 0.1 * smooth.max(), 20) & cytosol
    distance = ndimage.distance_transform_edt(mask)
    seeds, _ = ndimage.label((ndimage.maximum_filter(distance, 5) == distance) & mask)
    return watershed(-distance, seeds, mask=mask)


def test_bodies_equal_the_plain_recipe(stack):
    # dark: an offset of the camera lifts everything above a tenth of the maximum
    raw = np.maximum(stack.images["nuclei"].astype(int) - 106, 0).astype(np.uint16)
    found = three_cams_bodies(raw)
    body, nuclei = plain_bodies(raw)
    assert 0 < nuclei.sum() < nuclei.size
    assert np.array_equal(found.nuclei, nuclei)
    assert np.array_equal(found.body, body)
    assert np.array_equal(found.cytosol, body & ~nuclei)


def test_puncta_equal_the_plain_recipe(stack):
    raw = np.maximum(stack.images["A"].astype(int) - 106, 0).astype(np.uint16)
    body, nuclei = stack.cells > 0, stack.nuclei > 0
    smooth = ndimage.gaussian_filter(raw.astype(np.float32), 1.3)
    assert np.array_equal(
        three_cams_puncta(raw, body, min_size_px=30), drop((smooth > smooth.max() / 4) & body, 30)
    )
    labels = three_cams_labels(raw, body & ~nuclei)
    assert labels.max() > 20
    assert np.array_equal(labels, plain_labels(raw, body & ~nuclei))


def test_nothing_there_is_a_result():
    dark = np.zeros((4, 20, 20))
    assert not three_cams_bodies(dark).nuclei.any()
    assert three_cams_labels(dark, np.ones(dark.shape)).max() == 0


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="stack"):
        three_cams_bodies(np.zeros((5, 5)))
    with pytest.raises(AxisMismatchError, match="cytosol"):
        three_cams_labels(np.zeros((4, 5, 5)), np.zeros((5, 5)))
