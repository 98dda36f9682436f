"""Cellpose: for real with a small network of our own, and without Cellpose as far as that goes.

The real tests need Cellpose 3 and are skipped where it is absent; AEQUOREA_REQUIRE=cellpose turns
the skips into failures. Cellpose 4 is not run here: its branch is tested against a stand-in that
has the signatures of Cellpose 4.2.1 and no network.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import logging
import subprocess
import sys
import types
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from tests.conftest import skip_or_fail

from aequorea.errors import (
    AxisMismatchError,
    CalibrationError,
    FileFormatError,
    FileMissingError,
    InputError,
)
from aequorea.segmentation import cellpose as adapter
from aequorea.segmentation import cellpose_models
from aequorea.segmentation.backends import Backend, backend
from aequorea.segmentation.cellpose import CELLPOSE
from aequorea.segmentation.matching import match_labels
from aequorea.segmentation.parameters import SegmentationParameters
from aequorea.segmentation.result import Response
from aequorea.simulate.nuclei import simulated_nuclei

WEIGHTS = Path(__file__).parents[1] / "data" / "cellpose" / "simulated-nuclei"

pytestmark = [
    # torch from 2.10 on, while Cellpose 3 imports torch.utils.mkldnn.
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),
    # torch from 2.12 on, when Cellpose is run directly; the adapter says what it wants.
    pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning:cellpose"),
]


def options(**more) -> SegmentationParameters:
    return SegmentationParameters(method="cellpose", **{"model": str(WEIGHTS), **more})


def respond(image, chosen=None, *, spacing_um=None, use_gpu=False) -> Response:
    chosen = options() if chosen is None else chosen
    return CELLPOSE.respond(
        np.asarray(image), chosen, spacing_um=spacing_um, mask=None, use_gpu=use_gpu
    )


# --- for real, with Cellpose 3 -------------------------------------------------------------------


@pytest.fixture(scope="module")
def library():
    try:
        found = cellpose_models.cellpose_library()
    except InputError as error:
        skip_or_fail("cellpose", str(error))
    if found.major != 3:
        skip_or_fail("cellpose", f"Cellpose 3 is needed, found {found.version}")
    # A second thread that has to wait for its core makes torch many times slower.
    threads = found.torch.get_num_threads()
    found.torch.set_num_threads(1)
    yield found
    found.torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def fresh(library):
    """What Cellpose itself makes of an image in one go, without this package."""
    model = library.models.CellposeModel(gpu=False, pretrained_model=str(WEIGHTS))

    def run(image, **how):
        return model.eval(np.array(image), channels=[0, 0], **how)[0]

    return run


@pytest.fixture(scope="module")
def nuclei():
    return simulated_nuclei((128, 128), n=18, diameter_px=17, rng=np.random.default_rng(70_001))


@pytest.fixture(scope="module")
def answer(library, nuclei):
    return respond(nuclei.image.astype(np.float32))


@pytest.fixture(scope="module")
def stack():
    return simulated_nuclei(
        (8, 36, 40),
        n=3,
        diameter_px=14,
        spacing_um=(0.5, 0.25, 0.25),
        rng=np.random.default_rng(70_002),
    )


@pytest.mark.parametrize("seed", [71_000, 71_001, 71_002])
def test_finds_simulated_nuclei_it_was_not_trained_on(library, seed):
    rng = np.random.default_rng(seed)
    diameter = float(rng.uniform(14, 24))
    truth = simulated_nuclei((160, 160), n=20, diameter_px=diameter, photons=80, rng=rng)
    chosen = options(diameter_px=diameter)
    found = CELLPOSE.label(respond(truth.image.astype(np.float32), chosen), chosen)
    assert match_labels(truth.labels, found.labels).f1 >= 0.8


def test_weights_are_small_enough_to_be_kept_with_the_tests():
    assert 1_000 < WEIGHTS.stat().st_size < 1_500_000


def test_response_says_how_it_was_made(answer, nuclei):
    assert set(answer.arrays) == {"dP", "cellprob"}
    assert answer.arrays["dP"].shape == (2, *nuclei.image.shape)
    assert answer.arrays["cellprob"].shape == nuclei.image.shape
    assert {a.dtype for a in answer.arrays.values()} == {np.dtype(np.float32)}
    facts = answer.facts
    assert facts["device"] == "cpu"
    assert facts["gpu_missing"] is False
    assert facts["cellpose"] == importlib.metadata.version("cellpose")
    assert facts["diameter_from"] == "model"
    assert facts["niter"] == int(1 / facts["rescale"] * 200)
    assert len(facts["model_sha256"]) == 64
    assert all(isinstance(v, str | int | float | bool | None) for v in facts.values())


@pytest.mark.parametrize(
    ("cellprob_threshold", "flow_threshold"), [(0.0, 0.4), (-4.0, 0.0), (2.0, 0.05), (9.0, 0.4)]
)
def test_masks_from_the_response_are_those_of_a_fresh_run(
    answer, nuclei, fresh, cellprob_threshold, flow_threshold
):
    thresholds = {"cellprob_threshold": cellprob_threshold, "flow_threshold": flow_threshold}
    expected = fresh(nuclei.image.astype(np.float32), **thresholds)
    found = CELLPOSE.label(answer, options(**thresholds))
    np.testing.assert_array_equal(found.labels, expected)
    assert found.labels.dtype == np.int32
    assert found.facts["cellprob_threshold"] == cellprob_threshold
    assert found.n_objects == len(np.unique(expected)) - 1


def test_other_late_options_reach_the_library(answer, nuclei, fresh):
    image = nuclei.image.astype(np.float32)
    assert CELLPOSE.label(answer, options()).n_objects > 3
    for ours, theirs in (
        ({"niter": 7}, {"niter": 7}),
        ({"network_min_object_px": 200}, {"min_size": 200}),
        ({"network_min_object_px": 0}, {"min_size": -1}),
    ):
        found = CELLPOSE.label(answer, options(**ours))
        np.testing.assert_array_equal(found.labels, fresh(image, **theirs))


def test_thresholds_move_the_result_the_way_they_say(answer):
    area = [
        int((CELLPOSE.label(answer, options(cellprob_threshold=t)).labels > 0).sum())
        for t in (-4, 0, 3)
    ]
    assert area[0] > area[1] > area[2] > 0


def test_diameter_comes_from_options_in_px_and_um(nuclei, fresh):
    image = nuclei.image.astype(np.float32)
    in_px = respond(image, options(diameter_px=25))
    in_um = respond(image, options(diameter_um=5), spacing_um=(0.2, 0.2))
    assert in_px.facts["diameter_px"] == pytest.approx(25)
    assert in_px.facts["diameter_from"] == "options"
    assert in_um.facts["diameter_px"] == pytest.approx(25)
    np.testing.assert_array_equal(
        CELLPOSE.label(in_px, options()).labels, fresh(image, diameter=25)
    )


def test_stack_in_3d_equals_a_fresh_run(stack, fresh):
    image = stack.image.astype(np.float32)
    chosen = options(cellprob_threshold=-1, flow3d_smooth=1)
    response = respond(image, chosen, spacing_um=stack.spacing_um)
    assert response.facts["do_3d"] is True
    assert response.facts["anisotropy"] == pytest.approx(2)
    found = CELLPOSE.label(response, chosen)
    expected = fresh(
        image, z_axis=0, do_3D=True, anisotropy=2.0, flow3D_smooth=1, cellprob_threshold=-1
    )
    assert found.n_objects > 0
    np.testing.assert_array_equal(found.labels, expected)
    note = CELLPOSE.label(response, options(flow_threshold=0.9)).notes[-1]
    assert "no effect in 3D" in note


def test_stack_plane_by_plane_equals_a_fresh_run(stack, fresh):
    image = stack.image.astype(np.float32)
    response = respond(image, options(do_3d=False))
    assert response.arrays["dP"].shape == (2, *image.shape)
    joined = CELLPOSE.label(response, options(do_3d=False))
    expected = fresh(image, z_axis=0, stitch_threshold=0.25)
    np.testing.assert_array_equal(joined.labels, expected)
    apart = CELLPOSE.label(response, options(do_3d=False, stitch_threshold=0))
    assert apart.n_objects > joined.n_objects > 0
    planes = [set(np.unique(p[p > 0])) for p in apart.labels]
    assert sum(map(len, planes)) == apart.n_objects


def test_another_process_refines_without_network_weights_or_image(answer, library, tmp_path):
    """The network and the model class are made to fail there: nothing may call them."""
    chosen = options(cellprob_threshold=-3, flow_threshold=0.2)
    np.savez(tmp_path / "response.npz", **answer.arrays)
    (tmp_path / "facts.json").write_text(json.dumps(dict(answer.facts)))
    (tmp_path / "options.json").write_text(chosen.model_dump_json())
    script = """
