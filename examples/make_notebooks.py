"""Write each script of this folder whose name begins with cells_ as a notebook, too."""

import json
import sys
from pathlib import Path


def notebook(script: str) -> str:
    """The notebook of a script: its docstring as text, then one cell for each ``# %%``."""
    first, *parts = script.split("\n# %%")
    cells = [{"cell_type": "markdown", "id": "0", "metadata": {},
              "source": first.strip().strip('"').splitlines(keepends=True)}]  # fmt: skip
    for number, part in enumerate(parts, start=1):
        title, _, code = part.partition("\n")
        source = f"# {title.strip()}\n{code.strip()}\n".replace("sys.argv", "[__name__]")
        cells.append(
            {
                "cell_type": "code",
                "execution_count": None,
                "id": str(number),
                "metadata": {},
                "outputs": [],
                "source": source.splitlines(keepends=True),
            }
        )
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4,
               "nbformat_minor": 5}  # fmt: skip
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    folder = Path(__file__).parent
    for script in sorted(folder.glob("cells_*.py")):
        target = script.with_suffix(".ipynb")
        target.write_text(notebook(script.read_text(encoding="utf-8")), encoding="utf-8")
        sys.stdout.write(f"{target.name}\n")
