from __future__ import annotations

import numpy as np

from aequorea.stats import false_discovery_rate


def test_hand_computed_q_values_in_any_order():
    p = np.array([0.04, 0.01, np.nan, 0.03])
    np.testing.assert_allclose(false_discovery_rate(p), [0.04, 0.03, np.nan, 0.04])


def test_nothing_tested_gives_nothing():
    assert false_discovery_rate([]).shape == (0,)
    assert np.isnan(false_discovery_rate([np.nan])).all()
