"""Stage evaluate: the metrics, and the tables behind its plots. Scores of other systems are evaluated beside them."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vadlib.errors import VadError
from vadlib.evaluation.floors import floor_scores
from vadlib.evaluation.frames import (
    Interval,
    apart,
    apart_auroc,
    clip_draws,
    evaluate_frames,
    frame_intervals,
    macro_auroc,
    micro_auroc,
    rank_empty_frames_last,
    roc_points,
    smoothed_aurocs,
)
from vadlib.evaluation.regions import ClipDetections, evaluate_regions, match_clip
from vadlib.io.files import read_json, write_json
from vadlib.io.ownership import check
from vadlib.io.tables import read_metadata, read_table, write_csv
from vadlib.manifest import Clip
from vadlib.pipeline.calibrated import load_calibration
from vadlib.pipeline.places import BOX, Places
from vadlib.scoring.thresholds import Threshold, count_alarms
from vadlib.scoring.tracks import horizon_of
from vadlib.settings import CONFIGURATIONS, Configuration, DatasetSettings

# The rows of every table that is printed: what they say, and where metrics.json has the value.
_ROWS = {
    "AUROC micro, raw (headline)": "auroc.micro",
    "AUROC macro, raw": "auroc.macro",
    "AUROC of the best untrained floor": "auroc.floor",
    "average precision": "average_precision",
    "equal error rate": "equal_error_rate",
    "RBDC": "rbdc",
    "TBDC": "tbdc",
    "false alarms, promised": "false_alarms.promised",
    "false alarms, measured": "false_alarms.measured",
    "false alarms, apart from anomalies": "false_alarms.apart",
    "anomalous frames found": "false_alarms.recall",
}


def evaluate_scores(places: Places, settings: DatasetSettings) -> Counter[str]:
    """A metrics file for each configuration, and the tables behind the plots, which are of `best`."""
    check(*(_file(places, name) for name in CONFIGURATIONS), places.metrics / "summary.json")
    clips = places.load_manifest().split("testing")
    labels = frame_labels(places, clips)
    results = {eta: _frame_scores(places, clips, eta) for eta in settings.eta}
    headline = results[settings.eta[0]]
    thresholds = load_calibration(places).thresholds
    draws = clip_draws(len(clips))
    floors = _columns_alone(labels, _floors(places, clips, settings.eta[0]), "floor ", draws)
    best_floor = max(floors, key=lambda row: row["micro"] or 0)
    made_with = _made_with(places, settings.eta[0])
    counts = {
        "clips": len(clips),
        "frames": sum(clip.frames for clip in clips),
        "anomalous frames": int(sum(of_clip.sum() for of_clip in labels)),
        "frames without boxes": int(sum((table["boxes"] == 0).sum() for table in headline)),
        "cubes": int(sum(table["boxes"].sum() for table in headline)),
    }
    for name in CONFIGURATIONS:
        scores = [table[name].to_numpy() for table in headline]
        summary, intervals = frame_summary(labels, scores, draws)
        summary["auroc"]["floor"], intervals["auroc.floor"] = best_floor["micro"], best_floor["interval"]
        reach, rates = _reach(settings, name), [clip.fps for clip in clips]
        summary["protocols"].append({"protocol": "apart", **apart_auroc(labels, scores, reach)})
        summary["false_alarms"] = false_alarms(labels, scores, thresholds[name], rates, reach)
        if places.regions.exists():
            of_clips = _detections(places, clips, settings.eta[0], name)
            values, more = evaluate_regions(of_clips, draws)
            summary, intervals = {**summary, **values}, {**intervals, **more}
            counts["regions"] = sum(len(clip.regions) for clip in of_clips)
            counts["tracks"] = sum(len(clip.tracks) for clip in of_clips)
            summary["kinds"] = _by_kind(places, clips, labels, scores)
        # Lists: `dvc metrics` and `dvc exp show` pass them by, so that their tables stay short.
        summary["floors"] = [_listed(row) for row in floors]
        if name == "best":
            summary["evidence"] = [_listed(row) for row in _columns_alone(labels, headline, "_part", draws)]
        summary["eta"] = settings.eta[0]
        summary["counts"] = {key.replace(" ", "_"): value for key, value in counts.items()}
        summary["made_with"] = made_with
        if name == "best":
            write_json(places.metrics / "summary.json", _shown(summary, intervals))
        _write_summary(_file(places, name), summary, intervals)
    best = [table["best"].to_numpy() for table in headline]
    # Of one class alone there is no curve.
    fpr, tpr = roc_points(labels, best) if micro_auroc(labels, rank_empty_frames_last(best)) is not None else ((), ())
    write_csv(places.metrics / "roc.csv", pd.DataFrame({"false_positive_rate": fpr, "true_positive_rate": tpr}))
    curves = [
        table.assign(score=table["best"], label=label.astype(int))[["clip", "frame", "score", "label"]]
        for table, label in zip(headline, labels, strict=True)
    ]
    write_csv(places.metrics / "frame_scores.csv", pd.concat(curves))
    sweep = []
    for eta, tables in sorted(results.items()):
        for name in CONFIGURATIONS:
            metrics = evaluate_frames(labels, [table[name].to_numpy() for table in tables])
            sweep.append({"configuration": name, "eta": eta, **metrics.pop("auroc"), **metrics})
    write_csv(places.metrics / "eta.csv", pd.DataFrame(sweep))
    print_summaries(
        f"{places.name}, eta {settings.eta[0]:g}",
        {name: read_json(_file(places, name), "") for name in CONFIGURATIONS},
    )
    return Counter(counts)


def _shown(summary: Mapping[str, Any], intervals: Mapping[str, Interval]) -> dict[str, float | None]:
    """What `dvc metrics` shows of `best`, in 120 columns: AUROC, micro, with its interval, macro and of the best floor;
    the share of normal frames above the threshold, and that of anomalous ones."""
    spread = intervals["auroc.micro"]
    return {
        "micro": summary["auroc"]["micro"],
        "low": spread.low,
        "high": spread.high,
        "macro": summary["auroc"]["macro"],
        "floor": summary["auroc"]["floor"],
        "false_alarms": summary["false_alarms"]["measured"],
        "recall": summary["false_alarms"]["recall"],
    }


def _made_with(places: Places, eta: float) -> list[dict[str, str | int]]:
    """What the digits depend on beside code, settings and data, a row for each step; boxes with their weights' hash."""
    path, made_by = places.scores_of(eta, "frames"), places.made_by("score")
    try:
        of_networks = json.loads(read_metadata(path, made_by)["made_with"])
    except (KeyError, ValueError):
        raise VadError(f"{path}: does not say what it was made with; make it again with {made_by}") from None
    return [{"step": "detect", **read_metadata(places.boxes, places.made_by("detect"))}, *of_networks]


