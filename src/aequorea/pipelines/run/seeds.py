"""One seed for a run, an own one for each of its random parts."""

from __future__ import annotations

import numpy as np


def seed_of(seed: int, *part: int) -> int:
    """Seed of one part of a run: differs between parts, does not depend on their order.

    Parameters
    ----------
    seed : int
        Of the run.
    *part : int
        Numbers that name the part: frame, channels, region.

    Examples
    --------
    >>> seed_of(0, 1, 2) == seed_of(0, 1, 2), seed_of(0, 1, 2) == seed_of(0, 2, 1)
    (True, False)
    """
    return int(np.random.SeedSequence((seed, *part)).generate_state(1, np.uint32)[0])
