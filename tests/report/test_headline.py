import math

import pandas as pd
import pytest

from aequorea.report.headline import Headline, chance_of_manders, headline_of

NAN = math.nan


def _pixel(n: int = 1) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "frame": 0, "region": range(n), "region_name": [f"cell {k}" for k in range(n)],
            "n_pixels": 1000, "n_a": 200, "n_b": 300, "pcc": 0.5, "m1": 0.6, "m2": 0.7,
            "reason": "",
        }
    )  # fmt: skip


def _test(p: float, *, observed: float = 0.5, floor: float = 0.001, n: int = 1) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "frame": 0, "region": range(n), "metric": "pcc", "observed": observed,
            "expected": 0.01, "p_value": p, "p_fdr": p, "p_floor": floor, "n_effective": 120.0,
            "hypothesis": "They are not aligned.", "reason": "too small" if math.isnan(p) else "",
        }
    )  # fmt: skip


def _headline(pixel: pd.DataFrame, tests: pd.DataFrame) -> Headline:
    return headline_of(pixel, tests, names=("A", "B"), alpha=0.05, primary="pcc")


@pytest.mark.parametrize(
    ("test", "verdict"),
    [
        (_test(0.001), "A and B are aligned more than chance would give (Pearson r, p ≤ 0.001)."),
        (_test(0.02, observed=-0.3), "A and B avoid each other more than chance"),
        (_test(0.4), "No evidence that A and B are aligned"),
        (_test(0.4), "This is not evidence that they are unrelated."),
        (_test(0.14, floor=0.14), "cannot be tested at 5 % here"),
        (_test(0.14, floor=0.14), "the smallest p it can give is 0.14"),
        (_test(NAN), "could not be tested: too small."),
        (pd.DataFrame(), "described, not tested"),
    ],
)
def test_the_verdict_says_no_more_than_the_test(test: pd.DataFrame, verdict: str) -> None:
    assert verdict in _headline(_pixel(), test).verdict


def test_chance_for_manders_is_the_share_of_area_the_other_channel_covers() -> None:
    row = _pixel().iloc[0]
    assert chance_of_manders(row, "m1") == pytest.approx(0.3)
    assert chance_of_manders(row, "m2") == pytest.approx(0.2)
    assert math.isnan(chance_of_manders({"n_pixels": 0}, "m1"))
    m1 = _headline(_pixel(), _test(0.001)).measures[1]
    assert m1.value == "0.600"
    assert "0.300 if unrelated: the share of pixels above the threshold of B" in m1.beside
    assert not any("expected" in line for line in m1.beside)


def test_null_effective_n_and_unit_of_inference_are_said() -> None:
    notes = " ".join(_headline(_pixel(), _test(0.001)).notes)
    assert "Null hypothesis: They are not aligned." in notes
    assert "count as 120 independent ones" in notes
    assert "Unit of inference" in notes


def test_many_regions_are_counted_after_fdr_correction() -> None:
    tests = pd.concat([_test(0.01, n=3), _test(0.5), _test(NAN), _test(0.01, observed=-0.5)])
    found = _headline(_pixel(6), tests)
    assert "more than chance would give in 3 of 5 tested regions" in found.verdict
    assert "In 1 they avoid each other" in found.verdict
    assert "1 could not be tested" in found.verdict
    assert "median of 6 regions; quartiles 0.500 to 0.500" in found.measures[0].beside


def test_regions_that_cannot_reach_the_level_are_not_counted_as_tested() -> None:
    tests = pd.concat([_test(0.01, n=2), _test(0.2, floor=0.08), _test(0.3, floor=0.12)])
    verdict = _headline(_pixel(4), tests).verdict
    assert "in 2 of 2 tested regions" in verdict
    assert "cannot be tested in 2 of 4 (too few independent shifts; smallest possible p" in verdict
    assert "0.080" in verdict
    verdict = _headline(_pixel(3), _test(0.2, floor=0.08, n=3)).verdict
    assert verdict.startswith("A and B cannot be tested at 5 % in 3 of 3 regions (too few")
    assert "0 of" not in verdict


def test_frames_are_called_frames_and_both_counts_of_observations_are_named() -> None:
    pixel = _pixel(3).assign(frame=range(3), region=0)
    found = _headline(pixel, _test(0.01, n=3).assign(n_independent=11.84, region=0))
    assert "3 of 3 tested frames" in found.verdict
    assert "median of 3 frames; quartiles 0.500 to 0.500" in found.measures[0].beside
    notes = " ".join(found.notes)
    assert "The 3 frames in the whole image are a family" in notes
    assert "Independent pixels per frame: median 120 (120 to 120)" in notes
    assert "Independent shifts per frame: median 11.8 (11.8 to 11.8)" in notes
    assert "region" not in notes
    one = _headline(_pixel(), _test(0.14, floor=0.14).assign(n_independent=6.1))
    assert "holds only 6.1 independent shifts" in one.verdict


def test_profiles_are_told_from_chance() -> None:
    tests = _test(0.001).assign(null="profile", tested=0.378)
    found = _headline(_pixel(), tests)
    assert "0.010 expected from the profiles" in found.measures[0].beside
    assert any("tested is the fine structure, 0.378" in note for note in found.notes)


def test_a_measure_that_is_undefined_everywhere_says_so() -> None:
    pixel = _pixel(2).assign(m1=NAN)
    assert _headline(pixel, pd.DataFrame()).measures[1].value == "–"
    assert _headline(pixel, pd.DataFrame()).measures[1].reason
