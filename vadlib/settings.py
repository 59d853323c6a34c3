"""`params.yaml` as validated settings. Every default lives here and nowhere else.

Defaults are the paper's (STATE, ICDM 2022, section IV-B) where it names a value, else the authors'
public code, else this project's choice; each field says which. `params.yaml` spells every
key out, so that `dvc params diff` speaks of all of them.
"""

import inspect
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from vadlib.errors import VadError

Branch = Literal["raw", "flow"]
BRANCHES: tuple[Branch, ...] = ("raw", "flow")
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


# YAML has lists where settings want tuples.
Pair = Annotated[tuple[int, int], BeforeValidator(_tuple)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Street(Settings):
    """The embedded street scene (layouts `synthetic`): how much of it is rendered, and from which seed."""

    seed: int = setting(1, "seed of the whole data set", ge=0)
    size: Pair = setting((320, 224), "frame width and height; multiples of 32", unit="px")
    fps: int = setting(25, "frame rate written into the video files", unit="frames per second", ge=1)
    training_clips: int = setting(8, "clips of normal footage", unit="clips", ge=1)
    testing_clips: int = setting(10, "clips with anomalies", unit="clips", ge=1)
    clip_frames: int = setting(150, "length of each clip", unit="frames", ge=8)
    walkers: int = setting(4, "walkers in view at a time, about", ge=1)


class Source(Settings):
    """Where a data set's clips and labels come from."""

    layout: Literal["synthetic", "frames", "ucsd", "avenue", "shanghaitech", "videos"] = setting(
        "frames", "folder layout below `data/<data set>`"
    )
    street: Street | None = setting(None, "the rendered street; only with layout `synthetic`")
    expected_frames: Pair | None = setting(
        None, "known totals of training and testing frames; a difference is an error", unit="frames"
    )

    @model_validator(mode="after")
    def _street_goes_with_synthetic(self) -> "Source":
        if (self.layout == "synthetic") != (self.street is not None):
            raise ValueError("`street` goes with layout `synthetic`, and only with it")
        return self


class Detector(Settings):
    """Appearance boxes, then motion boxes for what they missed (paper III-A; VEC's rules)."""

    kind: Literal["yolo", "torchvision", "motion", "import"] = setting(
        "yolo", "where appearance boxes come from; `motion` has none"
    )
    weights: str | None = setting(
        "yolo11n.pt", "file or folder below `weights/<data set>`; for `torchvision` a model name"
    )
    boxes: str | None = setting(
        None, "with `import`: files below `data/<data set>`; `{split}`: training or train, testing or test"
    )
    imported_with_motion: bool = setting(
        False, "imported boxes already hold motion boxes: no rule is applied, none are added"
    )
    image_size: int = setting(640, "longer side the detector works at", unit="px", ge=32)
    confidence: Fraction = setting(0.5, "a detection needs more than this", unit="0 to 1", source="VEC")
    min_area: int = setting(100, "least box area, sides counted +1", unit="px²", source="VEC", ge=1)
    max_cover: Fraction = setting(
        0.6, "a box covered by a larger one by more than this share of itself is dropped", unit="0 to 1", source="VEC"
    )
    motion: bool = setting(True, "add motion boxes for what the detector missed", source="VEC")
    motion_threshold: int = setting(
        18, "a pixel moves where it changes by more than this", unit="grey levels", source="VEC", ge=0, le=510
    )
    motion_kernel: Annotated[int, AfterValidator(_odd)] = setting(
        3, "side of the Gaussian kernel before it, odd", unit="px", source="VEC", ge=1
    )
    motion_min_area: int = setting(100, "least area of a motion box", unit="px²", source="VEC", ge=1)
    grow: int = setting(
        2, "what a motion box, and a box blanked out before it, grows by on every side", unit="px", source="VEC", ge=0
    )

    @model_validator(mode="after")
    def _kind_has_its_file(self) -> "Detector":
        if self.kind in ("yolo", "torchvision") and not self.weights:
            raise ValueError(f"kind `{self.kind}` needs `weights`")
        if (self.kind == "import") != (self.boxes is not None):
            raise ValueError("`boxes` goes with kind `import`, and only with it")
        return self


class Flow(Settings):
    """Dense optical flow t -> t+1, px per frame. The paper's is FlowNet 2.0; the default needs no weights."""

    kind: Literal["dis", "raft_small", "raft_large", "import"] = setting(
        "dis", "estimator; the paper's FlowNet 2.0 is not among them"
    )
    preset: Literal["ultrafast", "fast", "medium"] = setting("medium", "with `dis`: OpenCV's preset")
    size: Pair | None = setting(
        None, "working width and height; vectors are rescaled. null: the frames' own", unit="px"
    )
    fields: str | None = setting(
        None, "with `import`: folder below `data/<data set>`, one field a frame, `{split}/{clip}` inside"
    )

    @model_validator(mode="after")
    def _import_has_its_folder(self) -> "Flow":
        if (self.kind == "import") != (self.fields is not None):
            raise ValueError("`fields` goes with kind `import`, and only with it")
        return self


class Cube(Settings):
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


class Model(Settings):
    """STATE (paper III-B), or a baseline of the same widths."""

    kind: Literal["state", "conv_ae", "convlstm_ae", "unet"] = setting("state", "architecture")
    widths: Annotated[tuple[int, int, int], BeforeValidator(_tuple)] = setting(
        (32, 64, 128), "encoder widths; the last is d", unit="channels", source="paper IV-B"
    )
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

    epochs: int = setting(20, "passes over the training cubes", unit="epochs", source="paper IV-B", ge=1)
    batch: int = setting(128, "cubes a step", unit="cubes", source="authors", ge=1)
    lr: float = setting(0.001, "Adam's learning rate", source="paper IV-B", gt=0)
    adam_eps: float = setting(0.0000001, "Adam's epsilon", source="paper IV-B", gt=0)
    schedule: Literal["constant", "cosine"] = setting("constant", "learning rate over the run", source="authors")
    max_cubes: int | None = setting(
        None, "train on at most this many, drawn evenly by the seed; null: all", unit="cubes", ge=1
    )
    hold_out_every: int = setting(
        5,
        "every so many-th piece of the training footage (a clip, or a part of a long one) is not trained on: scores "
        "are calibrated on it, and the threshold set; 0: none, and both are done on what was trained on",
        unit="pieces",
        ge=0,
    )
    seed: int = setting(0, "of weights and data order", ge=0)
    checkpoint_seconds: float = setting(60.0, "at most this long is lost to a kill", unit="s", gt=0)


class Compute(Settings):
    """How, not what: precision and cores."""

    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "of the networks; `auto`: bf16 where the processor multiplies it natively"
    )
    device: Literal["auto", "cpu", "cuda"] = setting("auto", "`auto`: a GPU where there is one")
    workers: int = setting(2, "clips worked on at a time in detect, flow and build", unit="processes", ge=1, le=256)
    score_batch: int = setting(32, "scored at a time; changes no score beyond rounding", unit="cubes", ge=1)


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
    branches: Literal["both", "raw", "flow"] = setting(
        "both", "the branches that perturb and score", source="paper III-E"
    )
    w_raw: float = setting(1.0, "w_r, weight of the standardised raw error", source="paper IV-B, ShanghaiTech", ge=0)
    w_flow: float = setting(1.0, "w_m, weight of the standardised flow error", source="paper IV-B", ge=0)
    threshold_quantile: Fraction = setting(
        0.99, "of normal training frames' scores: what scores higher is called anomalous", unit="0 to 1"
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

    datasets: Annotated[tuple[str, ...], BeforeValidator(_tuple)] = setting(..., "those that a bare `dvc repro` runs")
    compute: Compute = Compute()
    dataset: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")], Dataset]

    @model_validator(mode="after")
    def _listed_are_described(self) -> "Params":
        for name in self.datasets:
            if name not in self.dataset:
                raise ValueError(f"`datasets` lists {name!r}, which `dataset` does not describe")
        return self


OWN_FOOTAGE = Dataset(
    source=Source(layout="videos"),
    detector=Detector(confidence=0.25, min_area=400, motion_kernel=5, motion_min_area=400),
    model=Model(widths=(16, 32, 64)),
    training=Training(epochs=5, batch=64, schedule="cosine", max_cubes=20_000),
)
"""What `vad train` learns own footage with unless told otherwise: half the paper's widths and a part of the cubes, so
that a machine without a GPU is done within hours; a COCO YOLO's boxes, and motion's for what it misses."""


def load_group(path: Path) -> Dataset:
    """A data set's settings from a YAML file that holds them alone. Raises VadError as `load_params` does."""
    try:
        return Dataset.model_validate(_read_yaml(path))
    except ValidationError as error:
        raise VadError(f"{path}: {first_problem(error, within=('dataset', path.stem))}") from None


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
    except (YAMLError, UnicodeDecodeError) as error:
        raise VadError(f"{path}: not YAML: {' '.join(str(error).split())}") from None


def load_dataset(name: str, path: Path = Path("params.yaml")) -> tuple[Dataset, Compute]:
    """One data set's settings, by its name in `params.yaml`. Raises VadError as `load_params` does."""
    params = load_params(path)
    if name not in params.dataset:
        raise VadError(f"{path}: no data set {name!r}; there are: {', '.join(sorted(params.dataset))}")
    return params.dataset[name], params.compute


def first_problem(error: ValidationError, within: tuple[str, ...] = ()) -> str:
    """One line for the first of pydantic's errors: the key, what is wrong, what is valid.

    `within` are the keys, in params.yaml, of the group that was validated.
    """
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]") or "the file"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        valid = ", ".join(_fields_at((*within, *first["loc"][:-1])))
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


