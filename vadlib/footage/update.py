"""Going on from a model with new normal footage, instead of from nothing: what was normal stays normal."""

import contextlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from vadlib.clips import read_footage
from vadlib.engine.engine import make_engine
from vadlib.engine.provenance import made_with
from vadlib.errors import FootageError, Losses, VadError
from vadlib.footage.calibrate import is_watched, labels_of, model_mark, runs_of
from vadlib.footage.find import Footage, LeftOut
from vadlib.footage.index import index_paths
from vadlib.footage.learned import digest_of, read_learned
from vadlib.footage.scene import read_scene
from vadlib.footage.stream import make_scorer, score_frames
from vadlib.footage.train import Stage, train_on_footage
from vadlib.io.arrays import save_arrays
from vadlib.io.files import write_json
from vadlib.io.names import safe_name
from vadlib.io.ownership import check_apart, remove_own
from vadlib.io.progress import progress, tell
from vadlib.manifest import Clip
from vadlib.models.checkpoint import load_model, load_state, save_model, save_state
from vadlib.pipeline.closure import code_digest
from vadlib.pipeline.fitting import fit
from vadlib.pipeline.mapping import fingerprint, scratch_folder
from vadlib.pipeline.places import Places
from vadlib.pipeline.scorers import scoring_networks
from vadlib.pipeline.sets import training_cubes
from vadlib.scoring.evidence import SAMPLE
from vadlib.scoring.model_folder import Package, read_package
from vadlib.scoring.scorer import Scorer, arrays_of, make_evidence
from vadlib.settings import BRANCHES, Branch, ComputeSettings, DatasetSettings
from vadlib.training import Progress, train_branch

EPOCHS, LR = 2, 3e-4
"""Of the new footage: what the networks know is to be kept, and not learned again."""


def update_on_footage(
    package: Package, sources: Sequence[Path], output: Path, compute: ComputeSettings, left_out: LeftOut
) -> Counter[str]:
    """Go on from a model with the normal footage in `sources`, and leave the model folder `output`, which may be the
    model's own.

    The networks go on from where they are; what the other evidence has seen stays, and the new is added; what is normal
    of scores, and the threshold, are set on a part of the new footage that is not trained on. A source that `vad watch`
    wrote gives the videos of events that were called normal; those called real are scored at the end, and a line says
    how many of them the new model tells of. Clips that the model has learned from already are passed over: what it
    makes of them says nothing of what is normal.

    Killed, the same call goes on. Raises VadError as `train_on_footage` does, and where there is no footage.
    """
    for source in sources:
        check_apart(output, source)
        check_apart(output.with_name(f"{output.name}.work"), source)
    watched, mark = [source for source in sources if is_watched(source)], model_mark(package)
    footage = [source for source in sources if source not in watched]
    normal = [clip for source in watched for clip in events_called("normal", source, mark)]
    if not footage and not normal:
        raise VadError(
            f"{', '.join(map(str, sources))}: no event with a video was called normal on the page; call some so, or "
            "name normal footage too"
        )
    training = package.settings.training.model_copy(update={"epochs": EPOCHS, "lr": LR, "schedule": "cosine"})
    settings = package.settings.model_copy(update={"training": training})
    before = read_learned(package.folder)

    def is_known(clip: Footage) -> bool:
        return before is not None and isinstance(clip.source, Path) and digest_of(clip.source) in before.clips

    instead: dict[str, Stage] = {
        "prepare": lambda places, settings, compute: index_paths(
            places, footage, [clip for clip, _ in normal], is_known
        ),
        "train_raw": partial(_go_on, package, "raw"),
        "train_flow": partial(_go_on, package, "flow"),
        "fit_scores": partial(_fit, package),
    }
    counts = train_on_footage(
        footage[0] if footage else watched[0] / "labels.jsonl", output, settings, compute,
        weights=package.detector_weights, scene=read_scene(package.folder, settings.detector), left_out=left_out,
        instead=instead, before=before,
        since=[code_digest(__name__), package.folder, *footage, *(video for _, video in normal)],
    )  # fmt: skip
    if real := [event for source in watched for event in events_called("real", source, mark)]:
        tell(f"note: of {len(real)} events that were called real, the new model tells of {_told_of(real, output)}")
    return counts


