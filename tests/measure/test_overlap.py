"""Shared voxels against a count of every triple."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from aequorea.errors import AxisMismatchError, InputError
from aequorea.measure import overlap_counts, voxels_by_group


def counted(*arrays):
    return Counter(zip(*(np.asarray(a).ravel().tolist() for a in arrays), strict=True))


def triples(found):
    keys = zip(found.group.tolist(), found.label_a.tolist(), found.label_b.tolist(), strict=True)
    return dict(zip(keys, found.n_voxels.tolist(), strict=True))


@pytest.mark.parametrize("many", [3, 400])
@pytest.mark.parametrize("shape", [(23, 31), (5, 13, 17)])
def test_every_triple_is_counted(shape, many):
    rng = np.random.default_rng(many)
    a, b = (rng.integers(0, many, shape) * 11 for _ in range(2))
    plane = rng.integers(0, 4, shape[-2:]) * 5
    for groups in (plane, rng.integers(0, 4, shape)):
        found = overlap_counts(a, b, groups)
        truth = counted(np.broadcast_to(groups, shape), a, b)
        assert triples(found) == {key: n for key, n in truth.items() if all(key)}
        assert list(triples(found)) == sorted(triples(found))
    whole = overlap_counts(a, b)
    assert set(whole.group.tolist()) == {1}
    assert triples(whole) == {(1, *key): n for key, n in counted(a, b).items() if all(key)}


def test_huge_labels():
    a, b = np.array([[2**62, 2**62, 0]]), np.array([[2**61, 1, 1]])
    assert triples(overlap_counts(a, b)) == {(1, 2**62, 2**61): 1, (1, 2**62, 1): 1}


@pytest.mark.parametrize("outside", [False, True])
def test_voxels_by_group(outside):
    rng = np.random.default_rng(7)
    labels, groups = rng.integers(0, 9, (3, 20, 20)), rng.integers(0, 3, (20, 20))
    found = voxels_by_group(labels, groups, outside=outside)
    truth = counted(np.broadcast_to(groups, labels.shape), labels)
    ours = dict(
        zip(
            zip(found.group.tolist(), found.label.tolist(), strict=True),
            found.n_voxels,
            strict=True,
        )
    )
    assert ours == {(g, k): n for (g, k), n in truth.items() if k and (g or outside)}


def test_nothing_meets():
    assert len(overlap_counts([[1, 0]], [[0, 1]])) == 0
    assert len(overlap_counts([[0]], [[0]])) == 0
    assert len(overlap_counts([[1]], [[1]], [[0]])) == 0
    assert len(voxels_by_group([[1]], [[0]])) == 0


def test_bad_input():
    ones = np.ones((2, 3), int)
    with pytest.raises(AxisMismatchError, match="labels_b"):
        overlap_counts(ones, ones.T)
    with pytest.raises(AxisMismatchError, match="regions"):
        overlap_counts(ones, ones, ones.T)
    with pytest.raises(AxisMismatchError, match="regions"):
        overlap_counts(ones, ones, np.ones((2, 2, 3), int))
    with pytest.raises(InputError, match="labels_a"):
        overlap_counts(ones * 0.5, ones)
    with pytest.raises(InputError, match="regions"):
        voxels_by_group(ones, -ones)
