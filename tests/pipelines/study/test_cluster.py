"""A study on a dask cluster: the same bytes, failures apart, and what is missing is told."""

import sys
from functools import partial
from pathlib import Path

import pytest

from aequorea.cli.app import run as command
from aequorea.errors import InputError
from aequorea.pipelines.study import cluster as on_cluster
from aequorea.pipelines.study import load_study, run_study
from aequorea.pipelines.study.cluster import each_on_cluster
from aequorea.pipelines.study.workers import Death


def tables(out):
    return {p.relative_to(out): p.read_bytes() for p in out.rglob("tables/*") if p.is_file()}


def test_without_the_package_the_way_out_is_told(letters, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'aequorea\[cluster\]'"):
        list(each_on_cluster(letters.doubled, [1], scheduler="tcp://127.0.0.1:1"))


@pytest.mark.parametrize("workflow", ["cells", "confocal"])
def test_the_option_is_for_studies(workflow, capsys):
    assert command([workflow, "a.tif", "--scheduler", "tcp://host:8786"]) == 2
    assert "--scheduler is for a study" in capsys.readouterr().err


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))  # where workers find the workflow
        with distributed.LocalCluster(**options, silence_logs=50) as running:
            yield running


@pytest.mark.filterwarnings("default")
def test_a_study_has_the_same_bytes_as_on_one_machine(cluster, letters, folder):
    study = load_study(folder / "study.toml")
    options = {"workflow": "letters", "summaries": letters.summaries}
    one = partial(letters.run_one, study=study)
    here = run_study(study, one, out=folder / "here", **options)
    address = cluster.scheduler_address
    there = run_study(study, one, out=folder / "there", scheduler=address, **options)
    assert there.done == here.done
    assert tables(there.directory) == tables(here.directory)
    again = run_study(study, one, out=folder / "there", scheduler=address, **options)
    assert again.executed == ()


@pytest.mark.filterwarnings("default")
def test_a_task_that_takes_its_workers_along_is_a_death_and_others_go_on(cluster, letters):
    found = dict(each_on_cluster(letters.doubled, [1, -1, 3], scheduler=cluster.scheduler_address))
    assert (found[0], found[2]) == (2, 6)
    assert isinstance(found[1], Death)
    assert "lost one after the other" in found[1].reason


@pytest.mark.filterwarnings("default")
def test_workers_of_another_version_are_refused(cluster, letters, monkeypatch):
    monkeypatch.setattr(on_cluster, "__version__", "99")
    with pytest.raises(InputError, match="here is 99; install the same"):
        list(each_on_cluster(letters.doubled, [1], scheduler=cluster.scheduler_address))


@pytest.mark.filterwarnings("default")
def test_an_address_without_a_scheduler_is_told(letters):
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match="no scheduler answers there"):
        list(each_on_cluster(letters.doubled, [1], scheduler="tcp://127.0.0.1:1", patience_s=1))