import json, sys
from pathlib import Path
import numpy as np
import cellpose.models, cellpose.resnet_torch
from aequorea.segmentation.backends import backend
from aequorea.segmentation.parameters import SegmentationParameters
from aequorea.segmentation.result import Response

def never(*_, **__):
    raise AssertionError("the network was asked")

cellpose.resnet_torch.CPnet.forward = never
cellpose.models.CellposeModel.__init__ = never
here = Path(sys.argv[1])
with np.load(here / "response.npz") as arrays:
    response = Response(arrays=dict(arrays), facts=json.loads((here / "facts.json").read_text()))
options = SegmentationParameters.model_validate_json((here / "options.json").read_text())
options = options.model_copy(update={"model": "gone"})
np.save(here / "labels.npy", backend("cellpose").label(response, options).labels)
"""
    done = subprocess.run(  # noqa: S603 - the interpreter of this test
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = CELLPOSE.label(answer, chosen).labels
    assert expected.any()
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), expected)


def test_the_network_runs_once_and_masks_do_not_need_it(library, nuclei, monkeypatch):
    network = sys.modules["cellpose.resnet_torch"].CPnet
    calls = []
    forward = network.forward

    def counted(self, data):
        calls.append(len(data))
        return forward(self, data)

    monkeypatch.setattr(network, "forward", counted)
    response = respond(nuclei.image.astype(np.float32))
    assert len(calls) == 1
    CELLPOSE.label(response, options(cellprob_threshold=-2))
    assert len(calls) == 1


def test_same_input_gives_the_same_bytes_and_is_left_alone(answer, nuclei):
    image = nuclei.image.astype(np.float32)
    before = image.copy()
    image.flags.writeable = False
    again = respond(image)
    for name, array in answer.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)
    np.testing.assert_array_equal(image, before)


def test_response_may_be_read_only(answer):
    frozen = {name: array.copy() for name, array in answer.arrays.items()}
    for array in frozen.values():
        array.flags.writeable = False
    found = CELLPOSE.label(Response(arrays=frozen, facts=answer.facts), options())
    np.testing.assert_array_equal(found.labels, CELLPOSE.label(answer, options()).labels)


def test_grey_levels_of_any_scale_give_the_same_objects(answer, nuclei):
    """Cellpose itself blanks an image whose grey levels differ by less than 0.001."""
    tiny = nuclei.image.astype(np.float32) * np.float32(1e-7)
    found = CELLPOSE.label(respond(tiny), options()).labels
    assert match_labels(CELLPOSE.label(answer, options()).labels, found).f1 > 0.95


def test_two_channels_share_one_model(library):
    one = cellpose_models.load_network(library, str(WEIGHTS), "cpu")
    assert cellpose_models.load_network(library, str(WEIGHTS), "cpu") is one


def test_a_replaced_file_is_loaded_again(library, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(WEIGHTS.read_bytes())
    first = cellpose_models.load_network(library, str(path), "cpu")
    state = library.torch.load(WEIGHTS, weights_only=True)
    state["diam_labels"] += 1
    library.torch.save(state, path)
    second = cellpose_models.load_network(library, str(path), "cpu")
    assert second.sha256 != first.sha256
    assert second.model.diam_labels == pytest.approx(first.model.diam_labels + 1, rel=1e-3)


def test_absent_gpu_is_said(library, nuclei, monkeypatch):
    monkeypatch.setattr(library.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(library.torch.backends.mps, "is_available", lambda: False)
    response = respond(nuclei.image.astype(np.float32), use_gpu=True)
    assert response.facts["device"] == "cpu"
    assert response.facts["gpu_missing"] is True
    assert "GPU" in CELLPOSE.label(response, options()).notes[0]


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 40), (40, 1), (3, 3), (1, 40, 40), (2, 1, 40), (2, 2, 2)]
)
def test_degenerate_shapes(library, shape):
    image = np.random.default_rng(3).uniform(0, 100, shape).astype(np.float32)
    response = respond(image)
    assert response.arrays["cellprob"].shape == shape
    found = CELLPOSE.label(response, options())
    assert found.labels.shape == shape


def test_a_low_strip_is_a_plane_and_not_channels(library):
    """Cellpose 3 alone takes a plane of fewer than 8 rows for one row of so many channels."""
    strip = np.full((7, 64), 100.0, np.float32)
    strip[:, 20:36] = 900
    cellprob = respond(strip, options(diameter_px=17)).arrays["cellprob"]
    assert cellprob.shape == strip.shape
    assert cellprob[:, 26:30].mean() > 0 > cellprob[:, 50:].mean()


@pytest.mark.parametrize("shape", [(0, 10), (0, 0), (0, 5, 5), (1, 0, 5)])
def test_empty_image_has_no_objects(library, shape):
    found = CELLPOSE.label(respond(np.zeros(shape, np.float32)), options())
    assert found.labels.shape == shape
    assert found.n_objects == 0


@pytest.mark.parametrize("grey", [0.0, 7.0, 65535.0])
def test_constant_image_has_no_objects_and_says_why(library, grey):
    response = respond(np.full((40, 50), grey, np.float32))
    found = CELLPOSE.label(response, options(cellprob_threshold=-50))
    assert found.n_objects == 0
    assert "percentile" in found.notes[0]


def test_nothing_found_says_why(answer):
    found = CELLPOSE.label(answer, options(cellprob_threshold=50))
    assert found.n_objects == 0
    assert "cellprob_threshold 50" in found.notes[0]
    found = CELLPOSE.label(answer, options(network_min_object_px=10_000))
    assert found.n_objects == 0
    assert "no object passed" in found.notes[0]


def test_huge_diameter_is_refused(library):
    with pytest.raises(InputError, match="smaller diameter"):
        respond(np.random.default_rng(0).uniform(size=(20, 20)), options(diameter_px=1e5))


def hostile(library, folder: Path) -> dict[str, Path]:
    """Files that are no models, by what is wrong with them."""
    torch = library.torch
    good = torch.load(WEIGHTS, weights_only=True)
    whole = WEIGHTS.read_bytes()
    files = {
        "text": b"this is not a model\n",
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "zip": b"PK\x03\x04" + bytes(200),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    objects = {
        "code": {"output.2.weight": RunsCode(folder / "executed")},
        "tensor": torch.zeros(3),
        "list": [torch.zeros(3)],
        "lacking": {k: v for k, v in good.items() if "up.res_up_2" not in k},
        "narrow": {k: v[:8] if v.ndim == 4 else v for k, v in good.items()},
        "classes": {**good, "output.2.weight": good["output.2.weight"][:2]},
        "version 4": {"W2": torch.zeros(3), "out.weight": torch.zeros(3)},
    }
    for name, value in objects.items():
        torch.save(value, folder / name)
    return {name: folder / name for name in (*files, *objects)}


class RunsCode:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_files_that_are_no_models_are_refused_and_run_no_code(library, tmp_path):
    for name, path in hostile(library, tmp_path).items():
        with pytest.raises(FileFormatError) as caught:
            respond(np.eye(30), options(model=str(path)))
        message = str(caught.value)
        assert path.name in message, name
        assert "\n" not in message
    assert not (tmp_path / "executed").exists()


def test_paths_that_are_no_files_are_refused(library, tmp_path):
    with pytest.raises(FileMissingError, match="does not exist"):
        respond(np.eye(30), options(model=str(tmp_path / "gone.pt")))
    with pytest.raises(FileFormatError, match="folder"):
        respond(np.eye(30), options(model=str(tmp_path)))


def test_unknown_and_foreign_names_never_become_another_model(library):
    with pytest.raises(InputError, match=r"unknown Cellpose model 'cyto9'.*cyto3"):
        respond(np.eye(30), options(model="cyto9"))
    with pytest.raises(InputError, match="needs Cellpose 4"):
        respond(np.eye(30), options(model="cpsam"))
    with pytest.raises(InputError, match="architecture"):
        respond(np.eye(30), options(model="transformer_cp3"))


@pytest.mark.parametrize("fault", [URLError("no route"), TimeoutError("late"), OSError("full")])
@pytest.mark.parametrize("name", ["nuclei", "cyto3", None])
def test_a_model_that_cannot_be_downloaded_is_said(library, monkeypatch, tmp_path, name, fault):
    ssl = pytest.importorskip("ssl")
    checking = ssl._create_default_https_context

    def offline(*_, **__):
        raise fault

    monkeypatch.setattr(library.models, "MODEL_DIR", tmp_path / "models")
    monkeypatch.setattr(library.utils, "urlopen", offline)
    with pytest.raises(InputError, match="cannot be downloaded") as caught:
        respond(np.eye(30), options(model=name))
    assert repr(name or "cyto3") in str(caught.value)
    assert str(tmp_path / "models") in str(caught.value)
    assert "model=PATH" in str(caught.value)
    # Cellpose 3 turns the checking of certificates off before it downloads.
    assert ssl._create_default_https_context is checking


def test_a_named_model_is_found_in_the_models_folder(library, monkeypatch, tmp_path, nuclei):
    """A folder called like the model in the working directory does not stand in for it."""
    monkeypatch.setattr(library.models, "MODEL_DIR", tmp_path / "models")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "nucleitorch_0").write_bytes(WEIGHTS.read_bytes())
    (tmp_path / "nuclei").mkdir()
    monkeypatch.chdir(tmp_path)
    response = respond(nuclei.image.astype(np.float32), options(model="nuclei"))
    assert response.facts["model"] == "nuclei"
    assert CELLPOSE.label(response, options()).n_objects > 3


# --- without Cellpose ----------------------------------------------------------------------------


def test_fulfils_the_protocol():
    assert isinstance(CELLPOSE, Backend)
    assert backend("cellpose") is CELLPOSE
    fields = set(SegmentationParameters.model_fields)
    assert CELLPOSE.late <= fields
    assert CELLPOSE.early <= fields
    assert not CELLPOSE.late & CELLPOSE.early


def test_missing_cellpose_names_the_extra(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(cellpose_models, "version", absent)
    with pytest.raises(InputError, match=r"pip install 'aequorea\[cellpose\]'"):
        respond(np.eye(30))
    with pytest.raises(InputError, match="not installed"):
        CELLPOSE.label(standing_response(), options())


@pytest.mark.parametrize("error", [ImportError("No module named 'torchvision'"), OSError("libc10")])
def test_broken_cellpose_says_what_is_broken(monkeypatch, error):
    def broken(_):
        raise error

    monkeypatch.setattr(cellpose_models, "version", lambda _: "4.0.6")
    monkeypatch.setattr(cellpose_models, "import_module", broken)
    with pytest.raises(InputError, match="cannot be imported") as caught:
        respond(np.eye(30))
    assert str(error) in str(caught.value)


def test_a_version_that_is_not_known_is_refused(monkeypatch):
    monkeypatch.setattr(cellpose_models, "version", lambda _: "2.2.3")
    monkeypatch.setattr(cellpose_models, "import_module", types.ModuleType)
    with pytest.raises(InputError, match=r"found 2\.2\.3"):
        respond(np.eye(30))


@pytest.mark.parametrize(
    ("image", "chosen", "error"),
    [
        (np.zeros(5), {}, AxisMismatchError),
        (np.zeros((2, 2, 2, 2)), {}, AxisMismatchError),
        (np.full((5, 5), np.nan), {}, InputError),
        (np.array([[0, np.inf]]), {}, InputError),
        (np.eye(9), {"do_3d": True}, InputError),
        (np.eye(9), {"diameter_um": 5}, CalibrationError),
    ],
)
def test_bad_input_is_refused_before_anything_is_loaded(image, chosen, error):
    with pytest.raises(error):
        respond(image, options(**chosen))


def standing_response(**changes) -> Response:
    facts = {"niter": 200, "do_3d": False, "cellpose": "4.2.1.1", **changes}
    return Response(
        arrays={"dP": np.zeros((2, 20, 30), np.float32), "cellprob": np.ones((20, 30), np.float32)},
        facts=facts,
    )


def test_foreign_responses_are_refused():
    with pytest.raises(InputError, match="lacks 'dP'"):
        CELLPOSE.label(Response(arrays={}), options())
    with pytest.raises(AxisMismatchError, match="do not belong"):
        CELLPOSE.label(standing_response(do_3d=True), options())


# --- the branch of Cellpose 4, against a stand-in ------------------------------------------------


class StandInModel:
    """The constructor and ``eval`` of Cellpose 4.2.1 by signature; cells are bright pixels.

    No weights, no network: what it shows is that the adapter asks for what Cellpose 4 offers and
    reads what it returns. Real Cellpose 4 needs torchvision and weights of 1.2 GB.
    """

    asked: dict[str, object]

    def __init__(
        self, gpu=False, pretrained_model="cpsam_v2", model_type=None, diam_mean=None,
        device=None, nchan=None, use_bfloat16=True,
    ):  # fmt: skip
        assert model_type is None
        self.device = device
        self.made_with = {"gpu": gpu, "pretrained_model": pretrained_model, "device": device}

    def eval(
        self, x, batch_size=8, resample=True, channels=None, channel_axis=None, z_axis=None,
        normalize=True, rescale=None, diameter=None, flow_threshold=0.4, cellprob_threshold=0.0,
        do_3D=False, anisotropy=None, flow3D_smooth=0, stitch_threshold=0.0, min_size=15,
        max_size_fraction=0.4, niter=None, augment=False, tile_overlap=0.1, bsize=None,
        compute_masks=True, progress=None,
    ):  # fmt: skip
        assert channels is None  # deprecated in 4
        assert (z_axis == 0) == (x.ndim == 3)
        assert not compute_masks
        type(self).asked = {
            "diameter": diameter,
            "do_3D": do_3D,
            "anisotropy": anisotropy,
            "flow3D_smooth": flow3D_smooth,
            "stitch_threshold": stitch_threshold,
        }
        flows = np.zeros((3 if do_3D else 2, *x.shape), np.float32)
        cellprob = np.where(x > x.mean(), 5, -5).astype(np.float32)
        # As the original, which squeezes what it returns.
        return np.zeros(0), [None, flows.squeeze(), cellprob.squeeze()], np.zeros((1, 256))


def stand_in_masks(
    dP, cellprob, niter=200, cellprob_threshold=0.0, flow_threshold=0.4, do_3D=False, min_size=15,
    max_size_fraction=0.4, resize=None, device=None,
):  # fmt: skip
    """``dynamics.resize_and_compute_masks`` of Cellpose 4.2.1 by signature: one object."""
    assert isinstance(niter, int)
    assert resize is None
    return (cellprob > cellprob_threshold).astype(np.uint16)


@pytest.fixture
def cellpose_4(monkeypatch, tmp_path):
    (tmp_path / "cpsam").write_bytes(b"weights")
    state = {"W2": 1, "out.weight": 1, "encoder.pos_embed": 1}
    models = types.SimpleNamespace(
        MODEL_NAMES=["cpsam_v2", "cpdino", "cpdino-vitb", "cpsam"],
        MODEL_DIR=tmp_path,
        get_user_models=list,
        cache_model_path=lambda backbone: str(tmp_path / backbone),
        CellposeModel=StandInModel,
    )
    torch = types.SimpleNamespace(
        cuda=types.SimpleNamespace(is_available=lambda: False),
        backends=types.SimpleNamespace(mps=types.SimpleNamespace(is_available=lambda: True)),
        device=str,
        load=lambda path, map_location, weights_only, mmap: state,
        is_tensor=lambda _: True,
        sparse=types.SimpleNamespace(
            check_sparse_tensor_invariants=lambda enable: contextlib.nullcontext()
        ),
    )
    stand_in = cellpose_models.CellposeLibrary(
        version="4.2.1.1",
        major=4,
        models=models,
        dynamics=types.SimpleNamespace(resize_and_compute_masks=stand_in_masks),
        utils=types.SimpleNamespace(
            stitch3D=lambda masks, stitch_threshold=0.25: masks,
            fill_holes_and_remove_small_masks=lambda masks, min_size=15: masks,
        ),
        torch=torch,
    )
    for module in (adapter, cellpose_models):
        monkeypatch.setattr(module, "cellpose_library", lambda: stand_in)
    cellpose_models._loaded.cache_clear()
    yield stand_in, state
    cellpose_models._loaded.cache_clear()


def test_stand_in_4_plane(cellpose_4, caplog):
    image = np.zeros((20, 30), np.float32)
    image[5:10, 5:12] = 100
    with caplog.at_level(logging.INFO, "aequorea"):
        response = respond(image, options(model=None, diameter_px=60), use_gpu=True)
    assert "cpsam, on mps" in caplog.text
    assert response.facts["device"] == "mps"
    assert response.facts["model"] == "cpsam"
    assert response.facts["rescale"] == pytest.approx(0.5)
    assert response.facts["niter"] == 400
    assert StandInModel.asked["diameter"] == 60
    assert StandInModel.asked["do_3D"] is False
    found = CELLPOSE.label(response, options())
    np.testing.assert_array_equal(found.labels, image > 0)
    assert CELLPOSE.label(response, options(cellprob_threshold=6)).n_objects == 0


def test_stand_in_4_stack(cellpose_4):
    image = np.random.default_rng(0).uniform(size=(4, 20, 30)).astype(np.float32)
    response = respond(image, options(model="cpsam", flow3d_smooth=2), spacing_um=(1.0, 0.5, 0.5))
    assert StandInModel.asked == {
        "diameter": None,
        "do_3D": True,
        "anisotropy": 2.0,
        "flow3D_smooth": 2.0,
        "stitch_threshold": 0.0,
    }
    assert response.facts["rescale"] == 1
    assert response.arrays["dP"].shape == (3, 4, 20, 30)
    assert CELLPOSE.label(response, options()).labels.shape == image.shape
    response = respond(image, options(model="cpsam", do_3d=False))
    assert StandInModel.asked["stitch_threshold"] > 0
    assert response.arrays["dP"].shape == (2, 4, 20, 30)
    assert CELLPOSE.label(response, options()).labels.shape == image.shape


def test_stand_in_4_refuses_models_of_3(cellpose_4, tmp_path):
    _, state = cellpose_4
    with pytest.raises(InputError, match="needs Cellpose 3"):
        respond(np.eye(9), options(model="cyto3"))
    state.clear()
    state["output.2.weight"] = 1
    with pytest.raises(FileFormatError, match="a model of Cellpose 3"):
        respond(np.eye(9), options(model="cpsam"))
    state.clear()
    state["something"] = 1
    with pytest.raises(FileFormatError, match="not a model of Cellpose 4"):
        respond(np.eye(9), options(model="cpsam"))


def test_stand_in_4_download_fails(cellpose_4, monkeypatch):
    library, _ = cellpose_4

    def offline(_):
        raise URLError("no route")

    monkeypatch.setattr(library.models, "cache_model_path", offline)
    with pytest.raises(InputError, match=r"'cpsam' is not in .* cannot be downloaded"):
        respond(np.eye(9), options(model=None))


def test_masks_of_another_major_version_are_said(cellpose_4):
    found = CELLPOSE.label(standing_response(cellpose="3.1.1.2"), options())
    assert "flows are of Cellpose 3.1.1.2" in found.notes[0]
