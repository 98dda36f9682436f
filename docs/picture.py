"""Make ``docs/report.png``, the picture in the README: ``python docs/picture.py``.

Runs the demo's simulated cells and photographs the head of their report with headless Chromium.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from aequorea.pipelines.demo import run_demo

WIDTH, HEIGHT = 1140, 1420
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Write the picture beside this file."""
    browser = next(filter(None, map(shutil.which, BROWSERS)))
    with tempfile.TemporaryDirectory() as folder:
        demo = run_demo(Path(folder, "demo"))
        photograph = Path(folder, "page.png")
        subprocess.run(  # noqa: S603 - our own command line
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={folder}/profile",
                f"--window-size={WIDTH},{HEIGHT}",
                f"--screenshot={photograph}",
                (demo.parent / "simulated-cells" / "report.html").as_uri(),
            ],
            check=True,
            capture_output=True,
        )
        picture = Image.open(photograph).convert("RGB")
        target = Path(__file__).with_name("report.png")
        # of the ways to 256 colours the one that keeps rare ones, such as green and magenta dots
        few = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE)
        few.save(target, optimize=True)
        print(f"{target}: {target.stat().st_size} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
