from __future__ import annotations

import gc
import logging
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile

import aequorea
from aequorea.errors import AequoreaWarning, FileFormatError, InputError

RNG = np.random.default_rng(7)


def random(*shape, dtype="u2"):
    return RNG.integers(0, 200, shape).astype(dtype)


def imagej(path, pixels, *, axes, resolution=None, **metadata):
    tifffile.imwrite(
        path, pixels, imagej=True, resolution=resolution, metadata={"axes": axes, **metadata}
    )
    return path


# ImageJ ---------------------------------------------------------------------------------------


def test_imagej_hyperstack(tmp_path):
    pixels = random(3, 4, 2, 20, 30)
    path = imagej(
        tmp_path / "a.tif", pixels, axes="TZCYX", resolution=(1 / 0.1, 1 / 0.2), unit="um",
        spacing=0.5, finterval=2.5, Labels=["DNA", "actin"] * 12,
    )  # fmt: skip
    image = aequorea.open(path)
    assert image.axes == "tczyx"
    np.testing.assert_array_equal(image, pixels.transpose(0, 2, 1, 3, 4))
    assert image.dtype.isnative
    assert image.pixel_size_um() == pytest.approx((0.5, 0.2, 0.1), rel=1e-6)
    assert image.channels == ("DNA", "actin")
    assert image.times_s.tolist() == [0.0, 2.5, 5.0]


def test_time_is_not_taken_for_z(tmp_path):
    path = imagej(tmp_path / "a.tif", random(7, 2, 16, 16), axes="TCYX", unit="um", spacing=0.5)
    image = aequorea.open(path)
    assert image.axes == "tcyx"
    assert "z" not in image.spacing_um
    assert image.times_s is None


@pytest.mark.parametrize(
    ("unit", "um"),
    [
        ("um", 1),
        ("\\u00B5m", 1),
        ("micron", 1),
        ("nm", 1e-3),
        ("mm", 1e3),
        ("pixel", None),
        (None, None),
    ],
)
def test_imagej_units(tmp_path, unit, um):
    unit = {} if unit is None else {"unit": unit}
    path = imagej(
        tmp_path / "a.tif", random(5, 8, 8), axes="ZYX", resolution=(4.0, 4.0), spacing=3.0, **unit
    )
    spacing = aequorea.open(path).spacing_um
    if um is None:
        assert spacing == {"z": None, "y": None, "x": None}
    else:
        assert spacing == pytest.approx({"z": 3 * um, "y": um / 4, "x": um / 4})


def test_missing_z_spacing_does_not_discard_xy(tmp_path):
    path = imagej(tmp_path / "a.tif", random(5, 8, 8), axes="ZYX", resolution=(4, 4), unit="um")
    assert aequorea.open(path).spacing_um == {"z": None, "y": 0.25, "x": 0.25}


def test_placeholder_resolution_is_not_one_micrometre(tmp_path):
    path = imagej(tmp_path / "a.tif", random(8, 8), axes="YX", unit="um")
    assert aequorea.open(path).spacing_um == {"y": None, "x": None}
    # ImageJ itself writes a true 1 µm as 1000000/1000000
    true = imagej(
        tmp_path / "b.tif", random(8, 8), axes="YX", unit="um",
        resolution=((999_999, 10**6), (999_999, 10**6)),
    )  # fmt: skip
    million, almost = (n.to_bytes(4, "little") for n in (10**6, 999_999))
    assert almost in true.read_bytes()
    true.write_bytes(true.read_bytes().replace(almost, million))
    assert aequorea.open(true).spacing_um == {"y": 1.0, "x": 1.0}


@pytest.mark.parametrize(
    "labels",
    [["t1", "t2", "t3", "t4"], ["a", "a", "a", "a"], ["", "b", "", "b"], ["a", "b", "a", "c"]],
)
def test_slice_labels_that_do_not_name_channels_are_left(tmp_path, labels):
    path = imagej(tmp_path / "a.tif", random(2, 2, 8, 8), axes="ZCYX", Labels=labels)
    assert aequorea.open(path).channels == ("C0", "C1")


