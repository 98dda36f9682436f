"""Control samples of a study, from files."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

import aequorea
from aequorea.model import Image
from aequorea.pipelines.run import Parameters, merge_parameters, run_steps
from aequorea.pipelines.study import ControlParameters, Sample, control_tables, controls_step

NAMES = ("DAPI", "GFP", "RFP")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Single stains of which 10 % of GFP is in RFP, a secondary-only and an ordinary image."""
    folder = tmp_path_factory.mktemp("controls")
    rng = np.random.default_rng(0)

    def sample(name, fractions, control, peak=400):
        spots = np.zeros((256, 256))
        spots[tuple(rng.integers(0, 256, (2, 30)))] = 1
        light = ndimage.gaussian_filter(spots, 5)
        photons = rng.poisson(np.multiply.outer(fractions, light / light.max() * peak) + 20)
        file = folder / f"{name}.ome.tif"
        aequorea.save(Image(data=photons.astype("u2"), axes="cyx", channels=NAMES), file)
        return Sample(name=name, file=file, control=control, where=f"row of {name}")

    return [
        sample("g", (0, 1, 0.1), "single:gfp"),
        sample("r", (0, 0, 1), "single:marker"),
        sample("s", (0, 0, 0), "secondary-only"),
        sample("real", (1, 1, 1), None),
    ]


def test_bleed_through_and_levels(samples):
    found = control_tables(samples, thresholds={"GFP": 25, "RFP": 300})
    bleed = found.bleed_through.set_index(["stain", "channel"])
    assert len(bleed) == 6
    assert bleed.loc[("GFP", "RFP"), "fraction"] == pytest.approx(0.1, rel=0.03)
    assert bleed.loc[("GFP", "DAPI"), "fraction"] == pytest.approx(0, abs=0.005)
    assert bleed.loc[("DAPI", "GFP"), "reason"] == "no single-stain control for DAPI"
    levels = found.negative_levels
    assert levels["channel"].tolist() == list(NAMES)
    assert levels["percentile_level"].between(28, 34).all()
    told = "\n".join(found.warnings)
    assert " of GFP appears in RFP: positives of RFP among GFP cells are suspect" in told
    assert "GFP: the threshold 25 is below" in told
    assert "RFP: the threshold" not in told
    assert "control 'r' is not used" in told


def test_stains_by_role_and_channels_that_count(samples):
    roles = {"cell": 1, "marker": "RFP"}
    found = control_tables(samples, roles, thresholds={"marker": 1})
    assert found.bleed_through["stain"].tolist() == ["GFP", "RFP"]
    assert found.bleed_through["fraction"].tolist() == pytest.approx([0.1, 0], abs=0.005)
    assert found.warnings[-1].startswith("RFP: the threshold 1 is below")


def test_controls_that_cannot_be_used_are_told(samples, tmp_path):
    (tmp_path / "x.tif").write_text("no image")
    plain = tmp_path / "p.ome.tif"
    aequorea.save(Image(data=np.zeros((8, 8), "u1"), axes="yx"), plain)
    bad = [
        Sample(name="gone", file=tmp_path / "gone.tif", control="negative"),
        Sample(name="broken", file=tmp_path / "x.tif", control="negative"),
        Sample(name="plain", file=plain, control="negative"),
        Sample(name="other", file=samples[0].file, control="single:Cy5"),
        Sample(name="p", file=samples[0].file, control="positive"),
    ]
    found = control_tables([samples[2], *bad])
    assert len(found.negative_levels) == 3
    assert len(found.bleed_through) == 0
    told = [w for w in found.warnings if "is not used" in w]
    assert [w.split("'")[1] for w in told] == ["gone", "broken", "plain", "other"]
    assert "no channel shows the stain 'Cy5'; expected one of DAPI, GFP, RFP" in told[3]


def test_controls_are_read_as_the_samples_are(tmp_path):
    file = tmp_path / "n.ome.tif"
    pixels = np.stack([np.full((2, 16, 16), 900), np.full((2, 16, 16), 100)]).astype("u2")
    aequorea.save(Image(data=pixels, axes="tcyx", channels=("A", "B")), file)
    sample = Sample(name="n", file=file, control="negative")

    def level(**how):
        found = control_tables([sample], settings=lambda s: SimpleNamespace(**how))
        return found.negative_levels["percentile_level"].tolist(), found.warnings

    assert level(frame=0)[0] == [900, 900]
    assert level(frame=1)[0] == [100, 100]
    assert "no frame 2" in level(frame=2)[1][0]
    assert "is not used" in level(scene=3)[1][0]
    assert level(axes="ctyx", frame=0)[0] == [900, 100]
    steps = [
        controls_step([sample], settings=lambda s, k=k: SimpleNamespace(frame=k)) for k in (0, 1)
    ]
    assert steps[0].parameters != steps[1].parameters


def test_no_controls(samples):
    found = control_tables(samples[3:])
    assert len(found.bleed_through) == len(found.negative_levels) == 0
    assert found.warnings == ()
    assert list(found.bleed_through.columns)[:3] == ["stain", "channel", "fraction"]


def test_as_a_step(samples, tmp_path):
    def run(**options):
        step = controls_step(samples, {"cell": "GFP", "marker": "RFP"}, **options)
        parameters = merge_parameters(Parameters)
        return run_steps([step], tmp_path / "out", workflow="x", inputs={}, parameters=parameters)

    result = run()
    assert len(result.table("bleed_through")) == 2
    assert any("GFP appears in RFP" in w for w in result.warnings)
    assert run().executed == ()
    tolerant = run(parameters=ControlParameters(tolerated_bleed_through=0.5))
    assert tolerant.executed == ("controls",)
    assert not any("appears in" in w for w in tolerant.warnings)
