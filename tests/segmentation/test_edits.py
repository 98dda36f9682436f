"""The audit of edited labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aequorea.errors import AxisMismatchError, InputError
from aequorea.segmentation.edits import label_changes


def blobs(shape=(60, 64), seed=0):
    rng = np.random.default_rng(seed)
    labels, _ = ndimage.label(ndimage.gaussian_filter(rng.normal(size=shape), 2) > 0.1)
    return labels.astype(np.int32)


def kinds(changes):
    return [(c.kind, c.labels_before, c.labels_after) for c in changes]


@pytest.mark.parametrize("shape", [(60, 64), (5, 30, 31)])
def test_the_same_objects_are_no_change(shape):
    labels = blobs(shape)
    assert label_changes(labels, labels) == ()
    rng = np.random.default_rng(1)
    names = np.concatenate(([0], rng.permutation(np.arange(1, labels.max() + 1) * 10**6)))
    assert label_changes(labels, names[labels]) == ()
    assert label_changes(labels.astype(">u4"), labels.astype(np.uint16)) == ()


def five():
    """Five objects of 6 × 6 px in a row, labels 10 to 50."""
    labels = np.zeros((10, 50), int)
    for k in range(5):
        labels[2:8, 10 * k + 2 : 10 * k + 8] = 10 * (k + 1)
    return labels


def test_every_kind_at_once_under_other_labels():
    before, after = five(), np.zeros((10, 50), int)
    after[2:8, 2:5], after[2:8, 5:8] = 1, 2  # 10 split
    after[2:8, 12:28] = 3  # 20 and 30 merged, and the gap filled
    after[2:8, 33:39] = 4  # 40 moved by a pixel
    after[0, 47:50] = 5  # 50 removed, another added
    changes = label_changes(before, after)
    assert kinds(changes) == [
        ("split", (10,), (1, 2)),
        ("merged", (20, 30), (3,)),
        ("changed", (40,), (4,)),
        ("removed", (50,), ()),
        ("added", (), (5,)),
    ]
    split, merged, changed, removed, added = changes
    assert (split.voxels_before, split.voxels_after, split.iou) == (36, 36, 1.0)
    assert (merged.voxels_before, merged.voxels_after, merged.iou) == (72, 96, 72 / 96)
    assert changed.iou == 30 / 42
    assert (removed.voxels_before, removed.voxels_after, removed.iou) == (36, 0, 0.0)
    assert (added.voxels_before, added.voxels_after, added.iou) == (0, 3, 0.0)


def test_going_back_mirrors_the_changes():
    before, after = five(), five()
    after[2:8, 2:5] = 60
    after[after == 30] = 20
    after[after == 40] = 0
    mirrored = {"split": "merged", "merged": "split", "added": "removed", "removed": "added"}
    there, back = label_changes(before, after), label_changes(after, before)
    assert sorted((mirrored[c.kind], c.labels_after, c.labels_before) for c in there) == sorted(
        kinds(back)
    )


def test_an_object_painted_over_another_is_followed():
    before = five()
    after = before.copy()
    after[4:8, 2:12] = 20  # object 20 grows over a part of 10
    changes = label_changes(before, after)
    assert kinds(changes) == [("changed", (10, 20), (10, 20))] or kinds(changes) == [
        ("changed", (10,), (10,)),
        ("changed", (20,), (20,)),
    ]


def test_a_label_reused_for_another_object_is_no_change_of_it():
    before, after = five(), five()
    after[after == 10] = 0
    after[0, 40:44] = 10
    assert kinds(label_changes(before, after)) == [("removed", (10,), ()), ("added", (), (10,))]


def test_little_overlap_is_another_object():
    before, after = np.zeros((1, 20), int), np.zeros((1, 20), int)
    before[0, :10], after[0, 6:16] = 1, 1
    assert [c.kind for c in label_changes(before, after)] == ["removed", "added"]
    after[:] = 0
    after[0, 5:15] = 1
    changed = label_changes(before, after)
    assert [c.kind for c in changed] == ["changed"]
    assert changed[0].iou == 5 / 15


def test_voxels_add_up_in_random_edits():
    rng = np.random.default_rng(3)
    before = blobs(seed=4)
    after = before.copy()
    for _ in range(12):
        y, x = rng.integers(0, 50, 2)
        after[y : y + 6, x : x + 6] = rng.choice([0, *np.unique(before)])
    changes = label_changes(before, after)
    touched = [label for c in changes for label in c.labels_before]
    assert len(touched) == len(set(touched))
    for c in changes:
        assert c.voxels_before == np.isin(before, c.labels_before).sum()
        assert c.voxels_after == np.isin(after, c.labels_after).sum()
    same = set(np.unique(before[before > 0]).tolist()) - set(touched)
    for label in same:
        np.testing.assert_array_equal(before == label, after == label)


def test_empty_images():
    empty, one = np.zeros((3, 3), int), np.eye(3, dtype=int)
    assert label_changes(empty, empty) == ()
    assert kinds(label_changes(empty, one)) == [("added", (), (1,))]
    assert kinds(label_changes(one, empty)) == [("removed", (1,), ())]


def test_bad_input():
    ones = np.ones((3, 3), int)
    with pytest.raises(AxisMismatchError, match="shape before"):
        label_changes(ones, np.ones((3, 4), int))
    with pytest.raises(InputError, match="after"):
        label_changes(ones, ones * 0.5)