def reference(group: type[Settings] = Params, place: str = "") -> str:
    """Markdown of every key below a group: its default, unit or valid values, meaning, and where the default is from.

    Of `Params` a whole page, with a table for each group; of another group, which lies at `place`, its tables alone.
    """
    rows, below = [], []
    for name, field in group.model_fields.items():
        inner = _group_of(field.annotation)
        if inner is None:
            about = field.json_schema_extra
            values = " ".join(f"`{value}`" for value in _values(field.annotation))
            cells = f"`{name}`", f"`{_plain(field)}`", values or about["unit"], field.description, about["source"]
            rows.append(f"| {' | '.join(cells)} |")
        else:
            key = f"{name}.<data set>" if name == "dataset" else name
            below.append(reference(inner, f"{place}.{key}" if place else key))
    heading = f"## `{place}`\n\n{inspect.getdoc(group)}" if place else _HEADING
    table = ["| key | default | unit or values | meaning | source of the default |", "| --- " * 5 + "|", *rows]
    return "\n\n".join([heading, "\n".join(table), *below])


_HEADING = """# Settings

Every key of `params.yaml`. What a group leaves out has the default; unknown keys are errors. A key's full name is its
group's and its own: `dvc exp run -S dataset.synthetic.eta=0.005`. Sources: *paper* is STATE (Wang et al., ICDM 2022),
*authors* its authors' public code, *VEC* the extraction of objects that the paper adopts (Yu et al., ACM MM 2020), here
with its values for Ped2; where none is named, the default is this project's choice. This page is what `vad settings`
prints."""


def _group_of(annotation: Any) -> type[Settings] | None:
    """The settings group an annotation holds: itself, in a union with None, or as a dictionary's values."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    inner = [_group_of(part) for part in getattr(annotation, "__args__", ())]
    return next((group for group in inner if group is not None), None)


def _values(annotation: Any) -> tuple[Any, ...]:
    """The values of a setting that is one of a few; () for others."""
    if annotation is bool:
        return ("true", "false")
    return annotation.__args__ if get_origin(annotation) is Literal else ()


def _plain(field: FieldInfo) -> str:
    """A default as params.yaml would have it."""
    if field.is_required():
        return "required"
    if field.default is None:
        return "null"
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return str(list(field.default)) if isinstance(field.default, tuple) else str(field.default)
