"""Li's ICA on arrays small enough for paper and pencil."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.colocalization.ica import li_ica


def test_by_hand():
    result = li_ica([[0, 1], [2, 5]], [[4, 3], [1, 0]])
    assert result["products"].tolist() == [-4.0, -1.0, 0.0, -6.0]
    assert result["icq"] == -0.5
    assert result["a"].tolist() == [0, 1, 2, 5]


def test_mask_and_unsigned_types_do_not_wrap():
    a = np.array([0, 1, 2, 250], np.uint8)
    result = li_ica(a, a, mask=[1, 1, 1, 0])
    assert result["products"].tolist() == [1.0, 0.0, 1.0]
    assert result["icq"] == 0.5


def test_constant_channel_has_no_quotient():
    assert np.isnan(li_ica([1, 1, 1], [1, 2, 3])["icq"])


def test_nearly_equal_constants_do_not_become_random():
    assert np.isnan(li_ica(np.full(11, 0.1), np.arange(11.0))["icq"])


@pytest.mark.parametrize(
    ("a", "b", "mask"),
    [
        ([1], [1], None),
        ([1, 2], [1, 2, 3], None),
        ([1, 2], [1, np.nan], None),
        ([1, 2], [1, 2], [0, 1]),
    ],
)
def test_bad_input(a, b, mask):
    with pytest.raises(ValueError):
        li_ica(a, b, mask)