def _file(places: Places, name: Configuration) -> Path:
    """Where a configuration's figures are: those of `best` are the data set's."""
    return places.metrics / ("metrics.json" if name == "best" else f"{name}.json")


def _columns_alone(
    labels: Sequence[np.ndarray], tables: Sequence[pd.DataFrame], mark: str, draws: np.ndarray
) -> list[dict[str, Any]]:
    """AUROC of each of the frame tables' columns whose name begins or ends with a mark: floors, or evidence alone."""
    rows = []
    for column in tables[0]:
        if mark not in column:
            continue
        scores = rank_empty_frames_last([table[column].to_numpy() for table in tables])
        rows.append(
            {
                "name": column.replace(mark, ""),
                "micro": micro_auroc(labels, scores),
                "macro": macro_auroc(labels, scores),
                "interval": frame_intervals(labels, scores, draws)["auroc.micro"],
            }
        )
    return rows


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON has it."""
    spread = row["interval"]
    return {**row, "interval": None if spread.low is None else [spread.low, spread.high]}


def _reach(settings: DatasetSettings, name: Configuration) -> int:
    """How many frames away another frame is a part of a frame's score: by its cube, and by the mean along its track."""
    return settings.cube.context + horizon_of(settings.configurations[name])


def false_alarms(
    labels: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    threshold: Threshold,
    rates: Sequence[float | None],
    reach: int,
) -> dict[str, float | None]:
    """What the threshold promised, and what it does on test frames: the shares of normal frames above it, of those that
    have no anomalous frame within `reach`, and of anomalous ones; and alarms an hour of normal footage, where the frame
    rate is known."""
    normal, anomalous = np.concatenate(labels) == 0, np.concatenate(labels)
    alone = np.concatenate(apart(labels, reach))
    above = np.concatenate(scores) > threshold.value  # False for NaN
    alarms, hours = 0, 0.0
    for of_clip, of_frames, rate in zip(labels, scores, rates, strict=True):
        quiet = ~of_clip
        alarms += count_alarms(quiet & (of_frames > threshold.value), rate or 1.0)
        hours += quiet.sum() / (rate or np.inf) / 3600
    return {
        "promised": threshold.promised,
        "measured": float(above[normal].mean()) if normal.any() else None,
        "apart": float(above[alone].mean()) if alone.any() else None,
        "recall": float(above[anomalous].mean()) if anomalous.any() else None,
        "alarms_per_hour": round(alarms / hours, 2) if hours and None not in rates else None,
    }


