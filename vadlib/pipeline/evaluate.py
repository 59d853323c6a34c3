"""Stage evaluate: the metrics, and the tables behind its plots."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from vadlib.clips import Clip
from vadlib.errors import VadError
from vadlib.files import write_json
from vadlib.metrics import evaluate_frames, micro_auroc, rank_empty_frames_last, roc_points
from vadlib.pipeline.places import Places
from vadlib.settings import Dataset
from vadlib.tables import read_table, write_csv


def evaluate_scores(places: Places, settings: Dataset) -> Counter[str]:
    """The metrics file, and the tables behind its plots."""

    clips = places.load_manifest().split("testing")
    labels = [clip.labels() for clip in clips]
    if any(clip_labels is None for clip_labels in labels):
        unlabelled = next(c.name for c, found in zip(clips, labels, strict=True) if found is None)
        raise VadError(
            f"data set {places.name}: testing clip {unlabelled} has no labels, so there is nothing to evaluate; "
            f"its scores are in {places.scores}"
        )
    results = {eta: _frame_scores(places, clips, eta) for eta in settings.eta}
    metrics = {eta: evaluate_frames(labels, [t["score"].to_numpy() for t in tables]) for eta, tables in results.items()}
    headline = results[settings.eta[0]]
    scores = [table["score"].to_numpy() for table in headline]
    floor = micro_auroc(labels, rank_empty_frames_last([table["floor"].to_numpy() for table in headline]))
    first = metrics[settings.eta[0]]
    counts = {
        "clips": len(clips),
        "frames": sum(clip.frames for clip in clips),
        "anomalous frames": int(sum(found.sum() for found in labels)),
        "frames without boxes": int(sum((table["boxes"] == 0).sum() for table in headline)),
        "cubes": int(sum(table["boxes"].sum() for table in headline)),
    }
    summary = {
        "auroc": {**first["auroc"], "floor": floor},
        **{key: value for key, value in first.items() if key != "auroc"},
        "eta": settings.eta[0],
        "counts": {key.replace(" ", "_"): value for key, value in counts.items()},
    }
    write_json(places.metrics / "metrics.json", summary)
    # Of one class alone there is no curve.
    fpr, tpr = roc_points(labels, scores) if summary["auroc"]["micro"] is not None else ((), ())
    write_csv(places.metrics / "roc.csv", pd.DataFrame({"false_positive_rate": fpr, "true_positive_rate": tpr}))
    curves = [
        t.assign(label=found.astype(int))[["clip", "frame", "score", "label"]]
        for t, found in zip(headline, labels, strict=True)
    ]
    write_csv(places.metrics / "frame_scores.csv", pd.concat(curves))
    sweep = [
        {
            "eta": eta,
            **m["auroc"],
            "average_precision": m["average_precision"],
            "equal_error_rate": m["equal_error_rate"],
        }
        for eta, m in sorted(metrics.items())
    ]
    write_csv(places.metrics / "eta.csv", pd.DataFrame(sweep))
    _print_summary(places.name, summary)
    return Counter(counts)


def _frame_scores(places: Places, clips: tuple[Clip, ...], eta: float) -> list[pd.DataFrame]:
    """The frame table of one eta, clip by clip."""
    path = places.scores_of(eta, "frames")
    by_clip = dict(tuple(read_table(path, places.made_by("score")).groupby("clip")))
    for clip in clips:
        found = len(by_clip.get(clip.name, ()))
        if found != clip.frames:
            raise VadError(
                f"{path}: clip {clip.name} has {found} scores, but {clip.frames} frames; run {places.made_by('score')}"
            )
    return [by_clip[clip.name] for clip in clips]


def _print_summary(name: str, summary: Mapping[str, Any]) -> None:
    def percent(value: float | None) -> str:
        return "  none" if value is None else f"{100 * value:6.2f}"

    rows = {
        "AUROC micro, raw (headline)": summary["auroc"]["micro"],
        "AUROC macro, raw": summary["auroc"]["macro"],
        "AUROC of the untrained floor": summary["auroc"]["floor"],
        "average precision": summary["average_precision"],
        "equal error rate": summary["equal_error_rate"],
    }
    print(f"{name}, eta {summary['eta']:g}, per cent")
    for label, value in rows.items():
        print(f"  {label:30}{percent(value)}")
