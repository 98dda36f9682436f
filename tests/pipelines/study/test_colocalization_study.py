"""A study with a real workflow."""

import numpy as np

import aequorea
from aequorea.model import Image
from aequorea.pipelines.colocalization import ColocalizationParameters, colocalize
from aequorea.pipelines.run import verify
from aequorea.pipelines.study import load_study, run_study
from aequorea.simulate.colocalization import cell_pair

STUDY = """
workflow = "colocalization"
sheet = "samples.csv"
out = "results"
[params.significance]
null = "none"
[params.objects]
objects = false
[params.diagnostics]
ccf_max_shift = 3
"""


def test_colocalization_of_two_images(tmp_path):
    for k, shared in enumerate((0.9, 0.1)):
        pair = cell_pair((64, 64), n_cells=2, n_puncta=8, shared_fraction=shared, rng=k)
        image = Image(data=np.stack([pair.a, pair.b]), axes="cyx", channels=("A", "B"))
        aequorea.save(image, tmp_path / f"{k}.ome.tif")
    (tmp_path / "samples.csv").write_text(
        "file,animal,condition,params.pixel.threshold\n0.ome.tif,m1,WT,\n1.ome.tif,m2,KO,otsu\n"
    )
    (tmp_path / "study.toml").write_text(STUDY)
    study = load_study(tmp_path / "study.toml")
    study.check_parameters(ColocalizationParameters)

    def one(sample, out):
        parameters = study.sample_parameters(sample, ColocalizationParameters).values
        return colocalize(sample.file, parameters=parameters, out=out, workers=1)

    shared = study.shared_parameters(ColocalizationParameters)
    result = run_study(study, one, workflow="colocalization", shared_parameters=shared)
    assert result.failed == {}
    table = result.table("pixel")
    assert set(table["condition"]) == {"WT", "KO"}
    assert set(table["sample"]) == {"0", "1"}
    assert result.summary.record["parameters"]["significance.null"] == "none"
    assert verify(result.directory).ok
    again = run_study(study, one, workflow="colocalization", shared_parameters=shared)
    assert again.executed == ()
    assert again.summary.executed == ()
