import numpy as np
import pytest

from aequorea.colocalization import (
    ALL_METRICS,
    COLUMNS,
    EXTRA_METRICS,
    analyse_all_to_all,
    analyse_pairwise,
    auto_threshold,
    colocalized_areas,
    costes_threshold,
    kendall_tau,
    li_icq,
    manders,
    overlap,
    pearson,
    pearson_above,
    pearson_below,
    spearman,
)
from aequorea.errors import AxisMismatchError, InputError


def two_channels(shape=(40, 50), dtype="u1", seed=0):
    rng = np.random.default_rng(seed)
    stain = rng.gamma(1, 40, shape)
    a, b = rng.poisson(20 + stain), rng.poisson(15 + 0.6 * stain)
    return a.clip(0, 255).astype(dtype), b.clip(0, 255).astype(dtype)


def three_regions(shape=(40, 50)):
    labels = np.zeros(shape, np.int32)
    labels[..., 5:20, 3:20] = 2
    labels[..., 5:20, 25:45] = 7
    labels[..., 25:39, 8:40] = 3
    return labels


def same(rows, others):
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        assert list(row) == list(other)
        for key, value in row.items():
            if isinstance(value, str):
                assert value == other[key]
            else:
                np.testing.assert_allclose(value, other[key], rtol=1e-9, err_msg=key)


def test_columns_are_those_of_the_first_release():
    assert COLUMNS == (
        "region", "slice", "channel_a", "channel_b", "n_pixels", "pcc", "pcc_pvalue", "srcc",
        "srcc_pvalue", "icq", "overlap", "k1", "k2", "m1", "m2", "threshold_a", "threshold_b",
    )  # fmt: skip
    assert ALL_METRICS == ("pcc", "srcc", "icq", "overlap", "mcc")


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
@pytest.mark.parametrize("method", ["costes", "otsu", "li", "triangle", "yen", "mean", "isodata"])
def test_each_region_holds_what_the_functions_give(dtype, method):
    a, b = two_channels(dtype=dtype)
    labels = three_regions()
    rows = analyse_pairwise(a, b, label_mask=labels, threshold_method=method)
    assert [row["region"] for row in rows] == [2, 3, 7]
    for row in rows:
        assert tuple(row) == (*COLUMNS, "reason")
        mask = labels == row["region"]
        if method == "costes":
            t_a, t_b = costes_threshold(a, b, mask)
        else:
            t_a, t_b = auto_threshold(a, method, mask), auto_threshold(b, method, mask)
        expected = {
            "n_pixels": mask.sum(),
            "pcc": pearson(a, b, mask)[0],
            "srcc": spearman(a, b, mask)[0],
            "icq": li_icq(a, b, mask),
            "threshold_a": t_a,
            "threshold_b": t_b,
        }
        expected |= dict(zip(("overlap", "k1", "k2"), overlap(a, b, mask), strict=True))
        expected |= dict(zip(("m1", "m2"), manders(a, b, t_a, t_b, mask), strict=True))
        for key, value in expected.items():
            assert row[key] == pytest.approx(value, rel=1e-9), key
        assert np.isnan(row["slice"])
        assert np.isnan(row["pcc_pvalue"])
        assert np.isnan(row["srcc_pvalue"])
        assert row["reason"] == ""


def test_scripted_analysis_of_the_earlier_plugin():
    import pandas as pd

    a, b = two_channels()
    rows = analyse_pairwise(
        a,
        b,
        label_mask=three_regions(),
        metrics=("pcc", "srcc", "mcc"),
        threshold_method="costes",
        channel_a="dna",
        channel_b="tubulin",
    )
    table = pd.DataFrame(rows, columns=COLUMNS)
    assert len(table.to_csv(index=False).splitlines()) == 4
    assert table["icq"].isna().all()
    assert table["channel_b"].unique().tolist() == ["tubulin"]


def test_whole_image_is_region_zero():
    a, b = two_channels()
    (row,) = analyse_pairwise(a, b)
    assert row["region"] == 0
    assert row["n_pixels"] == a.size
    assert row["pcc"] == pearson(a, b)[0]


