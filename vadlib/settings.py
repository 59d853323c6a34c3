"""`params.yaml` as validated settings. Every default lives here and nowhere else.

Defaults are the paper's (STATE, ICDM 2022, section IV-B) where it names a value, else the authors'
public code, else this project's choice; each field says which. `params.yaml` spells every
key out, so that `dvc params diff` speaks of all of them.
"""

import inspect
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from vadlib.errors import VadError

Branch = Literal["raw", "flow"]
BRANCHES: tuple[Branch, ...] = ("raw", "flow")
EvidenceName = Literal["raw", "flow", "speed", "velocity", "looks", "place", "dwell"]
ExecutorName = Literal["local", "ray"]
MOTION: tuple[EvidenceName, ...] = ("flow", "speed", "velocity")
"""Evidence that sees how an object moves: who runs is odd in all three, and a brisk walker a little in each."""
SPLITS = ("training", "testing")


def setting(default: Any, meaning: str, *, unit: str = "", source: str = "", **limits: Any) -> Any:
    """A field of settings. `source` is what the default follows; empty: this project's choice."""
    return Field(default, description=meaning, json_schema_extra={"unit": unit, "source": source}, **limits)


class Settings(BaseModel):
    """Frozen, strict (no string taken for a number), and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd")
    return value


def _not_one(value: int) -> int:
    if value == 1:
        raise ValueError("must be 0 or 2 and more: 1 leaves nothing to train on")
    return value


# YAML has lists where settings want tuples.
Pair = Annotated[tuple[int, int], BeforeValidator(_tuple)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Widths = Annotated[
    tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]],
    BeforeValidator(_tuple),
]


class StreetSettings(Settings):
    """The embedded street scene: how much of it is rendered, and from which seed."""

    seed: int = setting(1, "seed of the whole data set", ge=0)
    size: Pair = setting((320, 224), "frame width and height; multiples of 32", unit="px")
    fps: int = setting(25, "frame rate written into the video files", unit="frames per second", ge=1)
    training_clips: int = setting(8, "clips of normal footage", unit="clips", ge=1)
    testing_clips: int = setting(12, "clips with anomalies", unit="clips", ge=1)
    clip_frames: int = setting(150, "length of each clip", unit="frames", ge=8)
    walkers: int = setting(4, "walkers in view at a time, about", ge=1)


class FolderSourceSettings(Settings):
    """Clips and labels in a folder, `data/<data set>`."""

    layout: Literal["frames", "ucsd", "avenue", "shanghaitech", "videos"] = setting("frames", "what lies where in it")
    expected_frames: Pair | None = setting(
        None, "known totals of training and testing frames; a difference is an error", unit="frames"
    )


class StreetSourceSettings(Settings):
    """The embedded street scene, rendered by stage `prepare`."""

    layout: Literal["synthetic"] = setting("synthetic", "rendered; nothing lies in a folder")
    street: StreetSettings = StreetSettings()
    expected_frames: ClassVar[None] = None  # there are as many as are rendered


class RuleSettings(Settings):
    """Which appearance boxes are kept (VEC's rules)."""

    confidence: Fraction = setting(0.5, "a detection needs more than this", unit="0 to 1", source="VEC")
    min_area: int = setting(100, "least box area, sides counted +1", unit="px²", source="VEC", ge=1)
    max_cover: Fraction = setting(
        0.6, "a box covered by a larger one by more than this share of itself is dropped", unit="0 to 1", source="VEC"
    )


class MotionBoxSettings(Settings):
    """Boxes of what moves and was not detected (paper III-A; VEC's rule)."""

    threshold: int = setting(
        18, "a pixel moves where it changes by more than this", unit="grey levels", source="VEC", ge=0, le=510
    )
    kernel: Annotated[int, AfterValidator(_odd)] = setting(
        3, "side of the Gaussian kernel before it, odd", unit="px", source="VEC", ge=1
    )
    min_area: int = setting(100, "least area of a motion box", unit="px²", source="VEC", ge=1)
    grow: int = setting(
        2, "what a motion box, and a box blanked out before it, grows by on every side", unit="px", source="VEC", ge=0
    )
    most: int = setting(
        30, "most motion boxes of a frame: of more, as noise or a camera that moves makes them, the largest", ge=1
    )


_MOTION = "motion boxes for what the detector missed; null: none"


class YoloSettings(Settings):
    """Appearance boxes by an ultralytics YOLO (AGPL-3.0)."""

    kind: Literal["yolo"] = setting("yolo", "where appearance boxes come from")
    weights: str = setting("yolo11n.pt", "file or folder below `weights/<data set>`", min_length=1)
    image_size: int = setting(640, "longer side the detector works at", unit="px", ge=32)
    rules: RuleSettings = setting(RuleSettings(), "which of its boxes are kept")
    motion: MotionBoxSettings | None = setting(MotionBoxSettings(), _MOTION)


class OnnxSettings(Settings):
    """Appearance boxes by an ONNX file, YOLOX or YOLOv8 and 11, through OpenCV: no AGPL code, no further package."""

    kind: Literal["onnx"] = setting("onnx", "where appearance boxes come from")
    weights: str = setting(
        "yolox_nano.onnx", "file below `weights/<data set>`; this one (Apache-2.0) is fetched", min_length=1
    )
    image_size: int = setting(416, "longer side the detector works at, where the file leaves it free", unit="px", ge=32)
    rules: RuleSettings = setting(RuleSettings(), "which of its boxes are kept")
    motion: MotionBoxSettings | None = setting(MotionBoxSettings(), _MOTION)


class TorchvisionDetectorSettings(Settings):
    """Appearance boxes by a detector of torchvision's (BSD-3-Clause)."""

    kind: Literal["torchvision"] = setting("torchvision", "where appearance boxes come from")
    model: str = setting("fasterrcnn_resnet50_fpn_v2", "torchvision's name of it; weights are fetched", min_length=1)
    image_size: int = setting(640, "longer side the detector works at", unit="px", ge=32)
    rules: RuleSettings = setting(RuleSettings(), "which of its boxes are kept")
    motion: MotionBoxSettings | None = setting(MotionBoxSettings(), _MOTION)


class MotionDetectorSettings(Settings):
    """Motion boxes alone: no weights, no classes."""

    kind: Literal["motion"] = setting("motion", "where boxes come from")
    motion: MotionBoxSettings = setting(MotionBoxSettings(), "what counts as motion")
    rules: ClassVar[None] = None  # nothing is detected that they could apply to


class ImportedBoxesSettings(Settings):
    """Boxes computed elsewhere: VEC's .npy, COCO JSON, CSV."""

    kind: Literal["import"] = setting("import", "where appearance boxes come from")
    boxes: str = setting(
        ..., "files below `data/<data set>`; `{split}`: training or train, testing or test", min_length=1
    )
    rules: RuleSettings | None = setting(RuleSettings(), "which of them are kept; null: all, as they are")
    motion: MotionBoxSettings | None = setting(
        MotionBoxSettings(), "motion boxes for what they miss; null: none, as where they hold motion boxes already"
    )


class DisSettings(Settings):
    """Dense optical flow t -> t+1, px per frame, by OpenCV's DIS: no weights."""

    kind: Literal["dis"] = setting("dis", "estimator; the paper's FlowNet 2.0 is not among them")
    preset: Literal["ultrafast", "fast", "medium"] = setting("medium", "OpenCV's preset")
    size: Pair | None = setting(
        None, "working width and height; vectors are rescaled. null: the frames' own", unit="px"
    )


class RaftSettings(Settings):
    """Dense optical flow by torchvision's RAFT."""

    kind: Literal["raft_small", "raft_large"] = setting("raft_large", "estimator: which of the two")
    size: Pair | None = setting(
        None, "working width and height; vectors are rescaled. null: the frames' own", unit="px"
    )


class ImportedFlowSettings(Settings):
    """Dense optical flow computed elsewhere: .npy, .flo, KITTI's .png."""

    kind: Literal["import"] = setting("import", "estimator: none")
    fields: str = setting(
        ..., "folder below `data/<data set>`, one field a frame, `{split}/{clip}` inside", min_length=1
    )
    size: Pair | None = setting(None, "width and height of the fields; vectors are rescaled. null: the frames' own")


class CubeSettings(Settings):
    """The spatio-temporal context cube, STCC (paper III-A)."""

    context: int = setting(
        3, "T, before and after; a cube has L = 2T+1", unit="frames", source="paper IV-B", ge=0, le=16
    )
    patch: int = setting(
        32, "H = W of a patch; a multiple of 4", unit="px", source="paper IV-B", ge=8, le=256, multiple_of=4
    )

    @property
    def length(self) -> int:
        """L = 2T+1, frames of a cube."""
        return 2 * self.context + 1


class StateSettings(Settings):
    """STATE (paper III-B)."""

    kind: Literal["state"] = setting("state", "architecture")
    widths: Widths = setting((32, 64, 128), "encoder widths; the last is d", unit="channels", source="paper IV-B")
    layers: int = setting(3, "N, attention layers", source="paper IV-B", ge=0, le=32)
    heads: int = setting(4, "H, attention heads; divides d", source="paper IV-B", ge=1)
    slope: Fraction = setting(0.2, "of every LeakyReLU; the paper names none", source="authors")
    head_input: Literal["all", "slice"] = setting(
        "all", "channels a head sees: all d (paper) or its own d/H (authors)", source="paper eq. (1)"
    )
    positional: Literal["stack", "shared"] = setting(
        "stack",
        "positional encoding: (L, d) in each stack (paper) or one (L, d/H) for all (authors)",
        source="paper III-B2 c",
    )
    p: float = setting(2.0, "p of the norm, in loss and score", source="paper IV-B", ge=1)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "StateSettings":
        if self.widths[-1] % self.heads or self.widths[-1] % 4:
            raise ValueError(
                f"the last of `widths` ({self.widths[-1]}) must be a multiple of `heads` ({self.heads}) "
                "and of GroupNorm's 4 groups"
            )
        return self


class BaselineSettings(Settings):
    """A baseline: convolutional autoencoder, convolutional LSTM, U-Net."""

    kind: Literal["conv_ae", "convlstm_ae", "unet"] = setting("conv_ae", "architecture: which of them")
    widths: Widths = setting((32, 64, 128), "encoder widths", unit="channels", source="paper IV-B")
    p: float = setting(2.0, "p of the norm, in loss and score", source="paper IV-B", ge=1)


class TrainingSettings(Settings):
    """Paper III-C and IV-B."""

    epochs: int = setting(20, "passes over the training cubes", unit="epochs", source="paper IV-B", ge=1)
    batch: int = setting(128, "cubes a step", unit="cubes", source="authors", ge=1)
    lr: float = setting(0.001, "Adam's learning rate", source="paper IV-B", gt=0)
    adam_eps: float = setting(0.0000001, "Adam's epsilon", source="paper IV-B", gt=0)
    schedule: Literal["constant", "cosine"] = setting("constant", "learning rate over the run", source="authors")
    max_cubes: int | None = setting(
        None, "train on at most this many, drawn evenly by the seed; null: all", unit="cubes", ge=1
    )
    hold_out_every: Annotated[int, AfterValidator(_not_one)] = setting(
        5,
        "every so many-th piece of the training footage (a clip, or a part of a long one) is not trained on: scores "
        "are calibrated on it, and the threshold set; 0: none, and both are done on what was trained on",
        unit="pieces",
        ge=0,
    )
    seed: int = setting(0, "of weights and data order", ge=0)
    checkpoint_seconds: float = setting(60.0, "at most this long is lost to a kill", unit="s", gt=0)


class ComputeSettings(Settings):
    """How, not what: precision and cores."""

    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "of the networks; `auto`: bf16 where the processor multiplies it natively"
    )
    device: Literal["auto", "cpu", "cuda"] = setting("auto", "`auto`: a GPU where there is one")
    executor: ExecutorName = setting(
        "local", "who works on clips: processes of this machine, or workers of a Ray cluster (`vadlib[ray]`)"
    )
    address: str | None = setting(
        None, "of the Ray cluster, `auto` or host:port; null: one on this machine, for as long as a stage runs"
    )
    workers: int = setting(
        2, "clips worked on at a time in detect, flow and build; by Ray in score too", unit="processes", ge=1, le=4096
    )
    worker_cpus: float = setting(1.0, "that a worker of Ray's takes, and its threads", unit="CPUs", gt=0)
    worker_gpus: float = setting(0.0, "that a worker of Ray's takes; 0.5: two share one", unit="GPUs", ge=0)
    retries: int = setting(2, "how often Ray tries again what failed, or was lost with its worker", ge=0, le=100)
    processes: int = setting(
        1, "that train a branch together, each on a part of every batch", unit="processes", ge=1, le=4096
    )
    window: Annotated[int, Field(ge=64)] | None = setting(
        None,
        "a clip longer than this is worked on in pieces of about this length, with the same result; null: none is",
        unit="frames",
    )
    score_batch: int = setting(32, "scored at a time; changes no score beyond rounding", unit="cubes", ge=1)


