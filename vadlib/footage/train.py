"""Learn from a folder of normal videos by the very stages of the pipeline, without data set or DVC."""

import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from vadlib.clips import Manifest, save_manifest
from vadlib.datasets.listing import clip_paths, probe_all
from vadlib.errors import VadError
from vadlib.io.files import sha256, write_text
from vadlib.pipeline import build, detect, fit_scores, flow, package, train
from vadlib.pipeline.mapping import fingerprint, publish
from vadlib.pipeline.places import Places
from vadlib.scoring.model_folder import with_yolo
from vadlib.settings import Compute, Dataset


def train_on_footage(
    footage: Path,
    output: Path,
    settings: Dataset,
    compute: Compute,
    *,
    weights: Path | None = None,
    yolo: Path | None = None,
) -> Counter[str]:
    """Learn what is normal from the videos, or folders of images, in a folder, and leave the model folder `output`.

    Artefacts are kept in `<output>.work` until all is done: killed, the same call goes on from there. Each stage is
    run again only where its settings, or those of a stage before it, the footage or the code have changed.

    Args:
        weights: folder of the weights that the settings name; None: below the work folder, where those that are
            published are fetched to.
        yolo: weights of a YOLO to use instead of the settings' detector.

    Raises VadError as the stages do, and where a setting names boxes or flow computed elsewhere.
    """
    if yolo is not None:
        settings = settings.model_copy(update={"detector": with_yolo(settings.detector, yolo)})
        weights = None
    if settings.detector.kind == "import" or settings.flow.kind == "import":
        raise VadError(
            f"{footage}: the settings import boxes or flow, and there are none of this footage; name a detector's "
            "weights with --detector-weights, or other settings"
        )
    output = output.absolute()
    work = output.with_name(f"{output.name}.work")
    places = Places(
        output.name, footage.absolute(), weights or work / "weights" / "detector", work, work / "metrics", "vad train"
    )  # fmt: skip
    mark = fingerprint(compute.precision, places.data, str(weights), "" if yolo is None else sha256(yolo))
    if yolo is not None:
        (shutil.copytree if yolo.is_dir() else shutil.copyfile)(yolo, _cleared(places.weights / yolo.name))
    counts: Counter[str] = Counter()
    for name, groups, stage in _STAGES:
        mark = fingerprint(mark, *groups(settings))
        done = work / "done" / name
        if done.is_file() and done.read_text(encoding="ascii") == mark:
            continue
        done.unlink(missing_ok=True)
        stage(places, settings, compute)
        write_text(done, mark)
    package.package_model(places, work / "package", settings, compute)
    clips = places.load_manifest().clips
    counts.update(clips=len(clips), frames=sum(clip.frames for clip in clips))
    for clip in clips:
        with closing(places.shard(clip, "raw")) as shard:
            counts["cubes"] += len(shard)
    publish(work / "package", output)
    shutil.rmtree(work)
    return counts


def _cleared(path: Path) -> Path:
    """A path with nothing there, in a folder that is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    return path


def index_footage(places: Places, settings: Dataset, compute: Compute) -> None:
    """What `prepare` does for a data set: here every clip is normal and for training."""
    layout = "normal footage: videos, or folders of numbered images, one for each clip"
    paths = clip_paths(places.data, layout)
    if not paths:
        raise VadError(f"{places.data}: no videos in the folder; expected {layout}")
    clips = probe_all(paths, "training", None)
    save_manifest(Manifest(places.name, "videos", tuple(clips)), places.manifest)


Stage = Callable[[Places, Dataset, Compute], Any]
# In the order of dvc.yaml: the name, the settings that it depends on beside those of all before it, the function.
_STAGES: list[tuple[str, Callable[[Dataset], list[Any]], Stage]] = [
    ("prepare", lambda s: [], index_footage),
    ("detect", lambda s: [s.detector], detect.detect_boxes),
    ("flow", lambda s: [s.flow], flow.compute_flow),
    ("build_raw", lambda s: [s.cube], lambda p, s, c: build.build_cubes(p, "raw", s, c)),
    ("build_flow", lambda s: [], lambda p, s, c: build.build_cubes(p, "flow", s, c)),
    ("train_raw", lambda s: [s.model, s.training], lambda p, s, c: train.train_model(p, "raw", s, c)),
    ("train_flow", lambda s: [], lambda p, s, c: train.train_model(p, "flow", s, c)),
    ("fit_scores", lambda s: [], fit_scores.fit_error_statistics),
]
