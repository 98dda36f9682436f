"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable

# The same examples in every run, however slow the machine: a test that passes here passes there.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")

DATA_VARIABLE = "AEQUOREA_TEST_DATA"
REQUIRE_VARIABLE = "AEQUOREA_REQUIRE"


def skip_or_fail(what: str, reason: str) -> None:
    """Skip, unless ``what`` stands in AEQUOREA_REQUIRE (a comma-separated list): then fail."""
    if what in os.environ.get(REQUIRE_VARIABLE, "").split(","):
        pytest.fail(f"{reason}, and {REQUIRE_VARIABLE} asks for {what!r}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Path of a file of the shared test data; skips where the data are absent."""

    def find(relative: str) -> Path:
        root = os.environ.get(DATA_VARIABLE)
        if not root:
            skip_or_fail("data", f"{DATA_VARIABLE} is not set")
        path = Path(root or "") / relative
        if not path.exists():
            skip_or_fail("data", f"{relative} is not in {DATA_VARIABLE}")
        return path

    return find