def test_boolean_mask_is_region_one_and_no_regions_no_rows():
    a, b = two_channels()
    assert [r["region"] for r in analyse_pairwise(a, b, label_mask=a > 30)] == [1]
    assert analyse_pairwise(a, b, label_mask=np.zeros(a.shape, int)) == []


def test_slices_and_timepoints_are_planes_of_their_own():
    a, b = two_channels((2, 3, 40, 50))
    labels = three_regions()
    rows = analyse_pairwise(a, b, label_mask=labels, time_axis=0, slice_axis=1)
    assert len(rows) == 2 * 3 * 3
    assert [(r["time"], r["slice"], r["region"]) for r in rows[:4]] == [
        (0, 0, 2), (0, 0, 3), (0, 0, 7), (0, 1, 2),
    ]  # fmt: skip
    assert list(rows[0])[: len(COLUMNS) + 1] == [*COLUMNS, "time"]
    row = rows[3 * 3 + 3]
    (expected,) = (
        r for r in analyse_pairwise(a[1, 1], b[1, 1], label_mask=labels) if r["region"] == 2
    )
    assert row["pcc"] == expected["pcc"]
    assert row["m1"] == expected["m1"]
    whole = np.broadcast_to(labels, a.shape)
    same(analyse_pairwise(a, b, label_mask=whole, time_axis=0, slice_axis=1), rows)
    per_slice = np.broadcast_to(labels, (3, 40, 50))
    same(analyse_pairwise(a, b, label_mask=per_slice, time_axis=-4, slice_axis=-3), rows)
    together = analyse_pairwise(a, b, label_mask=per_slice, time_axis=0)
    assert together[0]["n_pixels"] == 3 * rows[0]["n_pixels"]


def test_all_pairs_of_channels():
    a, b = two_channels((3, 40, 50))
    c = a[::-1]
    stack = np.stack([a, b, c], axis=1)
    warnings = []
    rows = analyse_all_to_all(
        stack, 1, label_mask=three_regions((3, 40, 50)), channel_names=("r", "g", "b"),
        slice_axis=0, region_warnings=warnings,
    )  # fmt: skip
    assert len(rows) == 3 * 3 * 3
    expected = analyse_pairwise(
        a, c, label_mask=three_regions((3, 40, 50)), slice_axis=0, channel_a="r", channel_b="b"
    )
    same([r for r in rows if (r["channel_a"], r["channel_b"]) == ("r", "b")], expected)
    assert warnings
    assert all("(r vs b)" in w or "(g vs b)" in w for w in warnings)
    default = analyse_all_to_all(stack, -3, metrics=("pcc",))
    assert [r["channel_b"] for r in default] == ["c1", "c2", "c2"]


def test_extra_metrics_follow_the_columns():
    a, b = two_channels()
    labels = three_regions()
    row = analyse_pairwise(a, b, label_mask=labels, extra_metrics=EXTRA_METRICS)[0]
    keys = list(row)
    assert tuple(keys[: len(COLUMNS)]) == COLUMNS
    assert keys[-1] == "reason"
    mask = labels == 2
    t_a, t_b = row["threshold_a"], row["threshold_b"]
    assert row["kendall"] == pytest.approx(kendall_tau(a, b, mask)[0])
    assert row["pcc_above"] == pytest.approx(pearson_above(a, b, t_a, t_b, mask))
    assert row["pcc_below"] == pytest.approx(pearson_below(a, b, t_a, t_b, mask))
    assert (row["m1_plain"], row["m2_plain"]) == manders(a, b, 0, 0, mask)
    assert (row["tm1"], row["tm2"]) == (row["m1"], row["m2"])
    thresholded = overlap(a, b, mask, threshold_a=t_a, threshold_b=t_b)
    assert (row["overlap_thr"], row["k1_thr"], row["k2_thr"]) == thresholded
    areas = colocalized_areas(a, b, t_a, t_b, mask)
    for key in ("n_coloc", "percent_area", "percent_intensity_a", "percent_intensity_above_b"):
        assert row[key] == getattr(areas, key)


