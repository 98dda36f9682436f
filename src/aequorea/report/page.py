"""One page from one template: escaped, self-contained, written in one instant."""

from __future__ import annotations

import base64
import hashlib
import os
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import jinja2
from markupsafe import Markup

from aequorea.errors import OutputError
from aequorea.report.numbers import DASH, fixed, number, p_value

if TYPE_CHECKING:
    from pathlib import Path


def render_page(template: str, **content: Any) -> str:
    """HTML of a template; every value is escaped, whatever the file it came from says.

    Parameters
    ----------
    template : str
        Name of a file in ``templates``.
    **content
        What the template shows; a missing name is an error.

    Returns
    -------
    str
        A page whose content-security policy forbids loading anything and running any script
        but its own.
    """
    environment = _environment()
    script = _source("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return environment.get_template(template).render(
        style=Markup(_source("page.css")),  # noqa: S704 - our own file, not user content
        script=Markup(script),  # noqa: S704 - our own file, not user content
        policy=policy,
        **content,
    )


def write_atomically(path: Path, text: str) -> Path:
    """Write ``text`` to ``path`` so that a reader sees the old file or the new, never a part.

    Raises
    ------
    OutputError
        If the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def png_uri(png: bytes) -> str:
    """A PNG as the address of an image inside the page."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def jpeg_uri(jpeg: bytes) -> str:
    """A JPEG as the address of an image inside the page."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("aequorea.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "fixed": fixed,
        "p_value": p_value,
        "png_uri": png_uri,
        "jpeg_uri": jpeg_uri,
    }
    environment.globals["DASH"] = DASH
    return environment


@cache
def _source(name: str) -> str:
    loader = _environment().loader
    assert loader is not None  # noqa: S101 - set above
    return loader.get_source(_environment(), name)[0]
