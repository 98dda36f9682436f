"""A batch has one threshold, and options reach what they are for."""

from __future__ import annotations

import numpy as np
import pytest

from aequorea.errors import AxisMismatchError, CalibrationError, InputError
from aequorea.puncta.batch import detect_puncta
from aequorea.puncta.parameters import PunctaParameters
from aequorea.simulate.puncta import render_puncta

SPACING = (0.3, 0.1, 0.1)
SIGMA = (0.35 / 0.3, 1.2, 1.2)


def stack(seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    light = np.full((10, 70, 70), 15, np.float32)
    render_puncta(light, rng.uniform(0, (9, 69, 69), (n, 3)), np.full(n, 900.0), SIGMA)
    return rng.poisson(light).astype(np.uint16)


def test_a_batch_is_looked_at_one_by_one_with_one_threshold():
    images = [stack(0, 30), stack(1, 15), stack(2, 0)]
    found = detect_puncta(iter(images), spacing_um=SPACING)
    assert found.automatic is not None
    assert found.automatic.value == found.threshold
    counts = [len(puncta) for puncta in found.puncta]
    assert counts == found.automatic.n_above.tolist()
    assert 26 <= counts[0] <= 31
    assert 13 <= counts[1] <= 16
    assert counts[2] <= 1
    assert all((puncta.height >= found.threshold).all() for puncta in found.puncta)


def test_options_are_used():
    image = stack(3, 30)
    plain = detect_puncta([image], spacing_um=SPACING)
    given = detect_puncta([image], spacing_um=SPACING, options=PunctaParameters(threshold=9.0))
    assert given.automatic is None
    assert given.threshold == 9
    strict = PunctaParameters(min_snr=8.0, min_distance_um=3.0, method="dog")
    few = detect_puncta([image], spacing_um=SPACING, options=strict).puncta[0]
    assert 0 < len(few) < len(plain.puncta[0])
    assert few.method == "dog"
    assert few.snr.min() >= 8
    apart = few.coordinates_px[:, None] * SPACING - few.coordinates_px[None] * SPACING
    between = np.sqrt((apart**2).sum(-1))
    assert between[~np.eye(len(few), dtype=bool)].min() >= 3.0


def test_masks():
    image = stack(4, 30)
    mask = np.zeros(image.shape, bool)
    mask[:, :35] = True
    found = detect_puncta([image, image], spacing_um=SPACING, masks=[mask, None])
    assert found.puncta[0].coordinates_px[:, 1].max() < 35
    assert len(found.puncta[0]) < len(found.puncta[1])
    for wrong in ([mask], [mask, None, None]):
        with pytest.raises(AxisMismatchError, match="masks"):
            detect_puncta([image, image], spacing_um=SPACING, masks=wrong)


def test_nonsense():
    with pytest.raises(InputError, match="images"):
        detect_puncta([], spacing_um=SPACING)
    with pytest.raises(CalibrationError):
        detect_puncta([stack(0, 0)], spacing_um=(0, 1, 1))
    with pytest.raises(InputError, match="sigma_px"):
        detect_puncta([stack(0, 0)], spacing_um=(0.1, 0.1))
