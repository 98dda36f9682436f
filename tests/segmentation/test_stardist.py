"""StarDist, against a stand-in that has the signatures of StarDist 0.9.2 and no network.

StarDist needs TensorFlow, which is not among the test requirements. The stand-in's network answers
with the probabilities and ray lengths of bright discs, and its suppression keeps local maxima.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import types
from collections import namedtuple

import numpy as np
import pytest

from aequorea.errors import AxisMismatchError, FileFormatError, FileMissingError, InputError
from aequorea.segmentation import stardist as adapter
from aequorea.segmentation.backends import Backend, backend
from aequorea.segmentation.parameters import SegmentationParameters
from aequorea.segmentation.result import Response
from aequorea.segmentation.stardist import STARDIST

Thresholds = namedtuple("Thresholds", "prob nms")
RAYS = {"name": "Rays_GoldenSpiral", "kwargs": {"n": 8, "anisotropy": None}}


def options(**more) -> SegmentationParameters:
    return SegmentationParameters(method="stardist", **more)


def respond(image, *, use_gpu=False, **more) -> Response:
    return STARDIST.respond(
        np.asarray(image, np.float32), options(**more), spacing_um=None, mask=None, use_gpu=use_gpu
    )


class StandInModel:
    asked: dict[str, object]
    ndim = 2

    def __init__(self, config, name=None, basedir="."):
        print("Loading thresholds from 'thresholds.json'.")  # noqa: T201 - as the original does
        assert config is None
        self.name, self.basedir = name, basedir
        self.thresholds = Thresholds(prob=0.5, nms=0.4)
        self.config = types.SimpleNamespace(grid=(2,) * self.ndim, rays_json=RAYS)

    @classmethod
    def from_pretrained(cls, name_or_alias=None):
        return cls(None, name=name_or_alias)

    def predict(
        self, img, axes=None, normalizer=None, n_tiles=None, show_tile_progress=True, **keras
    ):
        StandInModel.asked = {"axes": axes, "n_tiles": n_tiles, "range": (img.min(), img.max())}
        assert not show_tile_progress
        assert not keras
        grid = img[(slice(None, None, 2),) * img.ndim]
        prob = np.clip(grid, 0, 1)
        return prob, np.full((*prob.shape, 8), 3.0, np.float32)


class StandInModel3D(StandInModel):
    ndim = 3


def suppressed(dist, prob, grid, prob_thresh):
    points = np.argwhere(prob > prob_thresh)
    where = tuple(points.T)
    return points * np.array(grid), prob[where], dist[where]


def nms_2d(
    dist, prob, grid=(1, 1), b=2, nms_thresh=0.5, prob_thresh=0.5, use_bbox=True, use_kdtree=True,
    verbose=False,
):  # fmt: skip
    assert dist.shape[:2] == prob.shape
    return suppressed(dist, prob, grid, prob_thresh)


def nms_3d(
    dist, prob, rays, grid=(1, 1, 1), b=2, nms_thresh=0.5, prob_thresh=0.5, use_bbox=True,
    use_kdtree=True, verbose=False,
):  # fmt: skip
    assert len(rays) == dist.shape[-1]
    return suppressed(dist, prob, grid, prob_thresh)


def drawn(points, shape):
    labels = np.zeros(shape, np.int32)
    for k, point in enumerate(points):
        labels[tuple(point)] = 10 * (k + 1)  # with gaps, as when an object is hidden by another
    return labels


def polygons_to_label(dist, points, shape, prob=None, thr=-np.inf, scale_dist=(1, 1)):
    assert len(dist) == len(points) == len(prob)
    return drawn(points, shape)


def polyhedron_to_label(
    dist, points, rays, shape, prob=None, thr=-np.inf, labels=None, mode="full", verbose=True,
    overlap_label=None,
):  # fmt: skip
    assert not verbose
    return drawn(points, shape)


@pytest.fixture
def stand_in(monkeypatch):
    entered = []
    nms = types.SimpleNamespace(non_maximum_suppression=nms_2d, non_maximum_suppression_3d=nms_3d)

    @contextlib.contextmanager
    def device(name):
        entered.append(name)
        yield

    names = {StandInModel: ("2D_versatile_fluo", "2D_demo"), StandInModel3D: ("3D_demo",)}
    modules = {
        "stardist": types.SimpleNamespace(
            nms=nms,
            polygons_to_label=polygons_to_label,
            polyhedron_to_label=polyhedron_to_label,
            Rays_GoldenSpiral=lambda n=70, anisotropy=None: range(n),
        ),
        "stardist.nms": nms,
        "stardist.models": types.SimpleNamespace(
            StarDist2D=StandInModel, StarDist3D=StandInModel3D
        ),
        "csbdeep.models.pretrained": types.SimpleNamespace(
            get_registered_models=lambda cls, return_aliases=True, verbose=False: names[cls]
        ),
        "tensorflow": types.SimpleNamespace(
            device=device, config=types.SimpleNamespace(list_physical_devices=lambda _: [])
        ),
    }
    monkeypatch.setattr(adapter, "import_module", modules.__getitem__)
    monkeypatch.setattr(adapter, "version", lambda _: "0.9.2")
    # Modules are hashed by the cache of models; a namespace is not hashable.
    monkeypatch.setattr(adapter, "_loaded", adapter._loaded.__wrapped__)
    return modules, entered


def plane() -> np.ndarray:
    image = np.full((30, 40), 100.0)
    image[10, 10] = image[20, 30] = 900.0
    return image


def test_fulfils_the_protocol():
    assert isinstance(STARDIST, Backend)
    assert backend("stardist") is STARDIST
    assert STARDIST.late | STARDIST.early <= set(SegmentationParameters.model_fields)
    assert not STARDIST.late & STARDIST.early


def test_plane(stand_in, capsys):
    response = respond(plane(), use_gpu=True)
    assert capsys.readouterr().out == ""
    assert StandInModel.asked["axes"] == "YX"
    assert StandInModel.asked["n_tiles"] == (1, 1)
    assert response.facts["model"] == "2D_versatile_fluo"
    assert response.facts["device"] == "cpu"
    assert response.facts["gpu_missing"] is True
    assert response.arrays["prob"].shape == (15, 20)
    assert stand_in[1] == ["/CPU:0"]
    found = STARDIST.label(response, options())
    assert found.labels.shape == (30, 40)
    assert found.labels.dtype == np.int32
    assert sorted(np.unique(found.labels)) == [0, 1, 2]
    assert found.facts == {"prob_threshold": 0.5, "nms_threshold": 0.4}
    assert "GPU" in found.notes[0]


def test_thresholds_are_late(stand_in):
    response = respond(plane())
    found = STARDIST.label(response, options(prob_threshold=0.99999, nms_threshold=0.1))
    assert found.facts == {"prob_threshold": 0.99999, "nms_threshold": 0.1}
    empty = Response(
        arrays={**response.arrays, "prob": 0 * response.arrays["prob"]}, facts=response.facts
    )
    found = STARDIST.label(empty, options())
    assert found.n_objects == 0
    assert "nothing found" in found.notes[-1]


def test_label_needs_no_tensorflow(stand_in):
    response = respond(plane())
    for name in ("tensorflow", "stardist.models", "csbdeep.models.pretrained"):
        del stand_in[0][name]
    assert STARDIST.label(response, options()).n_objects == 2


def test_stack(stand_in):
    image = np.zeros((8, 30, 600))
    image[4, 10, 10] = 5
    with pytest.raises(InputError, match="no general model for stacks"):
        respond(image)
    response = respond(image, model="3D_demo")
    assert StandInModel.asked["axes"] == "ZYX"
    assert StandInModel.asked["n_tiles"] == (1, 1, 3)
    assert json.loads(response.facts["rays"]) == RAYS
    assert all(isinstance(v, str | int | float | bool | None) for v in response.facts.values())
    assert STARDIST.label(response, options()).labels.shape == image.shape


def test_rays_of_a_response_are_never_evaluated(stand_in):
    image = np.zeros((4, 10, 12))
    image[2, 4, 4] = 5
    response = respond(image, model="3D_demo")
    hostile = json.dumps({"name": "__import__('os').getcwd", "kwargs": {}})
    for rays in (hostile, "{", None):
        bad = Response(arrays=response.arrays, facts={**response.facts, "rays": rays})
        with pytest.raises(InputError, match="rays"):
            STARDIST.label(bad, options())


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (5, 0)])
def test_tiny_and_empty_images(stand_in, shape):
    found = STARDIST.label(respond(np.ones(shape)), options())
    assert found.labels.shape == shape
    assert found.n_objects == 0


def test_own_model_from_a_folder(stand_in, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(FileFormatError, match=r"config\.json"):
        respond(plane(), model=str(folder))
    for content in ("not json", "[]", '{"axes": 3}'):
        (folder / "config.json").write_text(content)
        with pytest.raises(FileFormatError, match="not the folder of a StarDist model"):
            respond(plane(), model=str(folder))
    (folder / "config.json").write_text('{"axes": "ZYXC"}')
    with pytest.raises(FileFormatError, match="is 3D, the image is 2D"):
        respond(plane(), model=str(folder))
    (folder / "config.json").write_text('{"axes": "YXC"}')
    assert respond(plane(), model=str(folder)).facts["model"] == str(folder)


def test_models_that_cannot_be_had(stand_in, monkeypatch):
    with pytest.raises(FileMissingError, match=r"unknown StarDist model 'gone'.*2D_versatile_fluo"):
        respond(plane(), model="gone")

    def offline(name_or_alias=None):
        raise Exception("URL fetch failure")  # noqa: TRY002 - what Keras raises

    monkeypatch.setattr(StandInModel, "from_pretrained", offline)
    with pytest.raises(InputError, match=r"cannot be downloaded .*model=FOLDER"):
        respond(plane())


@pytest.mark.parametrize("missing", ["stardist.models", "tensorflow"])
def test_missing_tensorflow_is_said(stand_in, monkeypatch, missing):
    modules = stand_in[0]

    def load(name):
        if name == missing:
            raise RuntimeError("Please install TensorFlow")
        return modules[name]

    monkeypatch.setattr(adapter, "import_module", load)
    with pytest.raises(InputError, match="pip install tensorflow"):
        respond(plane())


def test_missing_stardist_is_said(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(adapter, "version", absent)
    with pytest.raises(InputError, match="pip install stardist"):
        respond(plane())


def test_broken_stardist_is_said(monkeypatch):
    def broken(_):
        raise ImportError("No module named 'csbdeep'")

    monkeypatch.setattr(adapter, "version", lambda _: "0.9.2")
    monkeypatch.setattr(adapter, "import_module", broken)
    with pytest.raises(InputError, match="csbdeep"):
        respond(plane())


def test_bad_input(stand_in):
    with pytest.raises(AxisMismatchError):
        respond(np.zeros(4))
    with pytest.raises(InputError, match="finite"):
        respond(np.array([[0.0, np.nan]]))
    with pytest.raises(InputError, match="lacks 'prob'"):
        STARDIST.label(Response(arrays={}), options())