def test_imagej_time_units(tmp_path):
    path = imagej(tmp_path / "a.tif", random(2, 8, 8), axes="TYX", finterval=500, tunit="ms")
    assert aequorea.open(path).times_s.tolist() == [0.0, 0.5]


# plain TIFF -----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [(72, 72), (300, 300), (1, 1), (96, 96), (1200, 1200)])
@pytest.mark.parametrize("unit", ["inch", "centimeter", "none"])
def test_print_resolutions_are_not_calibrations(tmp_path, value, unit):
    if unit == "centimeter" and value[0] > 500:
        return  # 1200 per cm is 8.3 µm, which a microscope may have
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, random(8, 8), resolution=value, resolutionunit=unit, metadata=None)
    assert aequorea.open(path).spacing_um == {"y": None, "x": None}


def test_microscope_resolutions_are(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, random(8, 8), resolution=(1e4 / 0.1, 1e4 / 0.25), resolutionunit="centimeter",
        metadata=None,
    )  # fmt: skip
    assert aequorea.open(path).spacing_um == pytest.approx({"y": 0.25, "x": 0.1})


def test_pages_without_metadata_are_time_with_a_warning(tmp_path):
    pixels = random(4, 9, 8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=None)
    with pytest.warns(AequoreaWarning, match=r"a\.tif: .*4 planes"):
        image = aequorea.open(path)
    assert image.axes == "tyx"
    assert aequorea.open(path, axes="zyx").axes == "zyx"
    np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "packbits"])
@pytest.mark.parametrize("dtype", ["u1", ">u2", "<i2", "u4", "f4", "f8", "f2"])
def test_pixels_are_exact(tmp_path, compression, dtype):
    if compression == "packbits" and dtype != "u1":
        return  # defined for bytes
    pixels = random(3, 40, 50, dtype=dtype)
    path = tmp_path / "a.tif"
    order = ">" if dtype.startswith(">") else "<"
    tifffile.imwrite(
        path,
        pixels,
        compression=compression,
        byteorder=order,
        photometric="minisblack",
        metadata={"axes": "ZYX"},
    )
    image = aequorea.open(path)
    assert image.axes == "zyx"
    assert image.dtype == pixels.dtype.newbyteorder("=")
    np.testing.assert_array_equal(image, pixels)
    np.testing.assert_array_equal(image[1, 3:30:4, 5], pixels[1, 3:30:4, 5])


@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colours_are_channels(tmp_path, tile, planar):
    pixels = random(2, 40, 50, 3, dtype="u1")
    stored = pixels if planar == "contig" else pixels.transpose(0, 3, 1, 2)
    path = tmp_path / "a.tif"
    axes = "ZYXS" if planar == "contig" else "ZSYX"
    tifffile.imwrite(
        path, stored, photometric="rgb", planarconfig=planar, tile=tile, compression="zlib",
        metadata={"axes": axes},
    )  # fmt: skip
    image = aequorea.open(path)
    assert (image.axes, image.channels) == ("czyx", ("red", "green", "blue"))
    np.testing.assert_array_equal(image, pixels.transpose(3, 0, 1, 2))
    np.testing.assert_array_equal(image.channel("green").isel(z=1), pixels[1, ..., 1])


