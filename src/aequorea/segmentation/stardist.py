"""StarDist as a segmentation method, where the package ``stardist`` and TensorFlow are installed.

Object probabilities and distances to the outline are the response; suppressing overlaps at any
threshold needs neither image nor network nor TensorFlow.

References
----------
.. [1] Schmidt et al. (2018), MICCAI, LNCS 11071, 265, doi:10.1007/978-3-030-00934-2_30
.. [2] Weigert et al. (2020), WACV, 3655, doi:10.1109/WACV45572.2020.9093435
"""

from __future__ import annotations

import json
import math
import threading
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.segmentation import relabel_sequential

from aequorea.errors import AxisMismatchError, FileFormatError, FileMissingError, InputError
from aequorea.segmentation.result import Fact, Response, Segmentation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aequorea.segmentation.parameters import SegmentationParameters

__all__ = ["STARDIST", "StarDistBackend"]

_DEFAULT_2D = "2D_versatile_fluo"
_PERCENTILES = (1.0, 99.8)  # what StarDist's own models were trained on
_TILE_PX = {2: (1024, 1024), 3: (64, 256, 256)}
# The shapes of rays that StarDist knows. It finds them by evaluating the name: never ours to do.
_RAYS = (
    "Rays_GoldenSpiral",
    "Rays_Cartesian",
    "Rays_SubDivide",
    "Rays_Tetra",
    "Rays_Octo",
    "Rays_Explicit",
)
_loading = threading.Lock()


@dataclass(frozen=True)
class StarDistBackend:
    """StarDist behind :class:`aequorea.segmentation.backends.Backend`.

    Attributes
    ----------
    name : str
    version : int
    late : frozenset of str
        Read by :meth:`label` only.
    early : frozenset of str
        Read by :meth:`respond`.
    """

    name: str = "stardist"
    version: int = 1
    late: frozenset[str] = frozenset({"prob_threshold", "nms_threshold"})
    early: frozenset[str] = frozenset({"model"})

    def respond(
        self,
        image: NDArray[np.float32],
        options: SegmentationParameters,
        *,
        spacing_um: tuple[float, ...] | None,  # noqa: ARG002 - models have one scale, in pixels
        mask: NDArray[np.bool_] | None,  # noqa: ARG002
        use_gpu: bool,
    ) -> Response:
        """Object probabilities and distances to the outline, from one run of the network.

        Parameters
        ----------
        image : ndarray of float32, shape (y, x) or (z, y, x)
        options : SegmentationParameters
            ``model``: a name that StarDist can download, or the folder of a model; for planes
            2D_versatile_fluo if not given.
        spacing_um, mask
            Not used.
        use_gpu : bool
            Whether TensorFlow may use its first GPU.

        Returns
        -------
        Response
            ``prob``, ``dist`` (rays along the last axis), both float32 on the model's grid, and
            ``grid`` and ``shape``, integers.

        Raises
        ------
        InputError
            If StarDist, TensorFlow or the model is missing or broken.
        """
        if image.ndim not in (2, 3):
            raise AxisMismatchError(
                f"image: expected (y, x) or (z, y, x), found shape {image.shape}"
            )
        if not np.isfinite(image).all():
            raise InputError("image: expected finite grey levels, found NaN or infinity; fill them")
        models, tensorflow = _libraries()
        name = options.model
        if name is None and image.ndim == 3:
            raise InputError(
                "method 'stardist' has no general model for stacks; give model=FOLDER of your own"
            )
        has_gpu = bool(tensorflow.config.list_physical_devices("GPU"))
        device = "GPU" if use_gpu and has_gpu else "CPU"
        with tensorflow.device(f"/{device}:0"), _loading, redirect_stdout(StringIO()):
            model = _loaded(models, name or _DEFAULT_2D, image.ndim)
            grid = np.array(model.config.grid, np.int64)
            facts: dict[str, Fact] = {
                "device": device.lower(),
                "gpu_missing": use_gpu and not has_gpu,
                "model": name or _DEFAULT_2D,
                "stardist": version("stardist"),
                "prob_threshold": float(model.thresholds.prob),
                "nms_threshold": float(model.thresholds.nms),
                "rays": json.dumps(model.config.rays_json) if image.ndim == 3 else None,
            }
            if image.size:
                prob, dist = model.predict(
                    _stretched(image),
                    axes="ZYX"[-image.ndim :],
                    n_tiles=_tiles(image.shape),
                    show_tile_progress=False,
                )[:2]
            else:
                prob, dist = np.zeros(image.shape), np.zeros((*image.shape, 1))
        return Response(
            arrays={
                "prob": np.ascontiguousarray(prob, np.float32),
                "dist": np.ascontiguousarray(dist, np.float32),
                "grid": grid,
                "shape": np.array(image.shape, np.int64),
            },
            facts=facts,
        )

    def label(self, response: Response, options: SegmentationParameters) -> Segmentation:
        """Objects by suppressing those that overlap more probable ones.

        Parameters
        ----------
        response : Response
            Of :meth:`respond`, in this process or another.
        options : SegmentationParameters
            Thresholds that are not given are those of the model.

        Raises
        ------
        InputError
            If StarDist is not installed, or the response is not one of this method.
        """
        try:
            prob, dist, grid, shape = (
                response.arrays[n] for n in ("prob", "dist", "grid", "shape")
            )
            own = {n: response.facts[n] for n in ("prob_threshold", "nms_threshold")}
        except KeyError as error:
            raise InputError(
                f"response lacks {error}; expected what method 'stardist' made of an image"
            ) from error
        thresholds = {
            "prob_threshold": float(_either(options.prob_threshold, own["prob_threshold"])),
            "nms_threshold": float(_either(options.nms_threshold, own["nms_threshold"])),
        }
        size = tuple(int(n) for n in shape)
        how: dict[str, Any] = {
            "grid": tuple(int(n) for n in grid),
            "prob_thresh": thresholds["prob_threshold"],
            "nms_thresh": thresholds["nms_threshold"],
            "verbose": False,
        }
        stardist = _stardist()
        if not (prob > thresholds["prob_threshold"]).any():
            masks = np.zeros(size, np.int32)
        elif len(size) == 2:
            points, probable, rays = stardist.nms.non_maximum_suppression(dist, prob, **how)
            masks = stardist.polygons_to_label(rays, points, prob=probable, shape=size)
        else:
            directions = _rays(stardist, str(response.facts.get("rays")))
            points, probable, rays = stardist.nms.non_maximum_suppression_3d(
                dist, prob, directions, **how
            )
            masks = stardist.polyhedron_to_label(
                rays, points, rays=directions, prob=probable, shape=size, verbose=False
            )
        labels = (relabel_sequential(masks)[0] if masks.any() else masks).astype(np.int32)
        notes = []
        if response.facts.get("gpu_missing"):
            notes.append("a GPU was asked for and none was found; StarDist ran on the CPU")
        if not labels.any():
            notes.append(
                f"nothing found: the highest probability is {prob.max(initial=0):.3g}, "
                f"prob_threshold is {thresholds['prob_threshold']:.3g}"
            )
        return Segmentation(labels=labels, facts=thresholds, notes=tuple(notes))


