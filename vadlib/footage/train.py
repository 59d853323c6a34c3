"""Learn from a folder of normal videos by the very stages of the pipeline, without data set or DVC."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from vadlib.boxes.kinds.registry import weights_file
from vadlib.boxes.table import Boxes
from vadlib.errors import VadError
from vadlib.footage import index
from vadlib.footage.ahead import Ahead
from vadlib.footage.duration import expected
from vadlib.footage.find import LeftOut, find_footage
from vadlib.footage.index import index_footage, left_out_of
from vadlib.footage.learned import Learned, learned_from, save_learned
from vadlib.footage.scene import WHOLE, Scene, save_scene
from vadlib.io.files import copy, read_json, sha256, write_json
from vadlib.io.ownership import (
    BEING_MADE,
    LEDGER,
    SCRATCH,
    alone_in,
    check,
    check_apart,
    discard,
    note,
    own,
    publish,
    remove_empty,
    remove_own,
    set_aside,
    settle,
    without_links,
)
from vadlib.io.progress import tell
from vadlib.io.tables import read_metadata, read_parts, write_table
from vadlib.pipeline import build_flow, build_raw, calibrate, detect, fit_scores, flow, package, train
from vadlib.pipeline.calibrated import load_calibration
from vadlib.pipeline.mapping import fingerprint
from vadlib.pipeline.places import BOX, Places
from vadlib.pipeline.sets import open_shard
from vadlib.scoring.model_folder import with_yolo
from vadlib.scoring.thresholds import Threshold
from vadlib.scoring.tracks import horizon_of
from vadlib.settings import ComputeSettings, DatasetSettings, DetectorSettings, OnnxSettings

Stage = Callable[[Places, DatasetSettings, ComputeSettings], Any]


def train_on_footage(
    footage: Path,
    output: Path,
    settings: DatasetSettings,
    compute: ComputeSettings,
    *,
    weights: Path | None = None,
    yolo: Path | None = None,
    scene: Scene = WHOLE,
    left_out: LeftOut | None = None,
    instead: Mapping[str, Stage] | None = None,
    since: Sequence[Any] = (),
    before: Learned | None = None,
) -> Counter[str]:
    """Learn what is normal from the videos, or folders of images, in a folder, and leave the model folder `output`.

    Artefacts are kept in `<output>.work` until all is done: killed, the same call goes on from there. Each stage is
    run again only where its settings, or those of a stage before it, the footage or the code have changed, or where
    what it left was damaged: that is set aside in `<output>.work/damaged`, and said.

    Args:
        weights: folder of the weights that the settings name; None: below the work folder, where those that are
            published are fetched to.
        yolo: weights of a YOLO to use instead of the settings' detector.
        scene: what of the pictures counts; the model folder keeps it.
        left_out: is told of the clips, and parts of them, that cannot be read; None: nothing may be left out.
        instead: what is run in place of stages of these names.
        since: what that depends on, as `fingerprint` takes it.
        before: from what the model learned before.

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
    instead = instead or {}
    if "prepare" not in instead and next(find_footage(iter([footage]), LeftOut(quiet=True)), None) is None:
        raise VadError(f"{footage}: no footage there; expected {LAYOUT}")
    sources = [footage, *([] if yolo is None else [yolo])]
    for source in sources:
        check_apart(output, source)
    output = without_links(output)
    work = output.with_name(f"{output.name}.work")
    for source in sources:
        check_apart(work, source)
    check(output, folder=True)
    places = Places(
        output.name, footage.absolute(), weights or work / "weights" / "detector", work, work / "metrics", "vad train"
    )  # fmt: skip
    own(work)
    with alone_in(work), Ahead() as ahead:
        mark = fingerprint(
            index.__name__, compute.precision, places.data, str(weights), "" if yolo is None else sha256(yolo), *since
        )
        if yolo is not None:
            remove_own(places.weights / yolo.name)  # other files of a folder
            copy(yolo, places.weights / yolo.name)
        _fetch_weights(places, settings)
        counts: Counter[str] = Counter()
        for name, groups, stage in _STAGES:
            mark = fingerprint(_CODE[name], mark, *groups(settings), *([scene.mark] if name == "detect" else []))
            done = work / _DONE / name
            if not _is_done(done, mark, work):
                discard(done)
                there = _files(work)
                if name == "train_raw" and not {"train_raw", "train_flow"} & instead.keys():
                    ahead.begin("flow", places, settings, compute)
                if name == "train_flow":
                    ahead.wait()
                instead.get(name, stage)(places, settings, compute)
                if name == "detect" and scene.mark != WHOLE.mark:
                    keep_boxes(places, scene, settings.detector)
                made = [path for path, state in _files(work).items() if there.get(path) != state]
                settle(*(path for path in made if path.is_relative_to(work / "weights")))  # were fetched
                digests = {path.relative_to(work).as_posix(): sha256(path) for path in made}
                write_json(done, {"mark": mark, "made": digests})
            if name == "prepare":
                left_out.again(LeftOut(**read_json(left_out_of(places), "the same command")))
                tell_amount(places, settings)
                is_beginning = not instead and not (work / _DONE / "detect").exists()
                if is_beginning and (said := expected(places, settings, compute, scene)):
                    tell(said)
        package.package_model(places, work / "package", settings, compute)
        clips = places.load_manifest().clips
        note(work / "package", BEING_MADE)
        save_learned(learned_from(clips, before), work / "package")
        if scene.mark != WHOLE.mark:
            save_scene(scene, work / "package")
        settle(work / "package")
        counts.update(clips=len(clips), frames=sum(clip.frames for clip in clips))
        for clip in clips:
            with closing(open_shard(places, clip, "raw")) as shard:
                counts["cubes"] += len(shard)
        threshold = load_calibration(places).thresholds["best"]
        if threshold.frames < SURELY * threshold.wanted:
            tell(f"warning: {too_short(threshold)}")
        publish(work / "package", output, copied=True)
        remove_own(work / _DONE)  # first: a kill leaves nothing that says it is done, and is gone
        remove_own(work)
        counts.update(left_out.counts())
        return counts


