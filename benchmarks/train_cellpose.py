"""Train the small Cellpose network of the tests from simulated nuclei, and write its weights.

Needs Cellpose 3 and a few minutes on one CPU core::

    python benchmarks/train_cellpose.py tests/data/cellpose/simulated-nuclei

Cellpose 3 builds one architecture only (32, 64, 128 and 256 channels; 6.6 million weights, 26 MB)
and reads only files of exactly its shapes. What is trained here is a quarter as wide in every
layer. Its weights are then set into the full architecture, whose other channels are zero: batch
normalisation of a channel of zeros gives zeros and every weight from it is zero, so the wide
network computes what the narrow one does, to rounding. Stored as float16 in a compressed archive,
which PyTorch reads as any other, it is below 1 MB, and the library loads it as it loads any model.

The table printed at the end is measured with the file as written, on seeds not trained on.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from cellpose import train
from cellpose.resnet_torch import CPnet

from aequorea.segmentation.cellpose import CELLPOSE
from aequorea.segmentation.matching import match_labels
from aequorea.segmentation.parameters import SegmentationParameters
from aequorea.simulate.nuclei import SimulatedNuclei, simulated_nuclei

WIDE = (2, 32, 64, 128, 256)
NARROW = (2, 8, 16, 32, 64)
DIAMETER_PX = 17.0
CROP_PX = 96
IMAGES_PER_EPOCH = 32
TEST_SEEDS = range(9000, 9010)


def scene(seed: int, size: int = 192) -> SimulatedNuclei:
    """Nuclei whose size, crowding, light and noise differ from seed to seed."""
    rng = np.random.default_rng(seed)
    diameter = float(rng.uniform(12, 26))
    share = rng.uniform(0.1, 0.3)
    return simulated_nuclei(
        (size, size),
        n=max(6, round(share * size * size / (0.8 * diameter**2))),
        diameter_px=diameter,
        touching_fraction=float(rng.uniform(0.2, 0.6)),
        cluster_size=int(rng.integers(2, 4)),
        photons=float(np.exp(rng.uniform(np.log(30), np.log(300)))),
        background_photons=float(rng.uniform(2, 15)),
        illumination_gradient=float(rng.uniform(0, 0.3)),
        blur_px=float(rng.uniform(0.8, 1.8)),
        n_debris=int(rng.integers(0, 6)),
        rng=rng,
    )


def widened(narrow: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same function of the image in the architecture that Cellpose builds."""
    template = CPnet(list(WIDE), 3, sz=3, diam_mean=DIAMETER_PX).state_dict()
    wide = {}
    for name, like in template.items():
        value = narrow[name]
        # Away from the narrow network, variance 1 and everything else 0.
        full = torch.full_like(like, 1 if name.endswith("running_var") else 0)
        full[tuple(slice(length) for length in value.shape)] = value
        wide[name] = full.half() if full.is_floating_point() and full.ndim else full
    return wide


def compressed(state: dict[str, torch.Tensor]) -> bytes:
    """A PyTorch file with its entries deflated; the same bytes for the same weights."""
    plain, packed = io.BytesIO(), io.BytesIO()
    torch.save(state, plain)
    with (
        zipfile.ZipFile(plain) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target,
    ):
        for entry in source.infolist():
            target.writestr(zipfile.ZipInfo(entry.filename), source.read(entry), 8, 9)
    return packed.getvalue()


def score(path: Path, seed: int) -> float:
    truth = scene(seed)
    options = SegmentationParameters(
        method="cellpose", model=str(path), diameter_px=truth.diameter_px
    )
    response = CELLPOSE.respond(
        truth.image.astype(np.float32), options, spacing_um=None, mask=None, use_gpu=False
    )
    return match_labels(truth.labels, CELLPOSE.label(response, options).labels).f1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=140)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    start = time.perf_counter()
    # Layers this thin gain nothing from a second thread, and wait ten times as long for it on a
    # busy machine (0.25 s against 2.7 s a step).
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    scenes = [scene(1000 * arguments.seed + k) for k in range(arguments.images)]
    net = CPnet(list(NARROW), 3, sz=3, diam_mean=DIAMETER_PX)
    with tempfile.TemporaryDirectory() as folder:
        _, losses, _ = train.train_seg(
            net,
            train_data=[s.image.astype(np.float32) for s in scenes],
            train_labels=[s.labels for s in scenes],
            channels=[0, 0],
            n_epochs=arguments.epochs,
            learning_rate=0.005,
            batch_size=8,
            nimg_per_epoch=IMAGES_PER_EPOCH,
            bsize=CROP_PX,
            scale_range=0.5,
            save_path=folder,
            save_every=10**6,
        )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_bytes(compressed(widened(net.state_dict())))
    content = arguments.out.read_bytes()
    print(
        f"trained in {time.perf_counter() - start:.0f} s; loss {losses[0]:.3f} -> {losses[-1]:.3f}"
    )
    print(f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")
    print("seed   F1 at IoU 0.5")
    scores = []
    for seed in TEST_SEEDS:
        scores.append(score(arguments.out, seed))
        print(f"{seed}   {scores[-1]:.3f}")
    print(f"mean   {np.mean(scores):.3f}; lowest {min(scores):.3f}")


if __name__ == "__main__":
    main()
