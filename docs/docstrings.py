"""numpydoc docstrings as reStructuredText takes them when many share a page."""

import re
from typing import Any

_REFERENCE = re.compile(r"^\.\. \[(\d+)\] ")
_CITED = re.compile(r"\[(\d+)\]_")
_ITEM = re.compile(r"^([\w-]+(?:, [\w-]+)*) : (.*)$")


def adapt(_app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Make references plain text, which may repeat on a page, and bullets of ``name : meaning``."""
    section = ""
    in_item = False
    for k, line in enumerate(lines):
        if k + 1 < len(lines) and set(lines[k + 1].strip()) == {"-"}:
            section, in_item = line.strip(), False
        lines[k] = _CITED.sub(r"[\1]", _REFERENCE.sub(r"*      [\1] ", line))
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
