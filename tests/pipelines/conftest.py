"""Fixtures of workflows."""

from __future__ import annotations

import base64

import pytest

from aequorea.report import page_parts
from aequorea.report.canvas import Picture

DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def undrawn():
    """Pages with a dot for each figure: drawing is most of a small run, and tested elsewhere."""

    def dot(_figure, alt, **_options):
        return Picture(png=DOT, width_px=1, height_px=1, alt=alt)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_parts, "to_picture", dot)
        yield
