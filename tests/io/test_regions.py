from __future__ import annotations

import zipfile

import numpy as np
import pytest
import roifile
import tifffile
from skimage.draw import polygon2mask

from aequorea.errors import (
    AequoreaWarning,
    AxisMismatchError,
    FileFormatError,
    FileMissingError,
    InputError,
)
from aequorea.io import read_regions
from aequorea.io.regions import _even_odd

SHAPE = (40, 50)
RNG = np.random.default_rng(2)


def roi(kind, top=0, left=0, bottom=0, right=0, **more):
    made = roifile.ImagejRoi()
    made.roitype = roifile.ROI_TYPE[kind]
    made.version = 228
    made.top, made.left, made.bottom, made.right = top, left, bottom, right
    for key, value in more.items():
        setattr(made, key, value)
    return made


def polygon(points, kind="POLYGON", name="p"):
    made = roifile.ImagejRoi.frompoints(np.asarray(points), name=name)
    made.roitype = roifile.ROI_TYPE[kind]
    return made


def saved(path, *rois):
    if path.suffix == ".roi":
        path.write_bytes(rois[0].tobytes())
        return path
    with zipfile.ZipFile(path, "w") as archive:
        for k, one in enumerate(rois):
            archive.writestr(f"{one.name or k}.roi", one.tobytes())
    return path


def one(tmp_path, made):
    labels, names = read_regions(saved(tmp_path / "region.roi", made), SHAPE)
    assert set(np.unique(labels)) <= {0, 1}
    assert labels.dtype == np.int32
    return labels == 1, names


def test_rectangle(tmp_path):
    mask, names = one(tmp_path, roi("RECT", 3, 5, 10, 20))
    expected = np.zeros(SHAPE, bool)
    expected[3:10, 5:20] = True
    np.testing.assert_array_equal(mask, expected)
    assert names == ("region",)


def test_a_rectangle_over_the_edge_is_clipped(tmp_path):
    mask, _ = one(tmp_path, roi("RECT", -5, -5, 10, 20))
    assert mask.sum() == 200


def test_oval(tmp_path):
    mask, _ = one(tmp_path, roi("OVAL", 4, 6, 34, 46))
    y, x = np.mgrid[:40, :50] + 0.5
    expected = ((y - 19) / 15) ** 2 + ((x - 26) / 20) ** 2 <= 1
    np.testing.assert_array_equal(mask, expected)
    assert mask.sum() == pytest.approx(np.pi * 15 * 20, rel=0.01)


def test_rounded_rectangle(tmp_path):
    mask, _ = one(tmp_path, roi("RECT", 0, 0, 20, 30, rounded_rect_arc_size=10))
    assert mask.sum() == pytest.approx(600 - (100 - np.pi * 25), abs=6)
    assert not mask[0, 0]
    assert mask[0, 15]


@pytest.mark.parametrize("kind", ["POLYGON", "FREEHAND", "TRACED"])
def test_polygons_along_pixel_corners_are_exact(tmp_path, kind):
    corners = [(5, 5), (15, 5), (15, 10), (10, 10), (10, 20), (5, 20)]
    mask, names = one(tmp_path, polygon(corners, kind, "cell 1"))
    expected = np.zeros(SHAPE, bool)
    expected[5:10, 5:15] = True
    expected[10:20, 5:10] = True
    np.testing.assert_array_equal(mask, expected)
    assert names == ("cell 1",)


def test_polygons_hold_the_pixels_whose_centre_they_hold():
    for _ in range(30):
        points = RNG.uniform(-10, 60, (RNG.integers(3, 9), 2))
        expected = polygon2mask(SHAPE, points[:, ::-1] - 0.5)
        np.testing.assert_array_equal(_even_odd([points], SHAPE), expected)


def test_composite_with_a_hole(tmp_path):
    def path(x0, y0, x1, y1):
        return [0, x0, y0, 1, x1, y0, 1, x1, y1, 1, x0, y1, 4]

    coordinates = np.array([*path(5, 5, 25, 25), *path(10, 10, 20, 20), *path(30, 5, 35, 9)])
    made = roi("RECT", 5, 5, 25, 35, multi_coordinates=coordinates.astype("f4"))
    made.shape_roi_size = len(coordinates)
    mask, _ = one(tmp_path, made)
    expected = np.zeros(SHAPE, bool)
    expected[5:25, 5:25] = True
    expected[10:20, 10:20] = False
    expected[5:9, 30:35] = True
    np.testing.assert_array_equal(mask, expected)


def test_sub_pixel_rectangles_and_ovals(tmp_path):
    more = {"options": roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION, "xd": 5.4, "yd": 3.6}
    rectangle = roi("RECT", 3, 5, 11, 21, widthd=10.0, heightd=6.0, **more)
    mask, _ = one(tmp_path, rectangle)
    expected = np.zeros(SHAPE, bool)
    expected[4:10, 5:15] = True  # centres 4.5 … 9.5 in 3.6 … 9.6, 5.5 … 14.5 in 5.4 … 15.4
    np.testing.assert_array_equal(mask, expected)
    mask, _ = one(tmp_path, roi("OVAL", 3, 5, 11, 21, widthd=10.0, heightd=6.0, **more))
    y, x = np.mgrid[:40, :50] + 0.5
    np.testing.assert_array_equal(mask, ((y - 6.6) / 3) ** 2 + ((x - 10.4) / 5) ** 2 <= 1)


