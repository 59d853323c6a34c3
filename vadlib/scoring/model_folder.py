"""A trained model as one folder that can be copied: networks, evidence, calibration, settings, and the weights of the
detector and the flow estimator that made what the networks learned from.

    raw.safetensors, flow.safetensors   the networks in use
    statistics.json                     mean and standard deviation of each branch's errors on the training footage
    evidence.safetensors                what the other evidence has learned
    calibration.json                    what is normal of each measurement on held-out footage, and the thresholds
    settings.json                       the data set's settings
    weights/detector, weights/flow      what the settings name, if anything
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pydantic import ValidationError
from torch import nn

from vadlib.boxes.kinds import registry as detectors
from vadlib.engine.engine import Engine
from vadlib.errors import VadError
from vadlib.flow.kinds import registry as flows
from vadlib.io.arrays import load_arrays
from vadlib.io.files import copy, read_json, write_json
from vadlib.models.checkpoint import load_model
from vadlib.scoring.calibration import Calibration, Statistics
from vadlib.scoring.kept import calibration_from, check_calibrated, statistics_from
from vadlib.scoring.scorer import Scorer, make_evidence
from vadlib.scoring.thresholds import Threshold
from vadlib.settings import Branch, DatasetSettings, DetectorSettings, OnnxSettings, YoloSettings, first_problem

_COPIED = "copying the whole model folder again"  # what mends it: "make it again with ..."


@dataclass(frozen=True)
class Package:
    """A model folder, read."""

    folder: Path
    settings: DatasetSettings
    networks: Mapping[Branch, nn.Module]  # of the branches in use, in evaluation mode
    statistics: Mapping[Branch, Statistics]
    evidence: Mapping[str, np.ndarray]  # what `make_evidence` takes
    calibration: Calibration

    @property
    def threshold(self) -> Threshold:
        """That of `best`, which new footage is scored by."""
        return self.calibration.thresholds["best"]

    @property
    def detector_weights(self) -> Path:
        return self.folder / "weights" / "detector"

    @property
    def flow_weights(self) -> Path:
        return self.folder / "weights" / "flow"

    def scorer(self, engine: Engine) -> Scorer:
        """The model, ready to score cubes."""
        return Scorer(
            self.settings,
            {branch: engine.for_scoring(network) for branch, network in self.networks.items()},
            make_evidence(engine, self.evidence, self.folder / "evidence.safetensors"),
            engine,
            self.statistics,
            self.calibration,
        )


def write_package(
    folder: Path,
    settings: DatasetSettings,
    files: Iterable[Path],
    detector_weights: Path,
    flow_weights: Path,
) -> None:
    """Fill a new folder. `files` are the networks, the statistics, the evidence and the calibration, by the names they
    have here; `detector_weights` and `flow_weights` the folders that the settings' names lie in.

    Raises VadError where the weights are missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        copy(path, folder / path.name)
    write_json(folder / "settings.json", settings.model_dump(mode="json"))
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
    for branch in settings.branches:
        path = folder / f"{branch}.safetensors"
        networks[branch], model, length = load_model(path, branch, _COPIED)
        if model != settings.model or length != settings.cube.length:
            raise VadError(f"{path}: not the network that {folder / 'settings.json'} describes; {_AGAIN}")
    path = folder / "statistics.json"
    statistics = statistics_from(read_json(path, _COPIED), settings.branches, path, _COPIED)
    evidence = load_arrays(folder / "evidence.safetensors", _COPIED)
    path = folder / "calibration.json"
    calibration = calibration_from(read_json(path, _COPIED), path, _COPIED)
    check_calibrated(calibration, settings, settings.eta[:1], path, _COPIED)
    return Package(folder, settings, networks, statistics, evidence, calibration)


_AGAIN = "copy the whole model folder again, or make it again"


def _settings(path: Path) -> DatasetSettings:
    content = read_json(path, _COPIED)
    try:
        settings = DatasetSettings.model_validate(content)
    except ValidationError as error:
        raise VadError(f"{path}: {first_problem(error, within=('dataset', 'packaged'))}; {_AGAIN}") from None
    if weights := getattr(settings.detector, "weights", None):
        named = PurePosixPath(weights)
        if named.is_absolute() or ".." in named.parts:
            raise VadError(f"{path}: detector.weights: {str(named)!r} is not inside the model folder")
    return settings


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


def with_yolo(detector: DetectorSettings, weights: Path) -> YoloSettings | OnnxSettings:
    """A YOLO of the user's, or an ONNX file where the detector is one, with the rules of these settings.

    Raises VadError where the file or folder is not there.
    """
    if not weights.exists():
        raise VadError(f"{weights}: not found; expected a YOLO's weights: .pt, .onnx, .safetensors or *_openvino_model")
    if detector.kind == "onnx" and weights.suffix == ".onnx":
        return detector.model_copy(update={"weights": weights.name})
    own: dict[str, Any] = {"weights": weights.name}
    if detector.kind in ("yolo", "onnx", "torchvision"):
        own["image_size"] = detector.image_size
    if detector.rules is not None:
        own["rules"] = detector.rules
    if detector.motion is not None or detector.kind != "import":  # imported boxes may have held motion boxes
        own["motion"] = detector.motion
    return YoloSettings(**own)
