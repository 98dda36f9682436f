"""Which images have a say in the threshold of all, and what is doubtful about it."""

import numpy as np
import pytest

from aequorea.pipelines.confocal.common_thresholds import CommonThresholds, doubts
from aequorea.pipelines.confocal.detection import find_all, write_candidates
from aequorea.pipelines.confocal.parameters import confocal_parameters
from aequorea.pipelines.study import Sample

SPACING = (0.3, 0.1, 0.1)
MODEL = confocal_parameters(1, 0)


def noisy(folder, name, *, rough=1.0, control=None):
    """Candidates of white noise, some heights of it stretched as by a textured background."""
    rng = np.random.default_rng(len(name))
    image = rng.normal(100, 5, (8, 64, 64)).astype(np.float32)
    write_candidates(
        find_all(image, MODEL().puncta, SPACING), folder / name / "candidates", "puncta"
    )
    path = folder / name / "candidates" / "puncta_heights.npy"
    np.save(path, (np.load(path) * rough).astype(np.float32))
    return Sample(name=name, file=folder / name, control=control), folder / name


@pytest.fixture
def images(tmp_path):
    return [
        noisy(tmp_path, "a"),
        noisy(tmp_path, "ab"),
        noisy(tmp_path, "abc", rough=1.5),
        noisy(tmp_path, "abcd", rough=3.0),
        noisy(tmp_path, "unstained", rough=3.0, control="negative"),
    ]


def test_controls_and_rejected_images_have_no_say(images):
    common = CommonThresholds(parameters=MODEL(), rejected=["abcd"])
    found = common.find(images)["puncta"]
    table = common.table.set_index("sample")
    assert found == table.loc[["a", "ab", "abc"], "own_threshold"].median()
    assert table["left_out"].tolist() == ["", "", "", "rejected", "control"]
    assert set(table["common_threshold"]) == {found}
    everything = CommonThresholds(parameters=MODEL()).find(images)["puncta"]
    assert everything != found


def test_an_image_far_from_the_common_threshold_is_told_unless_it_is_left_out(images):
    common = CommonThresholds(parameters=MODEL(), rejected=["abcd"])
    common.find(images)
    assert common.table.set_index("sample")["far"].to_dict() == {
        "a": False, "ab": False, "abc": True, "abcd": False, "unstained": False,
    }  # fmt: skip
    (told,) = doubts(common.table)
    assert "alone, sample 'abc' would have a threshold of" in told
    assert "% above the common one" in told


def test_without_any_image_left_each_has_its_own(images):
    names = [sample.name for sample, _ in images]
    common = CommonThresholds(parameters=MODEL(), rejected=names)
    assert common.find(images) == {}
    (told,) = doubts(common.table)
    assert (
        "no image is left to take a common threshold from (all 5 are controls or rejected)" in told
    )
    assert not common.table["far"].any()


def test_a_threshold_that_is_given_needs_no_image(images):
    given = MODEL(puncta={"threshold": 6.0})
    common = CommonThresholds(parameters=given)
    assert common.find(images) == {}
    assert list(doubts(common.table)) == []
