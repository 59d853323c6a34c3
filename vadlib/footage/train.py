"""Learn from a folder of normal videos by the very stages of the pipeline, without data set or DVC."""

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vadlib.clips import Manifest, probe_footage, save_manifest
from vadlib.errors import FootageError, Losses, VadError
from vadlib.footage.find import LeftOut, find_footage
from vadlib.io.files import copy, read_json, sha256, write_json, write_text
from vadlib.io.ownership import check, check_apart, discard, own, publish, remove_own, settle
from vadlib.pipeline import build_flow, build_raw, calibrate, detect, fit_scores, flow, package, train
from vadlib.pipeline.mapping import fingerprint
from vadlib.pipeline.places import Places
from vadlib.pipeline.scorers import load_calibration
from vadlib.pipeline.sets import open_shard
from vadlib.scoring.model_folder import with_yolo
from vadlib.scoring.thresholds import Threshold
from vadlib.settings import ComputeSettings, DatasetSettings


def train_on_footage(
    footage: Path,
    output: Path,
    settings: DatasetSettings,
    compute: ComputeSettings,
    *,
    weights: Path | None = None,
    yolo: Path | None = None,
    left_out: LeftOut | None = None,
) -> Counter[str]:
    """Learn what is normal from the videos, or folders of images, in a folder, and leave the model folder `output`.

    Artefacts are kept in `<output>.work` until all is done: killed, the same call goes on from there. Each stage is
    run again only where its settings, or those of a stage before it, the footage or the code have changed.

    Args:
        weights: folder of the weights that the settings name; None: below the work folder, where those that are
            published are fetched to.
        yolo: weights of a YOLO to use instead of the settings' detector.
        left_out: is told of the clips, and parts of them, that cannot be read; None: nothing may be left out.

    What this tool made at `output` is replaced, and the work folder removed, but for what somebody else put there.

    Raises VadError as the stages do, before any work where `output` or the work folder is, holds or lies in the footage
    or is somebody else's, and where a setting names boxes or flow computed elsewhere.
    """
    if yolo is not None:
        settings = settings.model_copy(update={"detector": with_yolo(settings.detector, yolo)})
        weights = None
    if settings.detector.kind == "import" or settings.flow.kind == "import":
        raise VadError(
            f"{footage}: the settings import boxes or flow, and there are none of this footage; name a detector's "
            "weights with --detector-weights, or other settings"
        )
    left_out = left_out or LeftOut(strict=True)
    if next(find_footage(iter([footage]), LeftOut(quiet=True)), None) is None:
        raise VadError(f"{footage}: no footage there; expected {LAYOUT}")
    sources = [footage, *([] if yolo is None else [yolo])]
    for source in sources:
        check_apart(output, source)
    output = output.resolve()
    work = output.with_name(f"{output.name}.work")
    for source in sources:
        check_apart(work, source)
    check(output, folder=True)
    places = Places(
        output.name, footage.absolute(), weights or work / "weights" / "detector", work, work / "metrics", "vad train"
    )  # fmt: skip
    own(work)
    mark = fingerprint(__name__, compute.precision, places.data, str(weights), "" if yolo is None else sha256(yolo))
    if yolo is not None:
        remove_own(places.weights / yolo.name)  # other files of a folder
        copy(yolo, places.weights / yolo.name)
    counts: Counter[str] = Counter()
    for name, groups, stage in _STAGES:
        mark = fingerprint(__name__, mark, *groups(settings))
        done = work / "done" / name
        if not (done.is_file() and done.read_text(encoding="ascii") == mark):
            discard(done)
            before = set(work.glob("weights/*/*"))
            stage(places, settings, compute)
            settle(*set(work.glob("weights/*/*")) - before)  # were fetched
            write_text(done, mark)
        if name == "prepare":
            left_out.again(LeftOut(**read_json(_left_out(places), "the same command")))
    package.package_model(places, work / "package", settings, compute)
    clips = places.load_manifest().clips
    counts.update(clips=len(clips), frames=sum(clip.frames for clip in clips))
    for clip in clips:
        with closing(open_shard(places, clip, "raw")) as shard:
            counts["cubes"] += len(shard)
    threshold = load_calibration(places).thresholds["best"]
    if not threshold.is_sure:
        print(f"warning: {too_short(threshold)}", file=sys.stderr)
    publish(work / "package", output, copied=True)
    remove_own(work)
    counts.update(left_out.counts())
    return counts


def too_short(threshold: Threshold) -> str:
    """What to say of a threshold that was set on too little footage."""
    return (
        f"the threshold was set on {threshold.frames:,} frames, and to promise that {100 * threshold.promised:g} % of "
        f"normal frames are above it takes about {threshold.wanted:,} held out of training: five times as many in all. "
        f"Until then expect more false alarms, and set --threshold by what you see"
    )


LAYOUT = "normal footage: videos, or folders of images, one for each clip, in folders of any depth"


def index_footage(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> None:
    """What `prepare` does for a data set: here every clip is normal and for training, and bad ones are left out."""
    left_out, clips = LeftOut(quiet=True), []
    for footage in tqdm(list(find_footage([places.data], left_out)), desc="index", unit="clip", disable=None):
        losses = Losses()
        try:
            clips.append(probe_footage(footage.source, footage.name, "training", losses))
        except FootageError as error:
            left_out.clip(str(error))
            continue
        losses.notes.clear()  # of times, which nothing here goes by
        left_out.of_clip(losses)
    if not clips:
        raise VadError("; ".join([f"{places.data}: none of the footage can be read", *left_out.lines]))
    save_manifest(Manifest(places.name, "videos", tuple(clips)), places.manifest)
    write_json(_left_out(places), asdict(left_out))


def _left_out(places: Places) -> Path:
    """Where a run that goes on finds what the one before left out."""
    return places.prepared / "left_out.json"


Stage = Callable[[Places, DatasetSettings, ComputeSettings], Any]
# In the order of dvc.yaml: the name, the settings that it depends on beside those of all before it, the function.
_STAGES: list[tuple[str, Callable[[DatasetSettings], list[Any]], Stage]] = [
    ("prepare", lambda s: [], index_footage),
    ("detect", lambda s: [s.detector], detect.detect_boxes),
    ("flow", lambda s: [s.flow], flow.compute_flow),
    ("build_raw", lambda s: [s.cube], lambda p, s, c: build_raw.build_raw_cubes(p, s, c)),
    ("build_flow", lambda s: [], lambda p, s, c: build_flow.build_flow_cubes(p, s, c)),
    ("train_raw", lambda s: [s.model, s.training], lambda p, s, c: train.train_model(p, "raw", s, c)),
    ("train_flow", lambda s: [], lambda p, s, c: train.train_model(p, "flow", s, c)),
    ("fit_scores", lambda s: [], fit_scores.fit_scores),
    (
        "calibrate",
        lambda s: [s.eta, s.perturbation_loss, s.best, s.paper, s.false_alarms],
        calibrate.calibrate,
    ),
]