def test_other_spellings_of_metrics():
    a, b = two_channels()
    (row,) = analyse_pairwise(a, b, metrics=("pearson", "tm1", "tm2"))
    assert row["pcc"] == pearson(a, b)[0]
    assert (row["tm1"], row["tm2"]) == (row["m1"], row["m2"])
    assert np.isnan(row["srcc"])
    (alone,) = analyse_pairwise(a, b, metrics="pcc")
    assert np.isnan(alone["threshold_a"])


@pytest.mark.parametrize("threads", [1, 2])
def test_warnings_say_why_a_region_is_undefined(threads, monkeypatch):
    monkeypatch.setattr("numba.get_num_threads", lambda: threads)
    rng = np.random.default_rng(0)
    a = rng.integers(1, 200, (6, 20))
    b = rng.integers(1, 200, (6, 20))
    labels = np.zeros((6, 20), int)
    labels[0, 0] = 1
    labels[1], b[1] = 2, 0
    labels[2], a[2], b[2] = 3, 9, 4
    labels[3], b[3] = 4, -a[3] + 300
    labels[4], b[4] = 5, a[4] - 50
    labels[5] = 6
    b[5] = a[5] // 2
    warnings = []
    rows = analyse_pairwise(
        a, b, label_mask=labels, channel_a="x", channel_b="y", region_warnings=warnings
    )
    no_threshold = "no Manders threshold could be determined (try a different threshold method)"
    assert warnings == [
        "region 1 (x vs y): fewer than 2 pixels",
        "region 2 (x vs y): channel 'y' has no signal",
        "region 3 (x vs y): channel 'x' is constant; channel 'y' is constant",
        f"region 4 (x vs y): {no_threshold}",
        "region 5 (x vs y): metric undefined for this region",
    ]
    for row, warning in zip(rows, warnings, strict=False):
        assert row["reason"].startswith(warning.split(": ", 1)[1])
    assert rows[4]["reason"].endswith("channel 'y' has negative values")
    assert np.isnan(rows[4]["m2"])
    assert np.isfinite(rows[4]["m1"])
    assert rows[5]["reason"] == ""
    assert analyse_pairwise(a, b, label_mask=labels, metrics=("overlap",))[0]["reason"] == ""


def test_booleans_and_mixed_types():
    a, b = two_channels()
    (row,) = analyse_pairwise(a > 40, b.astype("f4"))
    assert row["pcc"] == pytest.approx(pearson((a > 40).astype(int), b.astype(float))[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_mask": np.ones((3, 3), int)}, "does not match the image shape"),
        ({"label_mask": np.ones((40, 50))}, "whole numbers"),
        ({"label_mask": -np.ones((40, 50), int)}, "positive"),
        ({"metrics": ("pcc", "rwc")}, "unknown metric 'rwc'"),
        ({"extra_metrics": ("rwc",)}, "unknown extra metric"),
        ({"threshold_method": "huang"}, "unknown threshold_method 'huang'"),
        ({"threshold_method": "huang", "metrics": ("pcc",)}, "unknown threshold_method"),
        ({"threshold_method": "manual"}, "requires both threshold_a and threshold_b"),
        ({"threshold_method": "manual", "threshold_a": 1}, "requires both"),
        (
            {"threshold_method": "manual", "threshold_a": 1, "threshold_b": np.nan},
            "must be numbers",
        ),
        ({"compat": "imagej"}, "unknown compat"),
        ({"stepper": "golden"}, "unknown stepper"),
        ({"null": "pixels"}, "unknown null"),
        ({"slice_axis": 2}, "does not exist"),
        ({"slice_axis": 0, "time_axis": -2}, "are both"),
    ],
)
def test_requests_that_cannot_be_met(options, message):
    a, b = two_channels()
    with pytest.raises(ValueError, match=message):
        analyse_pairwise(a, b, **options)


