"""Photon-limited movies of known gain."""

from __future__ import annotations

import numpy as np
import pytest


def photon_movie(shape=(64, 48, 40), mean=4.0, gain=8.0, offset=100.0, read=0.3, seed=0):
    """Counts of a movie with a texture, and its rates in photons, shape (y, x)."""
    rng = np.random.default_rng(seed)
    rates = mean * rng.gamma(4, 0.25, shape[1:])
    photons = rng.poisson(np.broadcast_to(rates, shape)) + rng.normal(0, read, shape)
    return np.clip(np.rint(gain * photons + offset), 0, 65535).astype(np.uint16), rates


@pytest.fixture(scope="session")
def movie_of():
    return photon_movie