def _by_kind(
    places: Places, clips: Sequence[Clip], labels: Sequence[np.ndarray], scores: Sequence[np.ndarray]
) -> list[dict[str, Any]]:
    """AUROC, micro, of each kind of anomaly against all normal frames; where the data set tells of kinds."""
    regions = read_table(places.regions, places.made_by("prepare"))
    if "kind" not in regions:
        return []
    ranked = rank_empty_frames_last(scores)
    rows = []
    for kind, of_kind in regions.groupby("kind"):
        frames = [set(of_kind["frame"][of_kind["clip"] == clip.name]) for clip in clips]
        chosen = [
            ~of_clip | np.isin(np.arange(len(of_clip)), list(wanted))
            for of_clip, wanted in zip(labels, frames, strict=True)
        ]
        rows.append(
            {
                "kind": str(kind),
                "frames": sum(map(len, frames)),
                "micro": micro_auroc(
                    [of_clip[keep] for of_clip, keep in zip(labels, chosen, strict=True)],
                    [of_clip[keep] for of_clip, keep in zip(ranked, chosen, strict=True)],
                ),
            }
        )
    return rows


def frame_labels(places: Places, clips: Sequence[Clip]) -> list[np.ndarray]:
    """The labels of each testing clip, bool (frames,). Raises VadError where one has none."""
    labels = []
    for clip in clips:
        if (of_clip := clip.labels()) is None:
            raise VadError(
                f"data set {places.name}: testing clip {clip.name} has no labels, so there is nothing to evaluate; "
                f"its scores are in {places.scores}"
            )
        labels.append(of_clip)
    return labels


def frame_summary(
    labels: Sequence[np.ndarray], scores: Sequence[np.ndarray], draws: np.ndarray
) -> tuple[dict[str, Any], dict[str, Interval]]:
    """What the metrics file says of frame scores, and the intervals.

    The smoothed protocols are a list, which `dvc metrics` and `dvc exp show` pass by: their tables stay short.
    """
    summary = evaluate_frames(labels, scores)
    smoothed = smoothed_aurocs(labels, scores)
    summary["protocols"] = [{"protocol": name, **figures} for name, figures in smoothed.items()]
    return summary, frame_intervals(labels, scores, draws)


def _write_summary(path: Path, summary: dict[str, Any], intervals: Mapping[str, Interval]) -> None:
    """Write a metrics file. Its `intervals` have the metrics' own keys, each [low, high] or null; `left_out` names the
    metrics that some resamples did not have, and how many. DVC's tables pass lists by."""
    nested: dict[str, Any] = {}
    for name, interval in intervals.items():
        *groups, last = name.split(".")
        group = nested
        for key in groups:
            group = group.setdefault(key, {})
        group[last] = None if interval.low is None else [interval.low, interval.high]
    left_out = [{"metric": name, "resamples": i.left_out} for name, i in intervals.items() if i.left_out]
    lists = ("protocols", "kinds", "floors", "evidence", "eta", "counts", "made_with")
    tail = {key: summary.pop(key) for key in lists if key in summary}
    write_json(path, {**summary, "intervals": {**nested, "left_out": left_out}, **tail})


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