def _etas(value: Any) -> Any:
    values = value if isinstance(value, (list, tuple)) else (value,)
    if not values or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values):
        raise ValueError("must be a number, or a list of numbers")
    if len({f"{value:g}" for value in values}) != len(values):  # so are their folders named
        raise ValueError("names a value twice (six digits of it count)")
    return tuple(float(v) for v in values)


def _unless(key: str, default: str) -> BeforeValidator:
    """A group that does not say which of several it is, by `key`, is the one of `default`."""
    return BeforeValidator(lambda value: {key: default, **value} if isinstance(value, dict) else value)


# Groups that are one of several: the first key says which.
SourceSettings = Annotated[
    FolderSourceSettings | StreetSourceSettings,
    Field(discriminator="layout"),
    _unless("layout", "frames"),
]
DetectorSettings = Annotated[
    YoloSettings | OnnxSettings | TorchvisionDetectorSettings | MotionDetectorSettings | ImportedBoxesSettings,
    Field(discriminator="kind"),
    _unless("kind", "yolo"),
]
FlowSettings = Annotated[
    DisSettings | RaftSettings | ImportedFlowSettings,
    Field(discriminator="kind"),
    _unless("kind", "dis"),
]
ModelSettings = Annotated[
    StateSettings | BaselineSettings,
    Field(discriminator="kind"),
    _unless("kind", "state"),
]


