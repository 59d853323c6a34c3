"""Stage report: a scored data set as one HTML page."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vadlib.clips import read_frames
from vadlib.cubes.cut import window
from vadlib.engine.engine import Engine, make_engine
from vadlib.errors import VadError
from vadlib.io.files import read_json
from vadlib.io.ownership import check
from vadlib.io.tables import read_table
from vadlib.manifest import Clip, Manifest
from vadlib.pipeline.calibrated import load_calibration
from vadlib.pipeline.places import BOX, Places
from vadlib.pipeline.scorers import scoring_networks
from vadlib.pipeline.sets import open_shard
from vadlib.report.contents import Anomaly, Report, ReportClip, picture_around
from vadlib.report.inspection import CubeView, Moment, TopMoments, inspect_cubes
from vadlib.report.page import write_report
from vadlib.scoring.words import reason
from vadlib.settings import ComputeSettings, DatasetSettings


def report_scores(places: Places, settings: DatasetSettings, compute: ComputeSettings, output: Path) -> Counter[str]:
    """Write the page of the first eta's scores of the testing clips; with metrics where all of them are labelled.

    Args:
        output: the page.
    """
    check(output)
    manifest = places.load_manifest()
    clips = manifest.split("testing")
    top: TopMoments[None] = TopMoments()
    report_clips = []
    tables = []
    for clip in clips:
        table = _frames_of(places, settings.eta[0], clip)
        scores = table["best"].to_numpy(np.float64)
        for frame, score in enumerate(scores):
            top.offer(clip.name, frame, float(score), lambda: None)
        top.end_clip()
        report_clips.append(ReportClip(clip.name, scores, fps=clip.fps, labels=clip.labels()))
        tables.append(table["boxes"].to_numpy())
    labelled = all(clip.anomalous is not None for clip in clips)
    anomalies = _anomalies(places, settings, make_engine(compute), clips, top.moments())
    report = Report(
        title=places.name,
        clips=report_clips,
        threshold=load_calibration(places).thresholds["best"].value,
        anomalies=anomalies,
        metrics=read_json(places.metrics / "metrics.json", places.made_by("evaluate")) if labelled else None,
        eta=settings.eta[0],
        counts=_counts(places, manifest, tables),
        parameters=settings.model_dump(mode="json"),
    )
    write_report(output, report)
    return Counter(clips=len(clips), frames=sum(clip.frames for clip in clips), moments=len(anomalies))


def _frames_of(places: Places, eta: float, clip: Clip) -> pd.DataFrame:
    path = places.scores_of(eta, "frames")
    table = read_table(path, places.made_by("score"), clip=clip.name)
    if len(table) != clip.frames:
        raise VadError(
            f"{path}: clip {clip.name} has {len(table)} scores, but {clip.frames} frames; run {places.made_by('score')}"
        )
    return table


def _counts(places: Places, manifest: Manifest, boxes: Sequence[np.ndarray]) -> dict[str, int]:
    training, testing = manifest.split("training"), manifest.split("testing")
    fitted = read_json(places.statistics, places.made_by("fit_scores"))
    counts = {
        "training clips": len(training),
        "training frames": sum(clip.frames for clip in training),
        "training cubes": max(of_branch["cubes"] for of_branch in fitted.values()),
        "testing clips": len(testing),
        "testing frames": sum(clip.frames for clip in testing),
        "testing cubes": int(sum(of_clip.sum() for of_clip in boxes)),
        "testing frames without boxes": int(sum((of_clip == 0).sum() for of_clip in boxes)),
    }
    if labels := [of_clip for clip in testing if (of_clip := clip.labels()) is not None]:
        counts["testing frames labelled anomalous"] = int(sum(of_clip.sum() for of_clip in labels))
    return counts


def _anomalies(
    places: Places, settings: DatasetSettings, engine: Engine, clips: Sequence[Clip], moments: Sequence[Moment[None]]
) -> list[Anomaly]:
    """Pictures and cubes of moments, in their order. Footage is read clip by clip, up to the last of its moments."""
    networks = scoring_networks(places, settings, engine)
    objects = load_calibration(places).objects(settings.eta[0])
    counting = [name for name, weight in settings.best.weights.items() if weight]
    by_moment: dict[tuple[str, int], Anomaly] = {}
    for clip in clips:
        wanted = {moment.frame: moment for moment in moments if moment.clip == clip.name}
        if not wanted:
            continue
        cubes = read_table(places.scores_of(settings.eta[0], "cubes"), places.made_by("score"), clip=clip.name)
        rows = {frame: int(cubes["best"][cubes["frame"] == frame].idxmax()) for frame in wanted}
        raw, flow = open_shard(places, clip, "raw"), open_shard(places, clip, "flow")
        views: dict[int, CubeView] = {}
        for frame, row in rows.items():
            (views[frame],) = inspect_cubes(
                networks,
                engine.cubes(raw.read("cubes", slice(row, row + 1))),
                engine.flows(flow.read("cubes", slice(row, row + 1))),
                [window(frame, clip.frames, settings.cube.context).index(frame)],
                settings.eta[0],
                settings.model.p,
                settings.perturbation_loss,
                engine,
            )
        raw.close()
        flow.close()
        for frame, picture in _frames(clip, wanted):
            box: Any = tuple(float(edge) for edge in cubes.loc[rows[frame], BOX])
            parts = {name: float(cubes.loc[rows[frame], f"{name}_part"]) for name in counting}
            by_moment[clip.name, frame] = Anomaly(
                clip.name, frame, wanted[frame].score, box, picture_around(picture, box), views[frame],
                reason(parts, objects) if settings.best.calibration == "tail" else "",
            )  # fmt: skip
    return [by_moment[moment.clip, moment.frame] for moment in moments]


def _frames(clip: Clip, wanted: dict[int, Any]) -> Any:
    last = max(wanted)
    for number, frame in enumerate(read_frames(clip)):
        if number in wanted:
            yield number, frame
        if number == last:
            return
