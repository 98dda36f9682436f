"""A study of many stacks: how it uses the processors, and what a kill costs.

Simulated stacks are analysed with one worker and with two; then with two again, killed with all its
processes at random moments and continued until it is done. The tables must be the same bytes each
time, and no step that was finished may be computed twice.

``python benchmarks/bench_study.py [--images 60] [--size 256] [--kills 4] [--csv FILE]``
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from aequorea.io import write_ome_tiff
from aequorea.model import Image
from aequorea.simulate import PunctaLaw, simulated_confocal

STUDY = """sheet = "samples.csv"
[channels]
nuclei = "nuclei"
cells = "cells"
puncta = "Ryr2"
protein = "protein"
"""


def write_study(folder: Path, images: int, size: int) -> Path:
    rows = ["file,sample,animal,condition"]
    for k in range(images):
        stack = simulated_confocal(
            (16, size, size),
            n_cells=max(1, size // 80),
            cell_diameter_um=7.0,
            nucleus_diameter_um=3.2,
            puncta={"Ryr2": PunctaLaw(per_cell=60, attraction=2.0 * (k % 2))},
            rng=k,
        )
        image = Image(
            data=stack.stack(),
            axes="czyx",
            channels=tuple(stack.images),
            spacing_um=dict(zip("zyx", stack.spacing_um, strict=True)),
        )
        write_ome_tiff(image, folder / f"s{k:02d}.ome.tif")
        condition = ("sham", "TAC")[k % 2]
        rows.append(f"s{k:02d}.ome.tif,s{k:02d},{condition}-{k // 2 % 5},{condition}")
    (folder / "samples.csv").write_text("\n".join(rows) + "\n")
    (folder / "study.toml").write_text(STUDY)
    return folder / "study.toml"


def started(study: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "aequorea", "confocal", str(study)]
    return subprocess.Popen(
        [*command, "--out", str(out), "--workers", str(workers)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def measured(study: Path, out: Path, workers: int) -> dict[str, float]:
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = started(study, out, workers)
    if process.wait():
        raise SystemExit(f"the study failed with {workers} workers")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wall_s": round(time.perf_counter() - begun, 1),
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "largest_process_mb": round(after.ru_maxrss / 1024),
    }


def finished_steps(out: Path) -> dict[tuple[str, str], float]:
    """When each finished step of each sample put its first result in place."""
    found = {}
    for path in out.glob("samples/*/run.json"):
        for name, step in json.loads(path.read_text())["steps"].items():
            output = next(iter(step.get("outputs", ())), None)
            if step.get("state") == "done" and output is not None:
                written = (path.parent / output).stat().st_mtime_ns
                found[path.parent.name, name] = written
    return found


def table_bytes(out: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(p for p in out.rglob("tables/*") if p.is_file()):
        whole.update(path.relative_to(out).as_posix().encode() + path.read_bytes())
    return whole.hexdigest()[:16]


def killed(study: Path, out: Path, kills: int, wall_s: float) -> dict[str, float]:
    rng = np.random.default_rng(0)
    known: dict[tuple[str, str], float] = {}
    again = 0
    begun = time.perf_counter()
    for _ in range(kills):
        process = started(study, out, 2)
        time.sleep(float(rng.uniform(0.1, 0.6)) * wall_s / kills + 5)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        steps = finished_steps(out)
        again += sum(steps.get(key) != at for key, at in known.items())
        known = steps
        print(f"killed with {len(steps)} steps finished", flush=True)
    if started(study, out, 2).wait():
        raise SystemExit("the study failed after the kills")
    steps = finished_steps(out)
    again += sum(steps.get(key) != at for key, at in known.items())
    return {
        "wall_s": round(time.perf_counter() - begun, 1),
        "steps": len(steps),
        "finished_steps_computed_again": again,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = write_study(folder, asked.images, asked.size)
        rows = []
        for workers in (1, 2):
            out = folder / f"with{workers}"
            row = {"case": f"{workers} workers", **measured(study, out, workers)}
            rows.append({**row, "tables": table_bytes(out)})
            print(rows[-1], flush=True)
        out = folder / "killed"
        row = {"case": f"{asked.kills} kills", **killed(study, out, asked.kills, row["wall_s"])}
        rows.append({**row, "tables": table_bytes(out)})
        print(rows[-1], flush=True)
    same = len({row["tables"] for row in rows}) == 1
    print("tables are the same bytes" if same else "TABLES DIFFER")
    if asked.csv is not None:
        with asked.csv.open("w", newline="") as stream:
            given = {"images": asked.images, "size": asked.size}
            writer = csv.DictWriter(stream, [*given, *dict.fromkeys(k for r in rows for k in r)])
            writer.writeheader()
            writer.writerows({**given, **row} for row in rows)
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