class ScoreSettings(Settings):
    """One way from what is measured of each cube to the score of its frame. The defaults are those of `best`."""

    evidence: Annotated[tuple[EvidenceName, ...], BeforeValidator(_tuple)] = setting(
        ("raw", "flow", "speed", "velocity", "looks", "dwell"),
        "what is added up: the networks' errors `raw` and `flow`, `speed`, `velocity`, `looks`, `place`, `dwell`",
    )
    error: Literal["norm", "median"] = setting(
        "median",
        "a network's error: `norm`, the paper's |.|_p^p over the cube; `median` over its frames of the mean length of "
        "the difference, which one odd frame or a few odd pixels do not decide",
    )
    calibration: Literal["z", "log_z", "tail"] = setting(
        "tail",
        "how unlike measurements become comparable: `z` standardises (paper), `log_z` standardises logarithms, `tail` "
        "is -log p of held-out normal footage",
    )
    w_raw: float = setting(1.0, "w_r, weight of the raw evidence", source="paper IV-B, ShanghaiTech", ge=0)
    w_flow: float = setting(1.0, "w_m, weight of the flow evidence", source="paper IV-B", ge=0)
    track_half_life: float = setting(
        4.0,
        "an object's score is a mean along its track, a frame weighs half as much so many frames away; 0: none",
        unit="frames",
        ge=0,
        le=1000,
    )
    track_after: int = setting(
        0, "so many frames after it count too: a live score then comes so much later", unit="frames", ge=0, le=1000
    )
    top: int = setting(1, "a frame's score is the mean of its so many highest objects", source="paper eq. (3)", ge=1)

    @model_validator(mode="after")
    def _something_scores(self) -> "ScoreSettings":
        if len(set(self.evidence)) != len(self.evidence) or not any(self.weights.values()):
            raise ValueError("`evidence` needs one kind or more, none twice, that has a weight")
        return self

    @property
    def weights(self) -> dict[EvidenceName, float]:
        """The weight of each evidence in use; of those that see the same motion, no more together than two others."""
        of_motion = sum(name in MOTION for name in self.evidence)
        own = {"raw": self.w_raw, "flow": self.w_flow}
        return {name: own.get(name, 1.0) * (2 / max(2, of_motion) if name in MOTION else 1) for name in self.evidence}


