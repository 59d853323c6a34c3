"""`params.yaml` as validated settings. Every default lives here and nowhere else.

Defaults are the paper's (STATE, ICDM 2022, section IV-B) where it names a value, else the authors'
public code, else this project's choice; each field's description says which. `params.yaml` spells every
key out, so that `dvc params diff` speaks of all of them.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from vadlib.errors import VadError

Branch = Literal["raw", "flow"]
BRANCHES: tuple[Branch, ...] = ("raw", "flow")
SPLITS = ("training", "testing")


class Settings(BaseModel):
    """Frozen, strict (no string taken for a number), and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd")
    return value


# YAML has lists where settings want tuples.
Pair = Annotated[tuple[int, int], BeforeValidator(_tuple)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Street(Settings):
    """The embedded street scene (layouts `synthetic`): how much of it is rendered, and from which seed."""

    seed: int = Field(1, ge=0, description="seed of the whole data set")
    size: Pair = Field((320, 224), description="frame width and height, px; multiples of 32")
    fps: int = Field(25, ge=1, description="frames per second written into the video files")
    training_clips: int = Field(8, ge=1, description="clips of normal footage")
    testing_clips: int = Field(10, ge=1, description="clips with anomalies")
    clip_frames: int = Field(150, ge=8, description="frames of each clip")
    walkers: int = Field(4, ge=1, description="walkers in view at a time, about")


class Source(Settings):
    """Where a data set's clips and labels come from."""

    layout: Literal["synthetic", "frames", "ucsd", "avenue", "shanghaitech", "videos"] = Field(
        "frames", description="folder layout below data/<data set>"
    )
    street: Street | None = Field(None, description="the rendered street; only with layout `synthetic`")
    expected_frames: Pair | None = Field(
        None, description="known totals of training and testing frames; a difference is an error"
    )

    @model_validator(mode="after")
    def _street_goes_with_synthetic(self) -> "Source":
        if (self.layout == "synthetic") != (self.street is not None):
            raise ValueError("`street` goes with layout `synthetic`, and only with it")
        return self


class Detector(Settings):
    """Appearance boxes, then motion boxes for what they missed (paper III-A; VEC's rules)."""

    kind: Literal["yolo", "torchvision", "motion", "import"] = Field(
        "yolo", description="where appearance boxes come from; `motion` has none"
    )
    weights: str | None = Field(
        "yolo11n.pt", description="file or folder below weights/<data set>; for `torchvision` a model name"
    )
    boxes: str | None = Field(
        None,
        description="with `import`: files below data/<data set>; `{split}`: training or train, testing or test",
    )
    imported_with_motion: bool = Field(
        False, description="imported boxes already hold motion boxes: no rule is applied, none are added"
    )
    image_size: int = Field(640, ge=32, description="longer side the detector works at, px")
    confidence: Fraction = Field(0.5, description="a detection needs more than this (VEC)")
    min_area: int = Field(100, ge=1, description="least box area, px², sides counted +1 (VEC)")
    max_cover: Fraction = Field(
        0.6, description="a box covered by a larger one by more than this share of itself is dropped (VEC)"
    )
    motion: bool = Field(True, description="add motion boxes for what the detector missed")
    motion_threshold: int = Field(18, ge=0, le=510, description="binary threshold, grey levels (VEC)")
    motion_kernel: Annotated[int, AfterValidator(_odd)] = Field(
        3, ge=1, description="side of the Gaussian kernel, px, odd (VEC)"
    )
    motion_min_area: int = Field(100, ge=1, description="least area of a motion box, px² (VEC)")
    grow: int = Field(2, ge=0, description="px a motion box, and a box blanked out before it, grows by (VEC)")

    @model_validator(mode="after")
    def _kind_has_its_file(self) -> "Detector":
        if self.kind in ("yolo", "torchvision") and not self.weights:
            raise ValueError(f"kind `{self.kind}` needs `weights`")
        if (self.kind == "import") != (self.boxes is not None):
            raise ValueError("`boxes` goes with kind `import`, and only with it")
        return self


class Flow(Settings):
    """Dense optical flow t -> t+1, px per frame. The paper's is FlowNet 2.0; the default needs no weights."""

    kind: Literal["dis", "raft_small", "raft_large", "import"] = Field("dis", description="estimator")
    preset: Literal["ultrafast", "fast", "medium"] = Field("medium", description="with `dis`: OpenCV's preset")
    size: Pair | None = Field(
        None, description="working width and height, px; vectors are rescaled. null: the frames' own"
    )
    fields: str | None = Field(
        None,
        description="with `import`: folder below data/<data set>, one field a frame, `{split}/{clip}` inside",
    )

    @model_validator(mode="after")
    def _import_has_its_folder(self) -> "Flow":
        if (self.kind == "import") != (self.fields is not None):
            raise ValueError("`fields` goes with kind `import`, and only with it")
        return self


class Cube(Settings):
    """The spatio-temporal context cube, STCC (paper III-A)."""

    context: int = Field(3, ge=0, le=16, description="T: frames before and after; L = 2T+1 (paper IV-B)")
    patch: int = Field(32, ge=8, le=256, multiple_of=4, description="H = W, px; two poolings by 2 (paper IV-B)")

    @property
    def length(self) -> int:
        """L = 2T+1, frames of a cube."""
        return 2 * self.context + 1


class Model(Settings):
    """STATE (paper III-B), or a baseline of the same widths."""

    kind: Literal["state", "conv_ae", "convlstm_ae", "unet"] = Field("state", description="architecture")
    widths: Annotated[tuple[int, int, int], BeforeValidator(_tuple)] = Field(
        (32, 64, 128), description="encoder widths; the last is d (paper IV-B)"
    )
    layers: int = Field(3, ge=0, le=32, description="N, attention layers (paper IV-B)")
    heads: int = Field(4, ge=1, description="H; divides d (paper IV-B)")
    slope: Fraction = Field(0.2, description="of every LeakyReLU (authors; the paper names none)")
    head_input: Literal["all", "slice"] = Field(
        "all", description="channels a head sees: all d (paper, eq. 1) or its own d/H (authors)"
    )
    positional: Literal["stack", "shared"] = Field(
        "stack",
        description="positional encoding: (L, d) in each stack (paper) or one (L, d/H) for all (authors)",
    )
    p: float = Field(2.0, ge=1, description="p of the norm, in loss and score (paper IV-B)")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "Model":
        if min(self.widths) < 1:
            raise ValueError(f"`widths` must be positive, not {list(self.widths)}")
        if self.kind == "state" and (self.widths[-1] % self.heads or self.widths[-1] % 4):
            raise ValueError(
                f"the last of `widths` ({self.widths[-1]}) must be a multiple of `heads` ({self.heads}) "
                "and of GroupNorm's 4 groups"
            )
        return self


class Training(Settings):
    """Paper III-C and IV-B."""

    epochs: int = Field(20, ge=1, description="passes over the training cubes (paper IV-B)")
    batch: int = Field(128, ge=1, description="cubes a step (authors)")
    lr: float = Field(0.001, gt=0, description="Adam's learning rate (paper IV-B)")
    adam_eps: float = Field(0.0000001, gt=0, description="Adam's epsilon (paper IV-B)")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="learning rate over the run (authors: constant)"
    )
    max_cubes: int | None = Field(
        None, ge=1, description="train on at most this many cubes, drawn evenly by the seed; null: all"
    )
    seed: int = Field(0, ge=0, description="of weights and data order")
    checkpoint_seconds: float = Field(60.0, gt=0, description="at most this long is lost to a kill, s")