def test_bad_pixels_and_shapes():
    a, b = two_channels(dtype="f8")
    with pytest.raises(AxisMismatchError, match="shape mismatch"):
        analyse_pairwise(a, b[1:])
    with pytest.raises(InputError, match="with pixels"):
        analyse_pairwise(a[:0], b[:0])
    a[0, :3] = np.nan
    with pytest.raises(InputError, match="channel dna: 3 of 2000 pixels"):
        analyse_pairwise(a, b, channel_a="dna")
    assert len(analyse_pairwise(a, b, label_mask=three_regions())) == 3
    with pytest.raises(InputError, match="channel_names"):
        analyse_all_to_all(np.stack([b, b]), 0, channel_names=["one"])
    with pytest.raises(InputError, match="2 channels or more"):
        analyse_all_to_all(b[None], 0)
    with pytest.raises(AxisMismatchError, match="channel_axis"):
        analyse_all_to_all(np.stack([b, b]), 0, slice_axis=0)
    with pytest.raises(AxisMismatchError, match="does not exist"):
        analyse_all_to_all(np.stack([b, b]), 5)


def test_manual_thresholds():
    a, b = two_channels()
    (row,) = analyse_pairwise(a, b, threshold_method="manual", threshold_a=0, threshold_b=30)
    assert (row["m1"], row["m2"]) == manders(a, b, 0, 30)
    assert (row["threshold_a"], row["threshold_b"]) == (0, 30)


def test_null_fills_the_p_values_and_its_refusals_are_reasons():
    a, b = two_channels((60, 60))
    labels = np.zeros((60, 60), int)
    labels[5:55, 5:55] = 4
    labels[58, 57:] = 9
    options = {"metrics": ("pcc", "srcc"), "null": "stationary", "n_shifts": 199, "seed": 3}
    rows = analyse_pairwise(a, b, label_mask=labels, **options)
    assert 0 < rows[0]["pcc_pvalue"] < 0.05
    assert 0 < rows[0]["srcc_pvalue"] < 0.05
    assert np.isnan(rows[1]["pcc_pvalue"])
    assert rows[1]["reason"]
    from aequorea.colocalization import significance

    expected = significance(a, b, mask=labels == 4, null="stationary", n_shifts=199, seed=3)
    assert rows[0]["pcc_pvalue"] == expected.p_value
    (whole,) = analyse_pairwise(a, b, **options)
    assert whole["pcc_pvalue"] == significance(a, b, n_shifts=199, seed=3).p_value
    landmarks = np.zeros((60, 60), bool)
    landmarks[20:30, 20:30] = True
    (profile, _) = analyse_pairwise(
        a, b, label_mask=labels, landmarks=landmarks, metrics=("pcc",), null="profile", n_shifts=99
    )
    assert 0 < profile["pcc_pvalue"] <= 1


def test_results_do_not_depend_on_threads(monkeypatch):
    a, b = two_channels()
    labels = three_regions()
    rows = analyse_pairwise(a, b, label_mask=labels)
    monkeypatch.setattr("numba.get_num_threads", lambda: 1)
    same(rows, analyse_pairwise(a, b, label_mask=labels))


def test_functions_stay_in_front_of_modules_of_the_same_name():
    import aequorea.colocalization as package

    for name in ("manders", "significance"):
        assert callable(getattr(package, name))


def test_an_undefined_extra_metric_has_a_reason():
    a, _ = two_channels()
    warnings = []
    (row,) = analyse_pairwise(
        a, 255 - a, metrics=("pcc",), extra_metrics=("areas", "pcc_above"),
        region_warnings=warnings,
    )  # fmt: skip
    assert np.isfinite(row["pcc"])
    assert np.isnan([row["percent_area"], row["n_coloc"], row["n_a"], row["n_b"]]).all()
    assert "no Manders threshold" in row["reason"]
    assert len(warnings) == 1
    (row,) = analyse_pairwise(
        a, a, metrics=("pcc",), extra_metrics=("pcc_above",), threshold_method="manual",
        threshold_a=999, threshold_b=999,
    )  # fmt: skip
    assert np.isnan(row["pcc_above"])
    assert row["reason"] == "metric undefined for this region"


def test_compat_napari_looks_for_thresholds_only_where_manders_is_asked_for():
    a, b = two_channels()
    (row,) = analyse_pairwise(a, b, metrics=("pcc",), compat="napari")
    assert np.isnan([row["threshold_a"], row["threshold_b"], row["tm1"], row["tm2"]]).all()
    assert row["reason"] == ""
    (row,) = analyse_pairwise(a, b, metrics=("tm1",))
    assert row["tm1"] == row["m1"] > 0