PAPER = ScoreSettings(evidence=("raw", "flow"), error="norm", calibration="z", track_half_life=0)
"""III-E: a weighted sum of standardised errors, the maximum over a frame's cubes."""
Configuration = Literal["best", "paper"]
CONFIGURATIONS: tuple[Configuration, ...] = ("best", "paper")


class DatasetSettings(Settings):
    """One data set's way through the pipeline; a group for each stage."""

    source: SourceSettings = FolderSourceSettings()
    detector: DetectorSettings = YoloSettings()
    flow: FlowSettings = DisSettings()
    cube: CubeSettings = CubeSettings()
    model: ModelSettings = StateSettings()
    training: TrainingSettings = TrainingSettings()
    precision: Literal["fp32", "bf16"] | None = setting(
        None,
        "of the networks, before `compute.precision`; null: that. fp32 where a result is to be repeated to the byte",
    )
    eta: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], BeforeValidator(_etas)] = setting(
        (0.002,),
        "perturbation magnitude, eq. (2); of a list the first is the headline",
        unit="of pixels in [0, 1]",
        source="paper IV-B, Avenue",
    )
    perturbation_loss: Literal["sum", "mean"] = setting(
        "sum",
        "eq. (2)'s loss over a cube's elements: sum (paper) or mean of each branch (authors)",
        source="paper eq. (2)",
    )
    best: ScoreSettings = ScoreSettings()
    paper: ScoreSettings = PAPER
    false_alarms: Annotated[float, Field(gt=0, le=0.1)] = setting(
        0.01, "the share of normal frames that may be called anomalous: thresholds are set by it", unit="0 to 0.1"
    )

    @model_validator(mode="after")
    def _something_is_trained(self) -> "DatasetSettings":
        if not self.branches:
            raise ValueError("`best` or `paper` must have `raw` or `flow` in its `evidence`: there is nothing to train")
        return self

    @property
    def configurations(self) -> dict[Configuration, ScoreSettings]:
        """Both ways to score; `best` is what own footage is scored by."""
        return {"best": self.best, "paper": self.paper}

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The networks that either way to score needs: those that perturb."""
        used = {*self.best.evidence, *self.paper.evidence}
        return tuple(branch for branch in BRANCHES if branch in used)


class SceneSettings(Settings):
    """What of a camera's pictures counts. A group of the file that `vad train --settings` takes, and not of
    params.yaml; the model folder keeps it."""

    mask: str | None = setting(
        None, "a picture, white where it counts, or JSON of polygons: file, from the current folder; null: everywhere"
    )
    classes: Annotated[tuple[str, ...], BeforeValidator(_tuple)] = setting(
        (), "kinds of objects that count, such as `person`; `motion`: what only moves. Empty: all"
    )
    ignore: Annotated[tuple[str, ...], BeforeValidator(_tuple)] = setting((), "kinds of objects that do not count")
    every: int = setting(1, "every so many-th frame is looked at", unit="frames", ge=1, le=6)
    smallest: float = setting(0.0, "smaller objects do not count", unit="% of the frame's area", ge=0, le=100)
    largest: float = setting(100.0, "larger objects do not count", unit="% of the frame's area", ge=0, le=100)


class Params(Settings):
    """All of `params.yaml`."""

    datasets: Annotated[tuple[str, ...], BeforeValidator(_tuple)] = setting(..., "those that a bare `dvc repro` runs")
    compute: ComputeSettings = ComputeSettings()
    dataset: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")], DatasetSettings]

    @model_validator(mode="after")
    def _listed_are_described(self) -> "Params":
        for name in self.datasets:
            if name not in self.dataset:
                raise ValueError(f"`datasets` lists {name!r}, which `dataset` does not describe")
        return self


def model_settings(content: dict[str, Any]) -> ModelSettings:
    """A model's settings from their keys. Raises pydantic's ValidationError."""
    return _MODEL.validate_python(content)


_MODEL: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)

OWN_FOOTAGE = DatasetSettings(
    source=FolderSourceSettings(layout="videos"),
    detector=YoloSettings(
        rules=RuleSettings(confidence=0.25, min_area=400), motion=MotionBoxSettings(kernel=5, min_area=400)
    ),
    model=StateSettings(widths=(16, 32, 64)),
    training=TrainingSettings(epochs=5, batch=64, schedule="cosine", max_cubes=20_000),
    eta=(0.0,),
)
"""What `vad train` learns own footage with unless told otherwise: half the paper's widths and a part of the cubes, so
that a machine without a GPU is done within hours; a COCO YOLO's boxes, and motion's for what it misses. No
perturbation: that is two thirds of what scoring costs, and brings nothing on Ped2 and `synthetic`."""


DetectorKind = Literal["yolo", "onnx", "torchvision", "motion"]
"""Detectors that own footage can be looked at with: all but boxes computed elsewhere."""


def with_detector(settings: DatasetSettings, kind: DetectorKind) -> DatasetSettings:
    """These settings with a detector of this kind, its own defaults but for the rules and the motion boxes there."""
    before = settings.detector
    if before.kind == kind:
        return settings
    own: dict[str, Any] = {"kind": kind}
    if kind != "motion" and before.rules is not None:
        own["rules"] = before.rules
    if before.motion is not None or kind != "motion":
        own["motion"] = before.motion
    return settings.model_copy(update={"detector": _DETECTOR.validate_python(own)})


_DETECTOR: TypeAdapter[DetectorSettings] = TypeAdapter(DetectorSettings)


def load_group(path: Path) -> tuple[DatasetSettings, SceneSettings]:
    """Settings for own footage from a YAML file that holds a data set's groups, and `scene`: what it leaves out is as
    in OWN_FOOTAGE. Raises VadError as `load_params` does."""
    content = _read_yaml(path)
    try:
        if not isinstance(content, dict):
            return DatasetSettings.model_validate(content), SceneSettings()
        content = dict(content)
        scene = SceneSettings.model_validate(content.pop("scene", {}))
    except ValidationError as error:
        raise VadError(f"{path}: {first_problem(error, root=SceneSettings)}") from None
    try:
        return DatasetSettings.model_validate(_over(content, OWN_FOOTAGE)), scene
    except ValidationError as error:
        raise VadError(f"{path}: {first_problem(error, within=('dataset', path.stem))}") from None


def _over(content: dict[str, Any], preset: DatasetSettings) -> dict[str, Any]:
    """What a file says, and of a preset what it leaves out. Of a group of another kind than the preset's, only a
    detector has something in common with it: its rules, and its motion boxes."""
    detector = content.get("detector")
    if isinstance(detector, dict) and detector.get("kind") in get_args(DetectorKind):
        preset = with_detector(preset, detector["kind"])

    def merged(own: Any, before: Any) -> Any:
        if not (isinstance(own, dict) and isinstance(before, dict)):
            return own
        if any(key in own and own[key] != before.get(key) for key in ("kind", "layout")):
            return own
        return {**before, **{key: merged(value, before.get(key)) for key, value in own.items()}}

    found: dict[str, Any] = merged(content, preset.model_dump(mode="json"))
    return found


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check the whole file. Raises VadError naming the key, what was expected and what was found."""
    try:
        return Params.model_validate(_read_yaml(path))
    except ValidationError as error:
        raise VadError(f"{path}: {first_problem(error)}") from None


