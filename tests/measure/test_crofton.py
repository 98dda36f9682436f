"""Weights of directions against known values and against planes of any orientation."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.measure import crofton
from aequorea.measure.crofton import crossing_counts, crossing_weights, lattice_steps


def test_weights_of_cubic_voxels_are_the_published_ones():
    steps = lattice_steps((1.0, 1.0, 1.0))
    kind = np.abs(steps).sum(axis=1)
    published = np.array([0.04577789120476, 0.03698062787608, 0.03519563978232])[kind - 1] * 2
    np.testing.assert_allclose(
        crossing_weights(steps, (1.0, 1.0, 1.0)), 4 * published / np.sqrt(kind), rtol=1e-9
    )


@pytest.mark.parametrize(
    "spacing",
    [(1.0, 1.0, 1.0), (0.5, 0.1, 0.1), (2.0, 0.1, 0.1), (0.1, 0.3, 0.2), (1.0, 1.0), (3.0, 1.0)],
)
def test_planes_of_any_orientation(spacing):
    """A plane with normal n and area A is crossed by A |n·v| / voxel pairs of a step v."""
    steps = lattice_steps(spacing)
    normals = np.random.default_rng(1).normal(size=(20_000, len(spacing)))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    crossed = np.abs(normals @ (steps * spacing).T) / np.prod(spacing)
    area = crossed @ crossing_weights(steps, spacing) / 2
    assert area.mean() == pytest.approx(1, abs=0.005)
    assert 0.90 < area.min() < area.max() < 1.10


@pytest.mark.parametrize("slab_voxels", [1, 150, 1 << 22])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((9, 8, 7), (0.5, 0.1, 0.1)), ((1, 6, 5), (1.0, 1.0, 1.0)), ((8, 7), (1.0, 2.0))],
)
def test_crossings_are_counted_alike_in_slabs_of_any_height(
    monkeypatch, slab_voxels, shape, spacing
):
    monkeypatch.setattr(crofton, "_SLAB_VOXELS", slab_voxels)
    index = np.random.default_rng(4).integers(0, 3, shape).astype(np.int32)
    steps = lattice_steps(spacing)
    expected = np.zeros((2, len(steps)), np.int64)
    for at in np.ndindex(shape):
        for s, step in enumerate(steps):
            to = np.add(at, step)
            inside = ((to >= 0) & (to < shape)).all()
            there = index[tuple(to)] if inside else 0
            if index[at] and there != index[at]:
                expected[index[at] - 1, s] += 1
    assert np.array_equal(crossing_counts(index, 2, steps), expected)
