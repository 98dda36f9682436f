"""How well predicted objects agree with known ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from aequorea.errors import AxisMismatchError, InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]
    IntArray = npt.NDArray[np.int64]

__all__ = ["Matching", "match_labels"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Matching:
    """One-to-one agreement of two label images.

    Attributes
    ----------
    n_true, n_predicted : int
        Number of objects.
    pairs : ndarray of int64, shape (n_matched, 2)
        Label in the truth and in the prediction, sorted by the former.
    matched_iou : ndarray of float64, shape (n_matched,)
        Intersection over union of each pair.
    """

    n_true: int
    n_predicted: int
    pairs: IntArray
    matched_iou: FloatArray

    @property
    def n_matched(self) -> int:
        """Number of pairs: the true positives."""
        return len(self.pairs)

    @property
    def precision(self) -> float:
        """Share of the predicted objects that are matched; NaN without any."""
        return self.n_matched / self.n_predicted if self.n_predicted else float("nan")

    @property
    def recall(self) -> float:
        """Share of the true objects that are matched; NaN without any."""
        return self.n_matched / self.n_true if self.n_true else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN if both images are empty."""
        total = self.n_true + self.n_predicted
        return 2 * self.n_matched / total if total else float("nan")

    @property
    def mean_matched_iou(self) -> float:
        """Mean overlap of the matched pairs; NaN without any."""
        return float(self.matched_iou.mean()) if self.n_matched else float("nan")


def match_labels(truth: npt.ArrayLike, predicted: npt.ArrayLike, iou: float = 0.5) -> Matching:
    """Match predicted objects with true ones by how much they overlap.

    Parameters
    ----------
    truth, predicted : array_like of int, same shape
        0 is background; other labels need not be consecutive.
    iou : float, 0 < iou <= 1, default 0.5
        Smallest intersection over union of a pair.

    Returns
    -------
    Matching

    Raises
    ------
    AxisMismatchError
        If the shapes differ.
    InputError
        If the labels are no integers >= 0, or ``iou`` is out of range.

    Notes
    -----
    From 0.5 on an object has at most one partner of that overlap, save for exact ties at 0.5; ties
    and lower values are resolved by the assignment with most pairs and then most overlap. One
    pass over the pixels; memory for the pairs of labels that meet.

    References
    ----------
    .. [1] Caicedo et al. (2019), Nat Methods 16, 1247, doi:10.1038/s41592-019-0612-7

    Examples
    --------
    >>> found = match_labels([[1, 1, 1, 0, 2]], [[5, 5, 5, 5, 0]])
    >>> found.precision, found.recall, found.pairs.tolist(), found.matched_iou.tolist()
    (1.0, 0.5, [[1, 5]], [0.75])
    """
    if not 0 < iou <= 1:
        raise InputError(f"iou: expected above 0 and at most 1, found {iou}")
    true_labels = _labels(truth, "truth")
    predicted_labels = _labels(predicted, "predicted")
    if true_labels.shape != predicted_labels.shape:
        raise AxisMismatchError(
            f"match_labels: expected labels of one shape, found {true_labels.shape} and "
            f"{predicted_labels.shape}"
        )
    a_names, a = np.unique(true_labels, return_inverse=True)
    b_names, b = np.unique(predicted_labels, return_inverse=True)
    codes, counts = np.unique(
        a.ravel().astype(np.int64) * max(len(b_names), 1) + b.ravel(), return_counts=True
    )
    row, column = np.divmod(codes, max(len(b_names), 1))
    size_a = np.bincount(row, counts, minlength=len(a_names))
    size_b = np.bincount(column, counts, minlength=len(b_names))
    overlap = counts / (size_a[row] + size_b[column] - counts)
    good = (a_names[row] > 0) & (b_names[column] > 0) & (overlap >= iou)
    chosen = _one_to_one(row[good], column[good], overlap[good])
    pairs = np.stack([a_names[row[good][chosen]], b_names[column[good][chosen]]], axis=1)
    return Matching(
        n_true=int((a_names > 0).sum()),
        n_predicted=int((b_names > 0).sum()),
        pairs=pairs.astype(np.int64),
        matched_iou=overlap[good][chosen],
    )


def _labels(labels: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    array = np.asarray(labels)
    if array.dtype.kind not in "ui":
        raise InputError(f"{name}: expected integer labels, found dtype {array.dtype}")
    if array.size and array.min() < 0:
        raise InputError(f"{name}: expected labels >= 0, found {array.min()}")
    return array


def _one_to_one(row: IntArray, column: IntArray, weight: FloatArray) -> IntArray:
    """Indices of the pairs of the best assignment, in order of the rows."""
    unique_rows, first = np.unique(row, return_index=True)
    if len(unique_rows) == len(row) and len(np.unique(column)) == len(column):
        return first.astype(np.int64)
    columns, j = np.unique(column, return_inverse=True)
    i = np.searchsorted(unique_rows, row)
    gain = np.zeros((len(unique_rows), len(columns)))
    # A pair more is worth more than any overlap gained by rearranging the others.
    gain[i, j] = weight + len(row)
    index = np.full(gain.shape, -1)
    index[i, j] = np.arange(len(row))
    chosen = index[linear_sum_assignment(gain, maximize=True)]
    return chosen[chosen >= 0].astype(np.int64)