def _read_yaml(path: Path) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VadError(f"{path}: not found; run from the project's folder") from None
    except UnicodeDecodeError:
        raise VadError(f"{path}: not YAML in UTF-8; save it in UTF-8") from None
    except OSError as error:
        raise VadError(f"{path}: cannot be read: {error.strerror}; nothing need be wrong with it") from None
    except YAMLError as error:
        raise VadError(f"{path}: not YAML: {' '.join(str(error).split())}") from None


def load_dataset(name: str, path: Path = Path("params.yaml")) -> tuple[DatasetSettings, ComputeSettings]:
    """One data set's settings, by its name in `params.yaml`. Raises VadError as `load_params` does."""
    params = load_params(path)
    if name not in params.dataset:
        raise VadError(f"{path}: no data set {name!r}; there are: {', '.join(sorted(params.dataset))}")
    settings, compute = params.dataset[name], params.compute
    return settings, compute.model_copy(update={"precision": settings.precision or compute.precision})


def first_problem(error: ValidationError, within: tuple[str, ...] = (), root: type[Settings] = Params) -> str:
    """One line for the first of pydantic's errors: the key, what is wrong, what is valid.

    `within` are the keys, in `root`, of the group that was validated.
    """
    first = error.errors(include_url=False)[0]
    keys, groups = _at((*within, *first["loc"]), root)
    key = ".".join(keys[len(within) :]) or "the file"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        _, (group,) = _at((*within, *first["loc"][:-1]), root)
        return f"{key}: unknown key; valid here: {', '.join(sorted(group.model_fields))}{more}"
    if first["type"] == "union_tag_invalid":
        name = first["ctx"]["discriminator"].strip("'")
        valid = [value for group in groups for value in get_args(group.model_fields[name].annotation)]
        return f"{key}.{name}: must be one of {', '.join(valid)}, not {first['ctx']['tag']!r}{more}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    given = first.get("input")
    shown = "" if isinstance(given, (dict, BaseModel)) or first["type"] == "missing" else f", not {given!r}"
    return f"{key}: {message}{shown}{more}"