def test_a_set_keeps_its_order_and_later_ones_win(tmp_path):
    path = saved(
        tmp_path / "RoiSet.zip",
        roi("RECT", 0, 0, 10, 10, name="nucleus"),
        roi("RECT", 5, 5, 20, 20, name="cell"),
    )
    with pytest.warns(AequoreaWarning, match="'cell' takes 25 px from 'nucleus'"):
        labels, names = read_regions(path, SHAPE)
    assert names == ("nucleus", "cell")
    assert labels[0, 0] == 1
    assert labels[5, 5] == 2
    assert np.bincount(labels.ravel()).tolist()[1:] == [100 - 25, 15 * 15]


def test_overlaps_are_told_in_one_line_however_many(tmp_path):
    rois = [roi("RECT", k, k, k + 10, k + 10, name=f"r{k}") for k in range(8)]
    with pytest.warns(
        AequoreaWarning, match=r"'r1' takes 81 px from 'r0'.*; \d+ more pairs"
    ) as told:
        read_regions(saved(tmp_path / "RoiSet.zip", *rois), SHAPE)
    assert len(told) == 1


@pytest.mark.parametrize("kind", ["POINT", "LINE", "POLYLINE", "FREELINE", "ANGLE"])
def test_regions_without_area_are_refused(tmp_path, kind):
    path = saved(tmp_path / "a.zip", polygon([(1, 1), (9, 9), (5, 2)], kind, "my spot"))
    with pytest.raises(InputError, match=r"a\.zip: ROI 'my spot' is a .* without area"):
        read_regions(path, SHAPE)


def test_regions_that_would_be_empty_are_refused(tmp_path):
    outside = saved(tmp_path / "a.zip", roi("RECT", 100, 100, 120, 120, name="far"))
    with pytest.raises(AxisMismatchError, match="'far' has no pixel in the image of 40 × 50"):
        read_regions(outside, SHAPE)
    hidden = saved(
        tmp_path / "b.zip",
        roi("RECT", 5, 5, 9, 9, name="under"),
        roi("RECT", 0, 0, 20, 20, name="over"),
    )
    with pytest.raises(InputError, match="'under' is covered"):
        read_regions(hidden, SHAPE)


def test_label_images(tmp_path):
    labels = np.zeros(SHAPE, "u2")
    labels[:5, :5], labels[10:, 10:] = 700, 3
    tifffile.imwrite(tmp_path / "a.tif", labels)
    found, names = read_regions(tmp_path / "a.tif", SHAPE)
    assert names == ("3", "700")
    np.testing.assert_array_equal(found, np.select([labels == 3, labels == 700], [1, 2]))
    with pytest.raises(AxisMismatchError):
        read_regions(tmp_path / "a.tif", (41, 50))
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(SHAPE, "u1"))
    with pytest.raises(InputError, match="no region in it"):
        read_regions(tmp_path / "a.tif", SHAPE)


# hostile and damaged files --------------------------------------------------------------------


def test_paths_in_a_zip_are_not_used(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    content = roi("RECT", 0, 0, 9, 9).tobytes()
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("../../evil.roi", content)
        archive.writestr("readme.txt", "no")
    _, names = read_regions(folder / "a.zip", SHAPE)
    assert names == ("evil",)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.zip", "in"]


def test_what_swells_on_unpacking_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.roi", b"Iout" + bytes(20 * 2**20))
    assert path.stat().st_size < 50_000
    with pytest.raises(FileFormatError, match="too large"):
        read_regions(path, SHAPE)


@pytest.mark.parametrize("cut", [4, 20, 63, 70])
def test_truncated_rois(tmp_path, cut):
    whole = polygon([(1, 1), (9, 1), (9, 9), (4, 5)]).tobytes()
    (tmp_path / "a.roi").write_bytes(whole[:cut])
    with pytest.raises(InputError, match=r"a\.roi: "):
        read_regions(tmp_path / "a.roi", SHAPE)


def test_damaged_zips(tmp_path):
    path = saved(tmp_path / "a.zip", roi("RECT", 0, 0, 9, 9))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:4], whole.replace(b"Iout", b"Ixut")):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"a\.zip: "):
            read_regions(path, SHAPE)
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(InputError, match=r"no \.roi in it"):
        read_regions(path, SHAPE)
    with pytest.raises(FileMissingError):
        read_regions(tmp_path / "none.zip", SHAPE)


def test_real_set(shared_data):
    labels, names = read_regions(shared_data("fissa/b/rois.zip"), (21, 14))
    assert len(names) == 2
    assert set(np.unique(labels)) == {0, 1, 2}