def test_series_are_scenes(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(random(20, 30), metadata=None)
        file.write(random(5, 6, dtype="u1"), metadata=None)
    image = aequorea.open(path, scene=1)
    assert image.scenes == ("0", "1")
    assert image.shape == (5, 6)
    for wrong in (2, -1, "2", "top"):
        with pytest.raises(InputError, match=r"no scene .*it has 2 \(0:0, 1:1\)"):
            aequorea.open(path, scene=wrong)


def test_what_tifffile_keeps_in_json_is_read(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, random(5, 8, 8), resolution=(8.0, 4.0), photometric="minisblack",
        metadata={"axes": "ZYX", "spacing": 0.5, "unit": "um"},
    )  # fmt: skip
    assert aequorea.open(path).spacing_um == {"z": 0.5, "y": 0.25, "x": 0.125}
    tifffile.imwrite(path, random(8, 8), description="{ a note in braces", metadata=None)
    assert aequorea.open(path).spacing_um == {"y": None, "x": None}


def test_lossy_compression_is_said(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, random(16, 16, dtype="u1"), compression="jpeg", metadata=None)
    assert aequorea.open(path).metadata["lossy"]
    tifffile.imwrite(path, random(16, 16, dtype="u1"), compression="zlib", metadata=None)
    assert "lossy" not in aequorea.open(path).metadata


def test_white_is_zero_is_said(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, random(8, 8, dtype="u1"), photometric="miniswhite", metadata=None)
    with pytest.warns(AequoreaWarning, match="0 as white"):
        aequorea.open(path)


def test_one_bit_masks(tmp_path):
    pixels = random(2, 9, 10) > 100
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(aequorea.open(path), pixels)


# OME ------------------------------------------------------------------------------------------


def ome(path, pixels, **metadata):
    tifffile.imwrite(path, pixels, ome=True, metadata=metadata)
    return path


def test_ome_units_are_per_axis(tmp_path):
    path = ome(
        tmp_path / "a.ome.tif", random(2, 3, 9, 8), axes="CZYX", PhysicalSizeX=65,
        PhysicalSizeXUnit="nm", PhysicalSizeY=0.065, PhysicalSizeZ=0.0003, PhysicalSizeZUnit="mm",
        Channel={"Name": ["GFP", "mCherry"]},
    )  # fmt: skip
    image = aequorea.open(path)
    assert image.spacing_um == {"z": 0.3, "y": 0.065, "x": 0.065}
    assert image.channels == ("GFP", "mCherry")


def test_ome_without_z_keeps_xy_and_pixels_are_no_unit(tmp_path):
    path = ome(
        tmp_path / "a.ome.tif", random(3, 9, 8), axes="ZYX", PhysicalSizeX=0.1, PhysicalSizeY=1,
        PhysicalSizeYUnit="pixel",
    )  # fmt: skip
    assert aequorea.open(path).spacing_um == {"z": None, "y": None, "x": 0.1}


def test_ome_times(tmp_path):
    planes = {"DeltaT": [100.0, 150.0, 1100.0, 1150.0], "DeltaTUnit": ["ms"] * 4}
    path = ome(tmp_path / "a.ome.tif", random(2, 2, 9, 8), axes="TCYX", Plane=planes)
    assert aequorea.open(path).times_s.tolist() == [0.1, 1.1]
    path = ome(tmp_path / "b.ome.tif", random(3, 9, 8), axes="TYX", TimeIncrement=0.5)
    assert aequorea.open(path).times_s.tolist() == [0.0, 0.5, 1.0]


def test_ome_images_are_scenes_with_their_own_calibration(tmp_path):
    path = tmp_path / "a.ome.tif"
    first, second = random(9, 8), random(3, 7, 6)
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(first, metadata={"axes": "YX", "Name": "overview", "PhysicalSizeX": 1.5})
        file.write(second, metadata={"axes": "ZYX", "Name": "cell", "PhysicalSizeX": 0.1})
    image = aequorea.open(path, scene="cell")
    assert image.scenes == ("overview", "cell")
    assert image.spacing_um["x"] == 0.1
    np.testing.assert_array_equal(image, second)
    assert aequorea.open(path).spacing_um["x"] == 1.5


def test_ome_colour(tmp_path):
    pixels = random(9, 8, 3, dtype="u1")
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, pixels, ome=True, photometric="rgb", metadata={"axes": "YXS"})
    image = aequorea.open(path)
    assert image.channels == ("red", "green", "blue")
    np.testing.assert_array_equal(image, pixels.transpose(2, 0, 1))


def test_ome_missing_planes_are_said(tmp_path):
    path = ome(tmp_path / "a.ome.tif", random(2, 9, 8), axes="ZYX")
    text = path.read_bytes().replace(b'SizeZ="2"', b'SizeZ="3"')
    path.write_bytes(text)
    with pytest.warns(AequoreaWarning, match="planes are missing"):
        image = aequorea.open(path)
    assert image.shape == (3, 9, 8)
    assert not np.asarray(image)[2].any()


