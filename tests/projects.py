"""A project in miniature: a folder with data in one of the layouts, its settings, and every stage as a function."""

import contextlib
import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from tests import layouts
from tests.layouts import Truth
from vadlib.io.ownership import LEDGER
from vadlib.pipeline import (
    build_flow,
    build_raw,
    calibrate,
    detect,
    evaluate,
    fit_scores,
    flow,
    package,
    prepare,
    score,
    train,
)
from vadlib.pipeline.places import Places
from vadlib.settings import ComputeSettings, DatasetSettings

COMPUTE = ComputeSettings(workers=1, precision="fp32")

# In the order of dvc.yaml: the name there, and the function behind the command.
STAGES: dict[str, Callable] = {
    "prepare": lambda places, settings, compute: prepare.prepare_dataset(places, settings, compute),
    "detect": lambda places, settings, compute: detect.detect_boxes(places, settings, compute),
    "flow": lambda places, settings, compute: flow.compute_flow(places, settings, compute),
    "build_raw": lambda places, settings, compute: build_raw.build_raw_cubes(places, settings, compute),
    "build_flow": lambda places, settings, compute: build_flow.build_flow_cubes(places, settings, compute),
    "train_raw": lambda places, settings, compute: train.train_model(places, "raw", settings, compute),
    "train_flow": lambda places, settings, compute: train.train_model(places, "flow", settings, compute),
    "fit_scores": lambda places, settings, compute: fit_scores.fit_scores(places, settings, compute),
    "calibrate": lambda places, settings, compute: calibrate.calibrate(places, settings, compute),
    "score": lambda places, settings, compute: score.score_clips(places, settings, compute),
    "evaluate": lambda places, settings, compute: evaluate.evaluate_scores(places, settings),
}

# What each stage leaves, below the project's folder.
OUTPUTS = {
    "prepare": "work/mini/prepared/manifest.json",
    "detect": "work/mini/boxes.parquet",
    "flow": "work/mini/flow",
    "build_raw": "work/mini/cubes/raw",
    "build_flow": "work/mini/cubes/flow",
    "train_raw": "work/mini/model/raw.safetensors",
    "train_flow": "work/mini/model/flow.safetensors",
    "fit_scores": "work/mini/model/statistics.json",
    "calibrate": "work/mini/model/calibration.json",
    "score": "work/mini/scores",
    "evaluate": "metrics/mini/metrics.json",
}

MINI = {
    "source": {"layout": "frames"},
    "detector": {"kind": "import", "boxes": "boxes.csv", "rules": None, "motion": None},
    "flow": {"preset": "ultrafast"},
    "cube": {"context": 2, "patch": 8},
    "model": {"widths": [4, 8, 8], "layers": 1, "heads": 2},
    "training": {"epochs": 1, "batch": 8, "hold_out_every": 0},  # of 24 frames none can be spared
    "eta": 0.002,
}

MOTION = {"kind": "motion", "motion": {"threshold": 10, "min_area": 4}}


def settings(**groups) -> DatasetSettings:
    """The miniature settings, with groups changed: `settings(flow={"preset": "fast"})`."""
    return DatasetSettings.model_validate(changed(**groups))


def changed(**groups) -> dict:
    """What params.yaml says of the miniature data set, with keys of groups changed. A new `kind` starts a group."""
    merged = dict(MINI)
    for name, group in groups.items():
        fresh = not isinstance(group, dict) or "kind" in group or "layout" in group
        merged[name] = group if fresh else {**MINI.get(name, {}), **group}
    return merged


def write_params(project: Path, datasets: dict[str, dict], **more) -> None:
    """A params.yaml of these data sets."""
    content = {"datasets": list(datasets), "compute": {"workers": 1, "precision": "fp32"}, "dataset": datasets, **more}
    with (project / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(content, file)


def run_stages(
    settings: DatasetSettings, stages: Iterable[str] = STAGES, compute: ComputeSettings = COMPUTE, name: str = "mini"
):
    """Run stages in the current folder and return their counts by name."""
    # Kept between clips of one run; a test's next project has other files under the same relative paths.
    detect._detector.cache_clear()
    flow._estimator.cache_clear()
    return {stage: STAGES[stage](Places.of(name), settings, compute) for stage in stages}


def make_packaged(folder: Path, stages: Iterable[str] = STAGES, compute: ComputeSettings = COMPUTE, **groups) -> Path:
    """Make a folder with footage in `data/mini`, motion boxes, what the stages leave, and `models/mini` of it.

    `groups` are of settings, to be changed.
    """
    (folder / "data/mini").mkdir(parents=True)
    (folder / "weights/mini").mkdir(parents=True)
    layouts.write_videos(folder / "data/mini", labels=True)
    with contextlib.chdir(folder):
        used = settings(source={"layout": "videos"}, detector=MOTION, **groups)
        run_stages(used, stages, compute)
        package.package_model(Places.of("mini"), Path("models/mini"), used, compute)
    return folder


def until(stage: str) -> list[str]:
    """The stages up to and with this one."""
    return list(STAGES)[: list(STAGES).index(stage) + 1]


def artefacts(project: Path) -> dict[str, bytes]:
    """Every file of the stages, by its path; not the ledgers, which grow with what was tried."""
    files = [p for top in ("work", "metrics") for p in (project / top).rglob("*") if p.is_file() and p.name != LEDGER]
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in sorted(files)}


def leftovers(project: Path) -> list[str]:
    """Files of unfinished writing, anywhere; and folders that a stage leaves beside its outputs."""
    found = [p for p in project.rglob("*") if p.name.endswith(".partial")]
    outputs = {Path(output).relative_to("work/mini").parts[0] for output in OUTPUTS.values() if "work" in output}
    work = project / "work/mini"
    found += [p for p in (work.iterdir() if work.is_dir() else ()) if p.name not in {*outputs, LEDGER}]
    return sorted(p.relative_to(project).as_posix() for p in found)


def write_boxes(file: Path, truth: Truth, extra: Iterable[tuple] = (), without: Iterable[str] = ()) -> None:
    """A box file with the exact boxes of everything drawn; `without` names clips that get none."""
    rows = [row for key in truth.frames if key not in without for row in true_boxes(truth, key)]
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("clip", "frame", "x1", "y1", "x2", "y2"), *rows, *extra])


def true_boxes(truth: Truth, key: str) -> list[tuple]:
    """Rows of the small square that is in every frame, and of the anomaly where there is one."""
    split = key.split("/")[0]
    number = [k for k in truth.frames if k.startswith(split)].index(key)
    rows = []
    for frame, mask in enumerate(truth.masks[key]):
        rows.append((key, frame, 2 * frame, 4 + 2 * number, 2 * frame + 8, 12 + 2 * number))
        if mask.any():
            y, x = np.nonzero(mask)
            rows.append((key, frame, x.min(), y.min(), x.max() + 1, y.max() + 1))
    return rows