STARDIST = StarDistBackend()


def _stardist() -> Any:
    try:
        version("stardist")
        import_module("stardist.nms")
        return import_module("stardist")
    except PackageNotFoundError:
        raise InputError(
            "method 'stardist' needs StarDist, which is not installed: pip install stardist "
            "tensorflow, or choose method='watershed'"
        ) from None
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(
            f"method 'stardist': StarDist is installed but cannot be imported ({error}); repair it "
            "with pip install stardist tensorflow, or choose method='watershed'"
        ) from error


def _libraries() -> tuple[Any, Any]:
    """The modules ``stardist.models`` and ``tensorflow``."""
    _stardist()
    try:
        return import_module("stardist.models"), import_module("tensorflow")
    except (ImportError, OSError, RuntimeError) as error:  # CSBDeep raises RuntimeError
        raise InputError(
            f"method 'stardist' needs TensorFlow to look at an image ({error}): "
            "pip install tensorflow, or choose method='watershed'"
        ) from error


@lru_cache(maxsize=2)
def _loaded(models: Any, name: str, ndim: int) -> Any:
    kind = models.StarDist2D if ndim == 2 else models.StarDist3D
    registered = import_module("csbdeep.models.pretrained").get_registered_models
    names = registered(kind, return_aliases=False)
    if name in names:
        try:
            return kind.from_pretrained(name)
        except Exception as error:  # Keras raises a plain Exception if the network is away
            raise InputError(
                f"StarDist model {name!r} is not on this computer and cannot be downloaded "
                f"({error}); give the folder of a model with model=FOLDER"
            ) from error
    folder = Path(name).expanduser()
    if not folder.exists():
        raise FileMissingError(
            f"unknown StarDist model {name!r} for {ndim}D images; expected the folder of a model "
            f"or one of {', '.join(names)}"
        )
    try:
        axes = len(json.loads((folder / "config.json").read_text())["axes"].replace("C", ""))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"{folder.name} is not the folder of a StarDist model ({error}); expected config.json "
            "and weights in it"
        ) from error
    if axes != ndim:
        raise FileFormatError(f"StarDist model {folder.name} is {axes}D, the image is {ndim}D")
    try:
        return kind(None, name=folder.name, basedir=str(folder.parent))
    except Exception as error:  # whatever a damaged file provokes in three libraries
        raise FileFormatError(
            f"StarDist model {folder.name} cannot be loaded ({type(error).__name__}: {error})"
        ) from error


def _stretched(image: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = np.percentile(image, _PERCENTILES)
    scaled: NDArray[np.float32] = ((image - low) / max(high - low, 1e-20)).astype(np.float32)
    return scaled


def _tiles(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many tiles along each axis bound the memory."""
    return tuple(math.ceil(n / tile) for n, tile in zip(shape, _TILE_PX[len(shape)], strict=True))


def _either(given: float | None, own: Fact) -> Any:
    return own if given is None else given


def _rays(stardist: Any, description: str) -> Any:
    """The rays of a 3D model, from the names and numbers kept with the response."""
    try:
        rays = json.loads(description)
        name, arguments = rays["name"], dict(rays["kwargs"])
    except (ValueError, LookupError, TypeError) as error:
        raise InputError("response: the rays of the StarDist model are missing") from error
    if name not in _RAYS:
        raise InputError(f"response: unknown rays {name!r}; expected one of {', '.join(_RAYS)}")
    return getattr(stardist, name)(**arguments)