def _floors(places: Places, clips: tuple[Clip, ...], eta: float) -> list[pd.DataFrame]:
    """The frame scores of each floor, clip by clip, in columns `floor <name>`."""
    tables = []
    for clip in clips:
        cubes = read_table(places.scores_of(eta, "cubes"), places.made_by("score"), clip=clip.name)
        flow = {name: cubes[name].to_numpy() for name in ("magnitude", "cube_flow", "trunk_flow")}
        scores = floor_scores(cubes["frame"].to_numpy(), cubes[BOX].to_numpy(), flow, clip.frames)
        tables.append(pd.DataFrame({f"floor {name}": column for name, column in scores.items()}))
    return tables


def _detections(places: Places, clips: tuple[Clip, ...], eta: float, name: Configuration) -> list[ClipDetections]:
    """The scored boxes of one eta held against the regions, clip by clip."""
    detections = []
    for clip in clips:
        boxes = read_table(places.scores_of(eta, "cubes"), places.made_by("score"), clip=clip.name)
        truth = read_table(places.regions, places.made_by("prepare"), clip=clip.name)
        detections.append(
            match_clip(
                clip.frames,
                boxes["frame"].to_numpy(), boxes[BOX].to_numpy(), boxes[name].to_numpy(),
                truth["frame"].to_numpy(), truth[BOX].to_numpy(), truth["track"].to_numpy(),
            )
        )  # fmt: skip
    return detections


def evaluate_external(places: Places, scores: Path, name: str) -> Counter[str]:
    """Evaluate another system's frame scores of this data set, and print them beside this project's own.

    Leaves `external/<name>.json` with the keys of metrics.json; no floor and no regions, which need boxes. Raises
    VadError for scores that `read_scores` refuses, and for a name that cannot be a file's.
    """
    if not re.fullmatch(r"\w[\w .+-]{0,99}", name):
        raise VadError(f"{name!a:.110} cannot name a result; use letters, digits, spaces and . + - _")
    folder = places.metrics / "external"
    check(folder / f"{name}.json")
    clips = places.load_manifest().split("testing")
    labels = frame_labels(places, clips)
    by_clip = read_scores(scores, clips)
    summary, intervals = frame_summary(labels, by_clip, clip_draws(len(clips)))
    counts = {
        "clips": len(clips),
        "frames": sum(clip.frames for clip in clips),
        "anomalous frames": int(sum(of_clip.sum() for of_clip in labels)),
    }
    summary["counts"] = {key.replace(" ", "_"): value for key, value in counts.items()}
    _write_summary(folder / f"{name}.json", summary, intervals)
    own = places.metrics / "metrics.json"
    files = {"this project": own} if own.exists() else {}
    files |= {file.stem: file for file in sorted(folder.glob("*.json"))}
    print_summaries(places.name, {label: read_json(file, "`vad evaluate`") for label, file in files.items()})
    return Counter(counts)