def keep_boxes(places: Places, scene: Scene, detector: DetectorSettings) -> None:
    """Leave, of what stage `detect` found, the boxes that count."""
    sizes = {clip.name: (clip.width, clip.height) for clip in places.load_manifest().clips}

    def kept() -> Iterator[pd.DataFrame]:
        for part in read_parts(places.boxes):
            wanted = part["frame"].to_numpy() % scene.settings.every == 0
            for clip, rows in part.groupby("clip").indices.items():
                own, source = part.iloc[rows], part["source"].iloc[rows].to_numpy(dtype="<U10")
                boxes = Boxes(own[BOX].to_numpy(), own["score"].to_numpy(), own["cls"].to_numpy(), source)
                wanted[rows] &= scene.wants(boxes, *sizes[str(clip)], detector)
            yield part[wanted]

    write_table(places.boxes, kept(), read_metadata(places.boxes, places.made_by("detect")))


def _files(work: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of change of every file that stages left in a work folder."""
    found = {}
    for path in sorted(work.rglob("*")):
        parts = path.relative_to(work).parts
        a_stages = parts[0] not in (_DONE, _DAMAGED) and SCRATCH.name not in parts and path.name != LEDGER
        if a_stages and path.is_file() and not path.is_symlink():
            found[path] = (path.stat().st_size, path.stat().st_mtime_ns)
    return found


def _is_done(done: Path, mark: str, work: Path) -> bool:
    """Whether a stage was done, and all that it left is whole. Of what is not, the damaged files are set aside and the
    others removed, so that the stage can be run again."""
    if not done.exists():
        return False
    try:
        found = read_json(done, "the same command")
        before, made = found["mark"], dict(found["made"])
    except (VadError, KeyError, TypeError, ValueError):
        set_aside(done, work / _DAMAGED)
        return False
    named = {path.relative_to(work).as_posix(): path for path in _files(work)}
    is_whole = {path: sha256(path) == made[name] for name, path in named.items() if name in made}
    if len(is_whole) == len(made) and all(is_whole.values()):
        return bool(before == mark)
    for path, whole in is_whole.items():
        if whole:
            path.unlink()  # it is what the stage left, to the byte
        else:
            set_aside(path, work / _DAMAGED)
        for folder in path.relative_to(work).parents[:-1]:
            remove_empty(work / folder)
    return False


def _fetch_weights(places: Places, settings: DatasetSettings) -> None:
    """Have the detector's file before any work. Raises VadError, with detectors that need another or none."""
    before = set(places.weights.glob("*"))
    try:
        weights_file(settings.detector, places.weights)
    except VadError as error:
        others = "--detector motion, which needs no file"
        if settings.detector.kind != "onnx":
            others += f", or --detector onnx, which needs {OnnxSettings().weights} (Apache-2.0)"
        raise VadError(f"{error}; or take {others}") from None
    if places.weights.is_relative_to(places.work):
        settle(*set(places.weights.glob("*")) - before)


SURELY = 4
"""Times as many frames as it takes for one false alarm at the rate promised. Set on those of one alone, the threshold
of `synthetic` had 6.6 % of other normal frames above it where 1 % was promised, and nobody was warned."""


def tell_amount(places: Places, settings: DatasetSettings) -> None:
    """Say, before it takes its time, how much footage there is, and how much it takes where that is too little."""
    clips = places.load_manifest().clips
    frames = sum(clip.frames for clip in clips)
    known = all(clip.fps for clip in clips)
    lasting = f", {sum(clip.frames / clip.fps for clip in clips if clip.fps) / 60:.1f} minutes" * known
    wanted = SURELY * math.ceil(horizon_of(settings.best) / settings.false_alarms)
    wanted *= max(settings.training.hold_out_every, 1)
    short = f"; about {wanted:,} frames are wanted, so that the threshold is sure" * (frames < wanted)
    tell(f"{frames:,} frames{lasting} of normal footage{short}")


def too_short(threshold: Threshold) -> str:
    """What to say of a threshold that was set on too little footage."""
    return (
        f"the threshold was set on {threshold.frames:,} frames, and to promise that {100 * threshold.promised:g} % of "
        f"normal frames are above it takes about {SURELY * threshold.wanted:,} with objects held out of training: five "
        "times as many in all. Until then several times as many may be: set --threshold by what you see, or have "
        "`vad calibrate` set it by a day's footage"
    )


_DONE, _DAMAGED = "done", "damaged"  # folders of a work folder

LAYOUT = "normal footage: videos, or folders of images, one for each clip, in folders of any depth"


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
# The module whose code decides, with the settings, whether what a stage left still holds.
_CODE = {
    "prepare": index.__name__,
    "detect": detect.__name__,
    "flow": flow.__name__,
    "build_raw": build_raw.__name__,
    "build_flow": build_flow.__name__,
    "train_raw": train.__name__,
    "train_flow": train.__name__,
    "fit_scores": fit_scores.__name__,
    "calibrate": calibrate.__name__,
}