def _at(location: tuple[int | str, ...], root: type[Settings]) -> tuple[list[str], list[type[Settings]]]:
    """A place of the file, as pydantic names it: its keys as they are written there, and the groups it may hold.

    Pydantic names a group of several by its kind; a name that a dictionary may not have it marks by `[key]`.
    """
    keys: list[str] = []
    groups: list[type[Settings]] = [root]
    named = False  # the next part is a data set's name
    for part in location:
        if len(groups) > 1 and (chosen := [group for group in groups if part in _kinds(group)]):
            groups = chosen
        elif part != "[key]":
            keys.append(str(part))
            field = groups[0].model_fields.get(str(part)) if len(groups) == 1 and not named else None
            groups = groups if named else groups_of(field.annotation) if field else []
            named = part == "dataset" and len(keys) == 1
    return keys, groups


def _kinds(group: type[Settings]) -> tuple[Any, ...]:
    """What the first key of a group may say, which tells it from others in its place."""
    return get_args(next(iter(group.model_fields.values())).annotation)


def reference() -> str:
    """Markdown of every key of params.yaml: its default, unit or valid values, meaning, and where the default is from.

    A table for each group; where a group may be one of several, a table for each of them.
    """
    return "\n\n".join([_HEADING, *_tables([Params], ""), *_tables([SceneSettings], "scene")]) + "\n"


