"""Traffic lights: each criterion turns on what it says, and conditions play no part."""

from __future__ import annotations

import pandas as pd
import pytest

from aequorea.pipelines.confocal.lights import CRITERIA, LIGHT_COLUMNS, SYMBOLS, traffic_lights

NAMES = [f"s{k}" for k in range(6)]


def tables():
    """Six good images, one of which a test spoils."""
    samples = pd.DataFrame({"sample": NAMES, "state": "done", "control": None})
    channel = {
        "saturated_fraction": 0.0, "snr": 9.0, "sharpest_plane": 5, "n_planes": 11,
        "light_at_the_end": 0.9, "largest_step_um": 0.1,
    }  # fmt: skip
    channels = [
        {"sample": s, "role": r, "channel": c, **channel}
        for s in NAMES
        for r, c in (("nuclei", "DAPI"), ("puncta", "Ryr2"))
    ]
    cells = [
        {"sample": s, "n_nuclei": 1, "touches_side": False, "puncta_n": 50 + 3 * k}
        for k, s in enumerate(NAMES)
        for _ in range(4)
    ]
    head = {"role": "puncta", "channel": "Ryr2"}
    thresholds = [{"sample": s, **head, "threshold": 5.0, "own_threshold": 5.5} for s in NAMES]
    typical = {**head, "brightness": "typical", "fraction": 0.97}
    efficiency = [{"sample": s, **typical} for s in NAMES]
    rows = (channels, cells, thresholds, efficiency)
    named = dict(zip(("channels", "cells", "thresholds", "efficiency"), rows, strict=True))
    triage = pd.DataFrame(columns=["sample", "verdict", "reason", "overrides"])
    return {"samples": samples, "triage": triage} | {n: pd.DataFrame(r) for n, r in named.items()}


def spoilt(table, values, role=None):
    found = tables()
    own = found[table]["sample"] == "s2"
    if role is not None:
        own &= found[table]["role"] == role
    for column, value in values.items():
        found[table][column] = found[table][column].astype(object)
        found[table].loc[own, column] = value
    return traffic_lights(found)


def light_of(lights, criterion, sample="s2"):
    rows = lights[(lights["sample"] == sample) & (lights["criterion"] == criterion)]
    order = ["red", "amber", "green", "grey"]
    return min(rows["light"], key=order.index)


def test_good_images_are_green_and_the_table_says_how():
    lights = traffic_lights(tables())
    assert list(lights.columns) == list(LIGHT_COLUMNS)
    assert set(lights["light"]) == {"green"}
    assert (lights["symbol"] == "✓").all()
    assert set(lights["criterion"]) == {"overall", *CRITERIA} - {"run", "looked at by hand"}
    assert (lights["reason"] != "").all()
    assert lights.groupby("sample").size().nunique() == 1


@pytest.mark.parametrize(
    ("table", "values", "role", "criterion", "light"),
    [
        ("channels", {"saturated_fraction": 5e-4}, "nuclei", "saturation", "amber"),
        ("channels", {"saturated_fraction": 5e-3}, "nuclei", "saturation", "red"),
        ("channels", {"snr": 3.0}, "nuclei", "signal over noise", "amber"),
        ("channels", {"snr": 1.0}, "nuclei", "signal over noise", "red"),
        ("channels", {"snr": 1.0}, "puncta", "signal over noise", "amber"),
        ("channels", {"sharpest_plane": 0}, "nuclei", "focus", "amber"),
        ("channels", {"sharpest_plane": 10}, "nuclei", "focus", "amber"),
        ("channels", {"light_at_the_end": 0.3}, "nuclei", "fading with depth", "amber"),
        ("channels", {"largest_step_um": 1.4}, "nuclei", "movement", "amber"),
        ("cells", {"n_nuclei": 0}, None, "cells", "red"),
        ("cells", {"touches_side": True}, None, "cut by the side", "red"),
        ("cells", {"puncta_n": 4}, None, "number of puncta", "amber"),
        ("cells", {"puncta_n": 0}, None, "number of puncta", "amber"),
        ("efficiency", {"fraction": 0.7}, None, "detection", "amber"),
        ("efficiency", {"fraction": 0.3}, None, "detection", "red"),
        ("thresholds", {"own_threshold": 8.0}, None, "threshold", "amber"),
        ("thresholds", {"own_threshold": 2.0}, None, "threshold", "red"),
    ],
)
def test_what_is_spoilt_is_told_in_that_image_alone(table, values, role, criterion, light):
    lights = spoilt(table, values, role)
    assert light_of(lights, criterion) == light
    overall = lights[(lights["sample"] == "s2") & (lights["criterion"] == "overall")].iloc[0]
    assert overall["light"] == light
    assert overall["symbol"] == SYMBOLS[light]
    told = lights[(lights["sample"] == "s2") & (lights["light"] == light)]["reason"]
    assert any(reason in overall["reason"] for reason in told)
    assert set(lights[lights["sample"] != "s2"]["light"]) == {"green"}


def test_unknown_quality_is_grey_and_does_not_stop_an_image():
    lights = spoilt("channels", {"light_at_the_end": float("nan")}, "nuclei")
    fading = lights[(lights["sample"] == "s2") & (lights["criterion"] == "fading with depth")]
    assert set(fading["light"]) == {"grey", "green"}
    assert light_of(lights, "overall") == "green"


def test_a_person_has_the_last_word():
    found = tables()
    found["channels"].loc[found["channels"]["sample"] == "s2", "saturated_fraction"] = 0.1
    found["triage"] = pd.DataFrame(
        {
            "sample": ["s2", "s3", "s4"],
            "verdict": ["accept", "reject", "redo"],
            "reason": ["", "wrong slide", ""],
            "overrides": ["", "", "nuclei.threshold = 3"],
        }
    )
    lights = traffic_lights(found)
    overall = lights[lights["criterion"] == "overall"].set_index("sample")
    assert overall["light"].to_dict() | {"s2": "green", "s3": "red", "s4": "green"} == (
        overall["light"].to_dict()
    )
    assert "in spite of" in overall.loc["s2", "reason"]
    assert "wrong slide" in overall.loc["s3", "reason"]


def test_failed_images_and_empty_ones_are_red_and_controls_have_no_light():
    found = tables()
    found["samples"]["state"] = ["failed", *["done"] * 5]
    found["samples"]["control"] = [None] * 5 + ["negative"]
    found["cells"] = found["cells"][found["cells"]["sample"] != "s1"]
    lights = traffic_lights(found)
    overall = lights[lights["criterion"] == "overall"].set_index("sample")["light"]
    assert "s5" not in overall
    assert overall["s0"] == overall["s1"] == "red"


def test_without_any_table_but_samples_nothing_breaks():
    found = tables()
    found["samples"]["state"] = "failed"
    lights = traffic_lights({"samples": found["samples"], "triage": found["triage"]})
    assert set(lights["light"]) == {"red"}
