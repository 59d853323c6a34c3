"""A trained model as one folder that can be copied: networks, statistics, settings, threshold, and the weights of the
detector and the flow estimator that made what the networks learned from.

    raw.safetensors, flow.safetensors   the two networks
    statistics.json                     mean and standard deviation of each branch's errors on normal footage
    settings.json                       the data set's settings
    threshold.json                      above it a frame is called anomalous
    weights/detector, weights/flow      what the settings name, if anything
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError
from torch import nn

from vadlib.boxes import registry as detectors
from vadlib.errors import VadError
from vadlib.flow import registry as flows
from vadlib.io.files import copy, read_json, write_json
from vadlib.models.checkpoint import load_model
from vadlib.scoring.scores import Statistics
from vadlib.settings import Branch, DatasetSettings, DetectorSettings, YoloSettings, first_problem

_COPIED = "copying the whole model folder again"  # what mends it: "make it again with ..."


@dataclass(frozen=True)
class Threshold:
    """Where normal ends: a quantile of the scores of normal training frames, perturbed as scored frames are."""

    value: float  # a frame that scores higher is called anomalous
    median: float  # of the same scores: what is usual
    quantile: float
    eta: float
    frames: int


@dataclass(frozen=True)
class Package:
    """A model folder, read."""

    folder: Path
    settings: DatasetSettings
    networks: Mapping[Branch, nn.Module]  # of the branches in use, in evaluation mode
    statistics: Mapping[Branch, Statistics]
    threshold: Threshold

    @property
    def detector_weights(self) -> Path:
        return self.folder / "weights" / "detector"

    @property
    def flow_weights(self) -> Path:
        return self.folder / "weights" / "flow"


def write_package(
    folder: Path,
    settings: DatasetSettings,
    models: Mapping[Branch, Path],
    statistics: Path,
    threshold: Threshold,
    detector_weights: Path,
    flow_weights: Path,
) -> None:
    """Fill a new folder. `detector_weights` and `flow_weights` are the folders that the settings' names lie in.

    Raises VadError where the weights are missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for branch, path in models.items():
        copy(path, folder / f"{branch}.safetensors")
    copy(statistics, folder / "statistics.json")
    write_json(folder / "settings.json", settings.model_dump(mode="json"))
    write_json(folder / "threshold.json", asdict(threshold))
    for name, source, found in (
        ("detector", detector_weights, detectors.weights_file(settings.detector, detector_weights)),
        ("flow", flow_weights, flows.weights_file(settings.flow, flow_weights)),
    ):
        if found is None:
            continue
        # Torch's own cache, where torchvision's weights may be, is not below the folder.
        inside = found.relative_to(source) if found.is_relative_to(source) else Path(found.name)
        copy(found, folder / "weights" / name / inside)


def read_package(folder: Path) -> Package:
    """Read a model folder. Raises VadError, in one line, where it is not there, incomplete, damaged or does not fit."""
    if not folder.is_dir():
        raise VadError(f"{folder}: no model folder there; `vad train` makes one, so does `dvc repro package`")
    settings = _settings(folder / "settings.json")
    networks = {}
    for branch in settings.weights:
        path = folder / f"{branch}.safetensors"
        networks[branch], model, length = load_model(path, branch, _COPIED)
        if model != settings.model or length != settings.cube.length:
            raise VadError(f"{path}: not the network that {folder / 'settings.json'} describes; {_AGAIN}")
    fitted = read_json(folder / "statistics.json", _COPIED)
    statistics = {b: _numbers(Statistics, fitted, b, folder / "statistics.json") for b in settings.weights}
    for branch, found in statistics.items():
        if not found.std > 0:
            raise VadError(f"{folder / 'statistics.json'}: a standard deviation of {found.std} ({branch}); {_AGAIN}")
    threshold = _numbers(
        Threshold, {"it": read_json(folder / "threshold.json", _COPIED)}, "it", folder / "threshold.json"
    )
    return Package(folder, settings, networks, statistics, threshold)


_AGAIN = "copy the whole model folder again, or make it again"


def _settings(path: Path) -> DatasetSettings:
    content = read_json(path, _COPIED)
    try:
        settings = DatasetSettings.model_validate(content)
    except ValidationError as error:
        raise VadError(f"{path}: {first_problem(error, within=('dataset', 'packaged'))}; {_AGAIN}") from None
    if settings.detector.kind == "yolo":
        named = PurePosixPath(settings.detector.weights)
        if named.is_absolute() or ".." in named.parts:
            raise VadError(f"{path}: detector.weights: {str(named)!r} is not inside the model folder")
    return settings


def _numbers(kind: type[Any], content: Any, key: str, path: Path) -> Any:
    """A dataclass of finite numbers from a JSON object's entry."""
    try:
        found = kind(**content[key])
        if not all(type(value) in (int, float) and math.isfinite(value) for value in asdict(found).values()):
            raise ValueError("not finite numbers")
    except (KeyError, TypeError, ValueError) as error:
        raise VadError(f"{path}: damaged ({' '.join(str(error).split())}); {_AGAIN}") from None
    return found


def for_new_footage(package: Package, yolo: Path | None) -> tuple[DetectorSettings, Path]:
    """The detector to score new footage with, and the folder its weights are in.

    Args:
        yolo: weights of a YOLO to use instead of the model's own detector; None: its own.

    Raises VadError where the model's boxes or flow were imported: there are none of new footage.
    """
    settings = package.settings
    if settings.flow.kind == "import":
        raise VadError(
            f"{package.folder}: learned from imported flow (flow.kind: import), and there is none of new footage; "
            "train with dis or raft"
        )
    if yolo is not None:
        return with_yolo(settings.detector, yolo), yolo.parent
    if settings.detector.kind == "import":
        raise VadError(
            f"{package.folder}: learned from imported boxes (detector.kind: import), and there are none of new "
            "footage; name a detector's weights with --detector-weights, such as a COCO YOLO's yolo11n.pt"
        )
    return settings.detector, package.detector_weights


def with_yolo(detector: DetectorSettings, weights: Path) -> YoloSettings:
    """A YOLO of the user's, with the rules of these settings. Raises VadError where the file or folder is not there."""
    if not weights.exists():
        raise VadError(f"{weights}: not found; expected a YOLO's weights: .pt, .onnx, .safetensors or *_openvino_model")
    own: dict[str, Any] = {"weights": weights.name}
    if detector.kind in ("yolo", "torchvision"):
        own["image_size"] = detector.image_size
    if detector.rules is not None:
        own["rules"] = detector.rules
    if detector.motion is not None or detector.kind != "import":  # imported boxes may have held motion boxes
        own["motion"] = detector.motion
    return YoloSettings(**own)
