"""How long the package and the command take to start: best of several fresh interpreters.

Targets: ``import aequorea`` under 0.3 s, ``aequorea --help`` under 0.6 s.
"""

from __future__ import annotations

import subprocess
import sys
import time

REPEATS = 5
CASES = {
    "python -c pass": ["-c", "pass"],
    "import aequorea": ["-c", "import aequorea"],
    "aequorea --help": ["-m", "aequorea", "--help"],
    "aequorea coloc --help": ["-m", "aequorea", "coloc", "--help"],
}
TARGETS_S = {"import aequorea": 0.3, "aequorea --help": 0.6}
HEAVY = ("numba", "pandas", "scipy", "skimage", "zarr", "matplotlib", "xarray")


def best_of(arguments: list[str]) -> float:
    def once() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return time.perf_counter() - started

    return min(once() for _ in range(REPEATS))


def heavy_modules(arguments: list[str]) -> list[str]:
    """Which slow libraries a case imports, from -X importtime."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    return sorted(loaded & set(HEAVY))


def main() -> None:
    for name, arguments in CASES.items():
        target = f"target {TARGETS_S[name]:.1f} s" if name in TARGETS_S else ""
        heavy = ", ".join(heavy_modules(arguments)) or "none"
        print(f"{name:24} {best_of(arguments):6.3f} s  {target:14}  slow imports: {heavy}")


if __name__ == "__main__":
    main()