def read_scores(source: Path, clips: Sequence[Clip]) -> list[np.ndarray]:
    """Another system's scores of each testing clip's frames, float64 (frames,); higher is more anomalous.

    Args:
        source: a CSV with the columns clip,frame,score (frames from 0); a .npy of all frames, clip after clip in the
            data set's order; or a folder with a `<clip>.npy` for each clip.

    Raises VadError for clips that are not there, and for scores that are missing, too many, or not numbers.
    """
    if source.is_dir():
        from vadlib.io.npy import read_array

        names = {clip.name for clip in clips}
        for file in sorted(source.glob("*.npy")):
            if file.stem not in names and not file.name.startswith("."):
                raise VadError(f"{file}: no testing clip {file.stem!a}; clips are {', '.join(sorted(names))}")
        by_clip = [np.asarray(read_array(source / f"{clip.name}.npy"), np.float64).reshape(-1) for clip in clips]
    elif source.suffix.lower() == ".npy":
        from vadlib.datasets.labels import check_order
        from vadlib.io.npy import read_array

        check_order(clips, source)
        pooled = np.asarray(read_array(source), np.float64).reshape(-1)
        frames = [clip.frames for clip in clips]
        if len(pooled) != sum(frames):
            raise VadError(f"{source}: {len(pooled)} scores, the {len(clips)} testing clips have {sum(frames)} frames")
        by_clip = np.split(pooled, np.cumsum(frames)[:-1])
    else:
        by_clip = _scores_of_csv(source, clips)
    for clip, scores in zip(clips, by_clip, strict=True):
        if len(scores) != clip.frames:
            raise VadError(f"{source}: {len(scores)} scores for clip {clip.name}, which has {clip.frames} frames")
        wrong = np.flatnonzero(~np.isfinite(scores))
        if len(wrong):
            raise VadError(f"{source}: score {scores[wrong[0]]} at frame {wrong[0]} of clip {clip.name}; not a number")
    return list(by_clip)


def _scores_of_csv(file: Path, clips: Sequence[Clip]) -> list[np.ndarray]:
    try:
        table = pd.read_csv(file, dtype={"clip": str}, keep_default_na=False, na_values={"score": ["", "nan", "NaN"]})
    except (OSError, ValueError) as error:
        raise VadError(f"{file}: cannot be read as CSV: {' '.join(str(error).split())}") from None
    if list(table.columns) != ["clip", "frame", "score"]:
        raise VadError(f"{file}: the columns must be clip,frame,score, not {','.join(map(str, table.columns))!a:.80}")
    if not all(pd.api.types.is_numeric_dtype(table[column]) for column in ("frame", "score")):
        raise VadError(f"{file}: frames must be whole numbers, and scores numbers")
    unknown = set(table["clip"]) - {clip.name for clip in clips}
    if unknown:
        raise VadError(f"{file}: no testing clip {min(unknown)!a:.80}; clips go by file name without suffix")
    by_clip = []
    for clip in clips:
        part = table[table["clip"] == clip.name].sort_values("frame", kind="stable")
        frames = part["frame"].to_numpy()
        if not np.array_equal(frames, np.arange(clip.frames)):
            missing = sorted(set(range(clip.frames)) - set(frames.tolist()))
            what = f"frame {missing[0]} is missing" if missing else "frames beyond them, or twice"
            raise VadError(f"{file}: clip {clip.name} has frames 0 to {clip.frames - 1}; {what}")
        by_clip.append(part["score"].to_numpy(np.float64))
    return by_clip


def print_summaries(title: str, summaries: Mapping[str, Mapping[str, Any]]) -> None:
    """Print metrics files side by side: per cent, each with its 95 % interval over clips. The first sets the rows."""
    columns = {name: [_cell(summary, key) for key in _ROWS.values()] for name, summary in summaries.items()}
    shown = [i for i in range(len(_ROWS)) if any(cells[i] for cells in columns.values())]
    widths = {name: max(len(name), *(len(cells[i]) for i in shown)) for name, cells in columns.items()}
    room = max(len(list(_ROWS)[i]) for i in shown) + 2
    print(f"{title}: per cent [95 % interval over clips]")
    if len(columns) > 1:
        print(f"  {'':{room}}" + "  ".join(name.ljust(widths[name]) for name in columns).rstrip())
    for i in shown:
        cells = "  ".join((column[i] or "-").ljust(widths[name]) for name, column in columns.items())
        print(f"  {list(_ROWS)[i]:{room}}{cells.rstrip()}")


def _cell(summary: Mapping[str, Any], key: str) -> str:
    """`96.38 [94.10, 98.02]`; `none` where the metric does not exist, empty where the file does not have it."""
    value: Any = summary
    spread: Any = summary.get("intervals", {})
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return ""
        value = value[part]
        spread = spread.get(part) if isinstance(spread, Mapping) else None
    if value is None:
        return " none"
    return f"{100 * value:5.2f}" + (f" [{100 * spread[0]:.2f}, {100 * spread[1]:.2f}]" if spread else "")
