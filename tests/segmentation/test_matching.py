"""Matching of labels against brute force, by invariance and on cases worked out by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aequorea.errors import AxisMismatchError, InputError
from aequorea.segmentation import match_labels

seeds = st.integers(0, 2**32 - 1)


def iou_of(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_a_label_image_matches_itself() -> None:
    labels = np.array([[3, 3, 0], [0, 7, 7], [9, 0, 7]])
    found = match_labels(labels, labels)
    assert (found.precision, found.recall, found.f1) == (1, 1, 1)
    assert found.mean_matched_iou == 1
    assert found.pairs.tolist() == [[3, 3], [7, 7], [9, 9]]


def test_a_merged_pair_and_a_split_object() -> None:
    merged = match_labels([[1, 1, 1, 2]], [[1, 1, 1, 1]])
    assert (merged.n_matched, merged.n_true, merged.n_predicted) == (1, 2, 1)
    assert merged.f1 == pytest.approx(2 / 3)
    split = match_labels([[1, 1, 1, 1]], [[1, 1, 2, 2]])
    assert split.n_matched == 1, "a tie at exactly 0.5 is one pair, not two"


@given(seeds, st.floats(0.05, 0.95))
def test_pairs_are_the_best_assignment(seed: int, iou: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 4, (2, 3, 4))
    found = match_labels(a, b, iou)
    rows = [k for k in range(1, 4) if (a == k).any()]
    columns = [k for k in range(1, 4) if (b == k).any()]
    best = (0, 0.0)
    for order in permutations([*columns, *[None] * len(rows)], len(rows)):
        values = [iou_of(a == i, b == j) for i, j in zip(rows, order, strict=True) if j is not None]
        good = [v for v in values if v >= iou]
        best = max(best, (len(good), round(sum(good), 9)))
    assert found.n_matched == best[0]
    assert found.matched_iou.sum() == pytest.approx(best[1])
    for (i, j), value in zip(found.pairs, found.matched_iou, strict=True):
        assert iou_of(a == i, b == j) == pytest.approx(value)


@given(seeds)
def test_numbers_and_order_of_labels_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 6, (2, 5, 6))
    names = np.array([0, 90, 4, 17, 2, 1000], dtype=np.uint16)
    found, renamed = match_labels(a, b), match_labels(names[a], b.astype(">i8"))
    assert found.n_matched == renamed.n_matched
    assert sorted(found.matched_iou) == pytest.approx(sorted(renamed.matched_iou))
    swapped = match_labels(b, a)
    assert (found.precision, found.recall) == pytest.approx(
        (swapped.recall, swapped.precision), nan_ok=True
    )


def test_nothing_found_and_nothing_there() -> None:
    empty = np.zeros((3, 3), np.int32)
    one = empty.copy()
    one[1, 1] = 1
    assert match_labels(one, empty).recall == 0
    assert match_labels(one, empty).f1 == 0
    assert np.isnan(match_labels(one, empty).precision)
    assert np.isnan(match_labels(empty, empty).f1)
    assert np.isnan(match_labels(empty, empty).mean_matched_iou)
    assert match_labels(np.zeros((0, 4), np.uint8), np.zeros((0, 4), np.uint8)).n_true == 0


@pytest.mark.parametrize(
    ("truth", "predicted", "iou", "error"),
    [
        ([[1]], [[1, 2]], 0.5, AxisMismatchError),
        ([[1.0]], [[1]], 0.5, InputError),
        ([[-1]], [[1]], 0.5, InputError),
        ([[1]], [[1]], 0.0, InputError),
        ([[1]], [[1]], 1.5, InputError),
        ([[1]], [[1]], float("nan"), InputError),
    ],
)
def test_what_cannot_be_matched_is_refused(
    truth: object, predicted: object, iou: float, error: type[Exception]
) -> None:
    with pytest.raises(error):
        match_labels(truth, predicted, iou)