def test_ome_over_several_files(tmp_path):
    pixels = random(2, 9, 8)
    names = ["one.ome.tif", "two.ome.tif"]
    data = "".join(
        f'<TiffData FirstZ="{k}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{n}">urn:uuid:{k}</UUID></TiffData>'
        for k, n in enumerate(names)
    )
    for k, name in enumerate(names):
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{k}"><Image ID="Image:0"><Pixels ID="P:0" DimensionOrder="XYZCT" '
            'Type="uint16" SizeX="8" SizeY="9" SizeZ="2" SizeC="1" SizeT="1">'
            f"{data}</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / name, pixels[k], description=xml, metadata=None)
    image = aequorea.open(tmp_path / names[0])
    np.testing.assert_array_equal(image, pixels)
    np.testing.assert_array_equal(image[1], pixels[1])
    (tmp_path / names[1]).unlink()
    with pytest.warns(AequoreaWarning, match="planes are missing"):
        aequorea.open(tmp_path / names[0])


def test_ome_metadata_in_another_file_are_said(tmp_path):
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:1"><BinaryOnly MetadataFile="a.companion.ome" UUID="urn:uuid:0"/></OME>'
    )
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, random(9, 8), description=xml, metadata=None)
    with pytest.warns(AequoreaWarning, match=r"a\.ome\.tif: its OME metadata stand in another"):
        image = aequorea.open(path)
    assert image.spacing_um == {"y": None, "x": None}


def test_entities_in_ome_xml_are_refused(tmp_path):
    path = ome(tmp_path / "a.ome.tif", random(9, 8), axes="YX")
    declaration = b'<?xml version="1.0" encoding="UTF-8"?>'
    entity = b'<!DOCTYPE OME [<!ENTITY x "y">]>'.ljust(len(declaration))
    path.write_bytes(path.read_bytes().replace(declaration, entity))
    with pytest.raises(FileFormatError, match="declares entities"):
        aequorea.open(path)


def test_damaged_ome_xml_does_not_lose_the_calibration_silently(tmp_path):
    path = ome(tmp_path / "a.ome.tif", random(9, 8), axes="YX", PhysicalSizeX=0.1)
    path.write_bytes(path.read_bytes().replace(b"</Pixels>", b"</Pixel >"))
    with pytest.raises(FileFormatError, match=r"a\.ome\.tif: .*copy it again"):
        aequorea.open(path)


# laziness, handles, threads -------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_no_file_stays_open(tmp_path, compression):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, random(4, 9, 8), compression=compression, photometric="minisblack",
        metadata={"axes": "ZYX"},
    )  # fmt: skip
    image = aequorea.open(path)
    image[2]
    path.rename(tmp_path / "b.tif")
    (tmp_path / "b.tif").rename(path)
    del image
    gc.collect()  # an open handle would be a ResourceWarning, and that an error


def test_pages_are_decoded_only_when_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, random(6, 9, 8), compression="zlib", metadata={"axes": "ZYX"})
    image = aequorea.open(path)
    decoded = []
    original = tifffile.TiffPage.asarray
    for kind in (tifffile.TiffPage, tifffile.TiffFrame):
        monkeypatch.setattr(
            kind, "asarray", lambda page, **k: decoded.append(page.index) or original(page, **k)
        )
    image.isel(z=slice(4, 6), y=slice(0, 2))[...]
    assert decoded == [4, 5]


def test_threads_and_processes_may_share_an_image(tmp_path):
    pixels = random(12, 40, 50)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, compression="zlib", metadata={"axes": "ZYX"})
    image = aequorea.open(path)
    with ThreadPoolExecutor(4) as pool:
        planes = list(pool.map(lambda z: image[z], list(range(12)) * 5))
    np.testing.assert_array_equal(np.stack(planes[:12]), pixels)
    other = pickle.loads(pickle.dumps(image))  # noqa: S301
    np.testing.assert_array_equal(other, pixels)


