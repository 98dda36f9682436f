"""Documentation: built with ``python -m sphinx -W -b html docs docs/_build/html``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import docstrings
import generated

import aequorea

project = "aequorea"
author = "The aequorea developers"
copyright = author  # noqa: A001 - the name sphinx asks for
version = release = aequorea.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "api", "Thumbs.db"]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"aequorea {version}"
html_static_path = []

generated.write_pages(Path(__file__).parent)


def setup(app):
    """Adapt docstrings before napoleon reads them."""
    app.connect("autodoc-process-docstring", docstrings.adapt, priority=100)
