"""Objects region by region: each found once, in the region with most of it."""

import numpy as np
import pytest

from aequorea.pipelines.cells.segmenting import label, respond
from aequorea.segmentation.parameters import SegmentationParameters

OTSU = SegmentationParameters(method="otsu")
UNKNOWN = (None, None, None)


def disc(image, y, x, radius, value):
    yy, xx = np.ogrid[: image.shape[-2], : image.shape[-1]]
    image[..., (yy - y) ** 2 + (xx - x) ** 2 <= radius**2] = value


def halves(image, border):
    regions = np.ones(image.shape[-2:], np.uint16)
    regions[:, border:] = 2
    return regions


def found(image, regions):
    return label(respond(image, regions, OTSU, spacing_um=UNKNOWN), image, regions, OTSU,
                 whole=True)  # fmt: skip


@pytest.fixture
def lopsided():
    """A cell on a border, of which the left region sees all and the right one the bright part."""
    image = np.full((1, 100, 200), 10, np.float32)
    disc(image, 50, 100, 20, 200)
    disc(image, 50, 108, 11, 900)
    for y in (20, 80):
        disc(image, y, 30, 8, 220)
        disc(image, y, 170, 8, 900)
    return image


def test_a_cell_that_two_regions_take_for_theirs_stays_with_one(lopsided):
    regions = halves(lopsided, 102)
    result = found(lopsided, regions)
    across = np.unique(result.labels[0, 30:71, 80:121])
    assert len(across) == 2  # background and one cell
    assert sorted(np.unique(result.labels)) == [0, 1, 2, 3, 4, 5]
    counts = {f["region"]: f["n_objects"] for f in result.facts}
    assert sum(counts.values()) == 5
    for region, n in counts.items():
        assert len(np.unique(result.labels[0][regions == region])) - 1 == n


def test_two_cells_that_touch_at_the_border_stay_two():
    image = np.full((1, 80, 120), 10, np.float32)
    disc(image, 40, 47, 12, 300)
    disc(image, 40, 73, 12, 900)
    for y in (12, 68):
        disc(image, y, 20, 8, 300)
        disc(image, y, 100, 8, 900)
    result = found(image, halves(image, 60))
    assert [f["n_objects"] for f in result.facts] == [3, 3]


def test_regions_in_a_stack_have_the_same_surroundings_as_in_a_plane(lopsided):
    """Labels of regions may be large, and gaps between them cost nothing."""
    plane = halves(lopsided, 102).astype(np.uint32)
    plane[plane == 2] = 2_000_000_000
    stack = np.repeat(lopsided, 3, axis=0)
    drawn = np.repeat(plane[None], 3, axis=0)
    drawn[0, 90:] = 0
    flat = respond(stack, plane, OTSU, spacing_um=UNKNOWN)
    deep = respond(stack, drawn, OTSU, spacing_um=UNKNOWN)
    assert [p.region for p in deep] == [1, 2_000_000_000]
    assert [(p.y, p.x) for p in flat] == [(p.y, p.x) for p in deep]