# bad files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("kind", ["imagej", "ome", "plain"])
def test_truncated_files_give_no_number(tmp_path, compression, kind, caplog):
    if kind == "imagej" and compression:
        return  # tifffile does not write it
    path = tmp_path / "a.tif"
    options = {"imagej": {"imagej": True}, "ome": {"ome": True}, "plain": {}}[kind]
    pixels = RNG.integers(0, 2**16, (6, 64, 64)).astype("u2")
    tifffile.imwrite(path, pixels, compression=compression, metadata={"axes": "ZYX"}, **options)
    whole = path.read_bytes()
    for size in (len(whole) - 5000, len(whole) // 2, 300, 9):
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError, match=r"a\.tif: .*again"):
            np.asarray(aequorea.open(path))
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_flipped_bytes_in_compressed_pixels_give_no_number(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, random(64, 64), compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].dataoffsets[0]
    damaged = bytearray(path.read_bytes())
    damaged[at : at + 20] = b"\xff" * 20
    path.write_bytes(damaged)
    image = aequorea.open(path)
    with pytest.raises(FileFormatError, match=r"a\.tif: cannot be read as TIFF"):
        np.asarray(image)


def test_complex_pixels_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((4, 4), complex), metadata=None)
    with pytest.raises(FileFormatError, match="complex"):
        aequorea.open(path)


# LSM ------------------------------------------------------------------------------------------


def lsm(path, pixels, *, voxel_m, names, stamps):
    """A Zeiss LSM file (t, z, c, y, x): pages and thumbnails take turns."""
    t, z, c, y, x = pixels.shape
    kinds = [(name or f"_{k}", kind) for k, (name, kind) in enumerate(tifffile.TIFF.CZ_LSMINFO)]
    info = np.zeros((), kinds)
    info["MagicNumber"], info["StructureSize"] = 67127628, info.dtype.itemsize
    for axis, n in zip(("Time", "Z", "Channels", "Y", "X"), pixels.shape, strict=True):
        info[f"Dimension{axis}"] = n
    for axis, size in zip("ZYX", voxel_m, strict=True):
        info[f"VoxelSize{axis}"] = size
    info["ScanType"] = 6  # time series of z stacks
    placeholder = info.tobytes()
    with tifffile.TiffWriter(path, byteorder="<") as file:
        for k, page in enumerate(pixels.reshape(t * z, c, y, x)):
            tags = [(34412, 1, len(placeholder), placeholder, True)] if k == 0 else []
            options = {"photometric": "minisblack", "planarconfig": "separate", "metadata": None}
            file.write(page, extratags=tags, **options)
            file.write(page[:, ::4, ::4], subfiletype=1, **options)
    content = path.read_bytes()
    colours = b"".join(struct.pack("<I", len(n) + 1) + n.encode() + b"\0" for n in names)
    head = 24 + 4 * c
    block = struct.pack("<6I", head + len(colours), c, c, 24, head, 0) + bytes(4 * c) + colours
    info["OffsetTimeStamps"] = len(content)
    content += struct.pack(f"<ii{t}d", 8 + 8 * t, t, *stamps)
    info["OffsetChannelColors"] = len(content)
    path.write_bytes(content.replace(placeholder, info.tobytes()) + block)
    return path


def test_lsm(tmp_path):
    pixels = random(3, 4, 3, 16, 20, dtype="u1")
    path = lsm(
        tmp_path / "a.lsm", pixels, voxel_m=(5e-7, 1e-7, 2e-7),
        names=["Ch1-T1", "Ch2-T1", "Ch3-T2"], stamps=[100.5, 102.0, 104.75],
    )  # fmt: skip
    image = aequorea.open(path)
    assert image.axes == "tczyx"
    assert image.spacing_um == {"z": 0.5, "y": 0.1, "x": 0.2}
    assert image.channels == ("Ch1-T1", "Ch2-T1", "Ch3-T2")
    assert image.times_s.tolist() == [0.0, 1.5, 4.25]
    assert len(image.scenes) == 1
    np.testing.assert_array_equal(image, pixels.transpose(0, 2, 1, 3, 4))