class Compute(Settings):
    """How, not what: precision and cores."""

    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="of the networks; `auto`: bf16 where the processor multiplies it natively"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="`auto`: a GPU where there is one")
    workers: int = Field(2, ge=1, le=256, description="clips worked on at a time in detect, flow and build")
    score_batch: int = Field(32, ge=1, description="cubes scored at a time; changes no score beyond rounding")


def _etas(value: Any) -> Any:
    values = value if isinstance(value, (list, tuple)) else (value,)
    if not values or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values):
        raise ValueError("must be a number, or a list of numbers")
    if len({f"{value:g}" for value in values}) != len(values):  # so are their folders named
        raise ValueError("names a value twice (six digits of it count)")
    return tuple(float(v) for v in values)


class Dataset(Settings):
    """One data set's way through the pipeline; a group for each stage."""

    source: Source = Source()
    detector: Detector = Detector()
    flow: Flow = Flow()
    cube: Cube = Cube()
    model: Model = Model()
    training: Training = Training()
    eta: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], BeforeValidator(_etas)] = Field(
        (0.002,),
        description="perturbation magnitude, eq. (2); of a list the first is the headline (paper: Avenue)",
    )
    perturbation_loss: Literal["sum", "mean"] = Field(
        "sum",
        description="eq. (2)'s loss over a cube's elements: sum (paper) or mean of each branch (authors)",
    )
    branches: Literal["both", "raw", "flow"] = Field(
        "both", description="the branches that perturb and score (paper: both)"
    )
    w_raw: float = Field(1.0, ge=0, description="w_r, weight of the standardised raw error")
    w_flow: float = Field(1.0, ge=0, description="w_m, weight of the standardised flow error")
    threshold_quantile: Fraction = Field(
        0.99, description="of normal training frames' scores: what scores higher is called anomalous"
    )

    @model_validator(mode="after")
    def _something_scores(self) -> "Dataset":
        if not any(self.weights.values()):
            raise ValueError("the branches in use have weight 0: set `w_raw` or `w_flow`")
        return self

    @property
    def weights(self) -> dict[Branch, float]:
        """The weights of the branches in use, in the order raw, flow."""
        both: dict[Branch, float] = {"raw": self.w_raw, "flow": self.w_flow}
        return {branch: w for branch, w in both.items() if self.branches in ("both", branch)}