def events_called(label: str, watched: Path, mark: str) -> list[tuple[Footage, Path]]:
    """The events of which that was said on the page, and of which there still is a video: this.

    Of several models' those of the one with this mark (`model_mark`), by the name that it was watched under.
    """
    found = []
    names = {run.get("name", "") for run in runs_of(watched) if run["model"] == mark} - {""}
    for row in labels_of(watched):
        video = watched / "events" / row["begin"][:10] / row["event"] / "clip.mp4"
        is_own = not names or row.get("model", "") in {"", *names}
        if is_own and row["label"] == label and video.is_file():
            found.append((Footage(f"events/{safe_name(row['event'])}", video), video))
    return found


def _go_on(
    package: Package, branch: Branch, places: Places, settings: DatasetSettings, compute: ComputeSettings
) -> None:
    """What stage `train` does, from the model's network."""
    if branch not in settings.branches:
        return
    cubes, engine = training_cubes(places, (branch,), settings, drawn=True), make_engine(compute)
    network, _, _ = load_model(package.folder / f"{branch}.safetensors", branch, "vad train")
    mark = fingerprint(__name__, settings.training, package.folder, str(engine), branch, cubes.digest)
    scratch = scratch_folder(places.model(branch).with_suffix(""), mark)
    resume = load_state(scratch / "state.pt")
    total = math.ceil(len(cubes) / settings.training.batch) * settings.training.epochs
    with progress(total, f"train {branch}", "step", done=resume["step"] if resume else 0) as bar:

        def show(now: Progress) -> None:
            bar.update()

        train_branch(
            network, branch, cubes, settings.training, settings.model.p, engine,
            resume=resume, keep=partial(save_state, scratch / "state.pt"), after_step=show,
        )  # fmt: skip
    save_model(places.model(branch), network, settings.model, branch, settings.cube.length, made_with(engine))
    remove_own(scratch)


def _fit(package: Package, places: Places, settings: DatasetSettings, compute: ComputeSettings) -> None:
    """What stage `fit_scores` does, but that what the model's evidence has seen stays. Of more than SAMPLE objects some
    are forgotten, evenly: old ones fade from one update to the next."""
    engine = make_engine(compute)
    evidence = make_evidence(engine, package.evidence, package.folder / "evidence.safetensors")
    scorer = Scorer(settings, scoring_networks(places, settings, engine), evidence, engine)
    statistics = fit(scorer, training_cubes(places, BRANCHES, settings, drawn=False), compute.score_batch)
    write_json(places.statistics, {branch: asdict(found) for branch, found in statistics.items()})
    save_arrays(places.evidence, {name: thinned(array) for name, array in arrays_of(scorer.evidence).items()})


def thinned(array: np.ndarray) -> np.ndarray:
    """At most SAMPLE rows of an array (N, K), evenly; others are as they are."""
    if array.ndim == 1 or len(array) <= SAMPLE:
        return array
    return np.ascontiguousarray(array[np.linspace(0, len(array) - 1, SAMPLE).round().astype(int)])


def _told_of(events: Sequence[tuple[Footage, Path]], model: Path) -> int:
    """Of how many events a model is above its threshold at some frame."""
    package = read_package(model)
    scorer = make_scorer(package, ComputeSettings(score_batch=16))
    count = 0
    for footage, video in events:
        clip = Clip(footage.name, "testing", str(video), 0, 0, 0)
        with contextlib.suppress(FootageError):
            frames = score_frames(scorer, clip, read_footage(video, footage.name, 25.0, Losses()))
            count += any(frame.score > package.threshold.value for frame in frames)
    return count