def _tables(groups: list[type[Settings]], place: str) -> list[str]:
    """The tables of the groups that may lie at a place, then of those below them, each once."""
    tables: list[str] = []
    below: dict[str, list[type[Settings]]] = {}
    for group in groups:
        rows = []
        for name, field in group.model_fields.items():
            inner = groups_of(field.annotation)
            if inner:
                key = f"{name}.<data set>" if name == "dataset" else name
                below.setdefault(f"{place}.{key}".lstrip("."), inner)
            if field.description:
                about: Any = field.json_schema_extra
                values = " ".join(f"`{value}`" for value in _values(field.annotation))
                cells = f"`{name}`", f"`{_plain(field)}`", values or about["unit"], field.description, about["source"]
                rows.append(f"| {' | '.join(cells)} |")
        if place:
            of = f", {next(iter(group.model_fields))} {', '.join(f'`{kind}`' for kind in _kinds(group))}"
            tables.append(f"## `{place}`{of if len(groups) > 1 else ''}\n\n{inspect.getdoc(group)}")
        if rows:
            heading = ["| key | default | unit or values | meaning | source of the default |", "| --- " * 5 + "|"]
            tables.append("\n".join([*heading, *rows]))
    return [*tables, *(table for inner, of in below.items() for table in _tables(of, inner))]


_HEADING = """# Settings

Every key of `params.yaml`. What a group leaves out has the default; unknown keys are errors. A key's full name is its
group's and its own: `dvc exp run -S dataset.synthetic.eta=0.005`. Where a group may be one of several, such as a
detector, its first key says which, and it has the keys of that one alone. Sources: *paper* is STATE (Wang et al., ICDM
2022), *authors* its authors' public code, *VEC* the extraction of objects that the paper adopts (Yu et al., ACM MM
2020), here with its values for Ped2; where none is named, the default is this project's choice. This page is what
`vad settings` prints."""


def groups_of(annotation: Any) -> list[type[Settings]]:
    """The settings groups an annotation may hold: itself, those of a union, or of a dictionary's values."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [group for part in get_args(annotation) for group in groups_of(part)]


def _values(annotation: Any) -> tuple[Any, ...]:
    """The values of a setting that is one of a few; () for others."""
    if annotation is bool:
        return ("true", "false")
    if get_origin(annotation) is UnionType:  # with null
        return next((values for part in get_args(annotation) if (values := _values(part))), ())
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _plain(field: FieldInfo) -> str:
    """A default as params.yaml would have it."""
    if field.is_required():
        return "required"
    if field.default is None:
        return "null"
    if isinstance(field.default, Settings):
        return "{...}"
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return str(list(field.default)) if isinstance(field.default, tuple) else str(field.default)