class Params(Settings):
    """All of `params.yaml`."""

    datasets: Annotated[tuple[str, ...], BeforeValidator(_tuple)]
    compute: Compute = Compute()
    dataset: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")], Dataset]

    @model_validator(mode="after")
    def _listed_are_described(self) -> "Params":
        for name in self.datasets:
            if name not in self.dataset:
                raise ValueError(f"`datasets` lists {name!r}, which `dataset` does not describe")
        return self


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check the whole file. Raises VadError naming the key, what was expected and what was found."""
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VadError(f"{path}: not found; run from the project's folder") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise VadError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise VadError(f"{path}: {first_problem(error)}") from None


def load_dataset(name: str, path: Path = Path("params.yaml")) -> tuple[Dataset, Compute]:
    """One data set's settings, by its name in `params.yaml`. Raises VadError as `load_params` does."""
    params = load_params(path)
    if name not in params.dataset:
        raise VadError(f"{path}: no data set {name!r}; there are: {', '.join(sorted(params.dataset))}")
    return params.dataset[name], params.compute


def first_problem(error: ValidationError) -> str:
    """One line for the first of pydantic's errors: the key, what is wrong, what is valid."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]") or "the file"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        valid = ", ".join(_fields_at(first["loc"][:-1]))
        return f"{key}: unknown key; valid here: {valid}{more}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    found = first.get("input")
    shown = "" if isinstance(found, (dict, BaseModel)) or first["type"] == "missing" else f", not {found!r}"
    return f"{key}: {message}{shown}{more}"


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys valid in the group at a place of the file, such as ("dataset", "ped2", "model")."""
    if not location:
        return sorted(Params.model_fields)
    if location[0] == "compute":
        return sorted(Compute.model_fields)
    group: type[Settings] = Dataset
    for part in location[2:]:
        group = {
            "source": Source,
            "street": Street,
            "detector": Detector,
            "flow": Flow,
            "cube": Cube,
            "model": Model,
            "training": Training,
        }.get(str(part), group)
    return sorted(group.model_fields)


def reference(group: type[Settings], prefix: str = "") -> str:
    """A Markdown table of every key below a group: its default, and its description with unit and source."""
    lines = ["| key | default | meaning |", "| --- | --- | --- |"] if not prefix else []
    for name, field in group.model_fields.items():
        key = f"{prefix}{name}"
        inner = _group_of(field.annotation)
        if inner is not None:
            place = f"{key}.<data set>." if name == "dataset" else f"{key}."
            lines.append(reference(inner, place))
        elif field.description:
            lines.append(f"| `{key}` | `{_plain(field.default)}` | {field.description} |")
    return "\n".join(line for line in lines if line)


def _group_of(annotation: Any) -> type[Settings] | None:
    """The settings group an annotation holds: itself, in a union with None, or as a dictionary's values."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    inner = [_group_of(part) for part in getattr(annotation, "__args__", ())]
    return next((group for group in inner if group is not None), None)


def _plain(default: Any) -> str:
    """A default as params.yaml would have it."""
    if default is None:
        return "null"
    if isinstance(default, bool):
        return str(default).lower()
    return str(list(default)) if isinstance(default, tuple) else str(default)
