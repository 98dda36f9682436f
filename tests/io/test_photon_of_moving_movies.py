"""Raw movies that move have a gain all the same; filtered ones have none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aequorea.cli.app import run as aequorea
from aequorea.errors import InputError
from aequorea.io import write_ome_tiff
from aequorea.io.photon_store import transfer_of
from aequorea.model import Image
from aequorea.photon import photon_transfer
from aequorea.simulate import simulated_twophoton


@pytest.fixture(scope="module")
def moving():
    return simulated_twophoton((120, 96, 96), photons=8, jitter_px=1.5, rng=7)


def test_motion_is_undone_by_whole_pixels_for_the_estimate(moving):
    with pytest.raises(InputError, match="correlated"):
        photon_transfer(moving.counts)
    found = transfer_of(moving.image)
    assert found.gain == pytest.approx(moving.gain, rel=0.06)
    assert found.zero == pytest.approx(moving.zero, abs=6)
    assert "the movie moves" in found.notes[-1]


def test_a_filtered_movie_is_still_refused(moving):
    filtered = ndimage.gaussian_filter(moving.counts.astype(float), (0, 0.8, 0.8))
    image = Image(data=filtered.astype(np.uint16), axes="tyx")
    with pytest.raises(InputError, match="correlated"):
        transfer_of(image)


def test_a_moving_movie_is_stored(moving, tmp_path, capsys):
    path = tmp_path / "moving.ome.tif"
    write_ome_tiff(moving.image, path)
    assert aequorea(["convert", str(path), str(tmp_path / "out.zarr"), "--photon"]) == 0
    assert "the movie moves" in capsys.readouterr().out
