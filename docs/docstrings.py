"""numpydoc docstrings as reStructuredText takes them when many share a page."""

import re
from typing import Any

_REFERENCE = re.compile(r"^\.\. \[\d+\] ")
_ITEM = re.compile(r"^([\w-]+(?:, [\w-]+)*) : (.*)$")


def adapt(_app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Number references anew on each page; make bullets of ``name : meaning`` notes."""
    section = ""
    in_item = False
    for k, line in enumerate(lines):
        if k + 1 < len(lines) and set(lines[k + 1].strip()) == {"-"}:
            section, in_item = line.strip(), False
        lines[k] = _REFERENCE.sub("*      ", line)
        if section != "Notes":
            continue
        item = _ITEM.match(line)
        if item:
            lines[k] = f"* **{item[1]}**: {item[2]}"
            in_item = True
        elif in_item and line.startswith(" "):
            lines[k] = f"  {line.strip()}"
        else:
            in_item = False
