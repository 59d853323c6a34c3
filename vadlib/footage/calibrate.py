"""The threshold of a model anew, by how often a camera may raise an alarm, without training: from normal footage, or
from what `vad watch` has seen.

What a score is stays as it was; where normal ends is set again. Scores are looked at by the second: an alarm is a run
of seconds in each of which a frame is above the threshold.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from vadlib.clips import read_footage
from vadlib.errors import FootageError, Losses, VadError
from vadlib.footage import learned, scene
from vadlib.footage.find import LeftOut, find_footage
from vadlib.footage.stream import FootageScorer, ScoredFrame, score_frames
from vadlib.io.files import copy, json_lines, sha256, write_json
from vadlib.io.ownership import check, check_apart, is_own, own, publish, remove_own, without_links
from vadlib.io.progress import progress, tell
from vadlib.manifest import Clip
from vadlib.scoring.kept import calibration_json
from vadlib.scoring.model_folder import Package
from vadlib.scoring.thresholds import SURE, TAIL, Threshold

PIECES = 8
"""Footage of fewer pieces is cut into about so many: a promise has to bear what differs between them."""
LEAST_SECONDS = 20
"""Of a piece, to have a threshold of its own."""
ENOUGH_PEAKS = 10
"""Of a piece, to say by itself how fast they fall off."""
MOST_MISSING = 5  # seconds
MARGIN = 1.0  # s before and after an event that was called real


@dataclass(frozen=True)
class Seconds:
    """Consecutive seconds of scores."""

    highest: np.ndarray  # float64 (S,), of each second; NaN where no frame had an object
    middle: np.ndarray  # float64 (S,), their medians

    def __len__(self) -> int:
        return len(self.highest)

    def take(self, seconds: slice) -> "Seconds":
        return Seconds(self.highest[seconds], self.middle[seconds])

    def peaks(self, value: float) -> list[float]:
        """The highest score of each alarm at this threshold."""
        runs = groupby(self.highest, key=lambda score: score > value)
        return [float(max(run)) for above, run in runs if above]


@dataclass
class Seen:
    """What a threshold is set by."""

    pieces: list[Seconds] = field(default_factory=list)
    frames: int = 0
    real: list[float] = field(default_factory=list)  # the scores of events that were called real
    normal: list[float] = field(default_factory=list)  # and normal

    @property
    def hours(self) -> float:
        return sum(map(len, self.pieces)) / 3600


def calibrate_on(
    package: Package,
    scorer: FootageScorer,
    sources: Sequence[Path],
    output: Path,
    alarms_per_hour: float,
    left_out: LeftOut,
) -> dict[str, float]:
    """Leave a copy of a model folder at `output`, which may be the model's own, with a threshold that so many alarms an
    hour are above, of the normal footage in `sources` and of the next piece.

    A source that `vad watch` wrote, its --output, is gone by with its tables, but for events that were called real.
    What cannot be read is told to `left_out`.

    Raises VadError, before any work, where the output is a source or somebody else's, and where nothing can be scored.
    """
    for source in sources:
        check_apart(output, source)
    output = without_links(output)
    if not _same_folder(output, package.folder):
        check_apart(output, package.folder)
    check(output, folder=True)
    seen = Seen()
    for source in sources:
        if is_watched(source):
            add_watched(seen, source, model_mark(package))
        else:
            _add_footage(seen, source, scorer, left_out)
    if not any(np.isfinite(piece.highest).any() for piece in seen.pieces):
        raise VadError(
            f"{', '.join(map(str, sources))}: no frame there has an object that counts and a score of this model, so "
            "there is no threshold"
        )
    pieces = cut(seen.pieces)
    threshold = threshold_for(pieces, alarms_per_hour, seen.frames)
    _leave(package, threshold, output)
    if seen.hours * alarms_per_hour < 1:
        tell(
            f"warning: {_lasting(seen.hours)} of footage is less than the {_lasting(1 / alarms_per_hour)} in which one "
            "alarm is promised: how often higher scores come is read off how often those came"
        )
    for said, scores, what in (("real", seen.real, "no longer be told of"), ("normal", seen.normal, "come again")):
        if scores:
            count = sum((score <= threshold.value) == (said == "real") for score in scores)
            tell(f"note: of {len(scores)} events that were called {said}, {count} would {what}")
    return {
        "hours": round(seen.hours, 3),
        "frames": seen.frames,
        "threshold": round(threshold.value, 3),
        "threshold before": round(package.threshold.value, 3),
        "alarms an hour": threshold.alarms_per_hour or 0.0,
        "alarms an hour on parts that it was not set on": round(held_out_rate(pieces, alarms_per_hour), 2),
    }


def threshold_for(pieces: Sequence[Seconds], alarms_per_hour: float, frames: int) -> Threshold:
    """The threshold that so many alarms an hour are above.

    Alarms' peaks beyond the quantile TAIL are taken to fall off exponentially: an alarm a day is read off an hour. It
    is the largest of what that says of all pieces together, of the bound that the threshold of one more piece would be
    below SURE of the time, and of what keeps the promise on these.
    """
    hours = sum(map(len, pieces)) / 3600
    highest = np.concatenate([piece.highest for piece in pieces])
    start, peaks = beyond_tail(pieces)
    excess = float(np.mean(peaks)) - start if peaks else 0.0

    def of(seconds: Sequence[Seconds]) -> float:
        begin, found = beyond_tail(seconds)
        each = float(np.mean(found)) - begin if len(found) >= ENOUGH_PEAKS else excess
        rate = len(found) / (sum(map(len, seconds)) / 3600)
        return begin + each * max(0.0, math.log(max(rate / alarms_per_hour, 1.0)))

    value = of(pieces)
    each = [of([piece]) for piece in pieces if np.isfinite(piece.highest).sum() >= LEAST_SECONDS]
    if (count := len(each)) > 1:
        spread = float(np.std(each, ddof=1)) * math.sqrt(1 + 1 / count)
        value = max(value, float(np.mean(each)) + float(student.ppf(SURE, count - 1)) * spread)
    value = max([value, *peaks[math.floor(alarms_per_hour * hours) :][:1]])
    alarms = sum(len(piece.peaks(value)) for piece in pieces)
    return Threshold(
        value=value,
        median=float(np.nanmedian(np.concatenate([piece.middle for piece in pieces]))),
        promised=min(0.1, alarms_per_hour / 3600),  # of seconds, each alarm being one
        above=float((highest > value).mean()),
        alarms_per_hour=round(alarms / hours, 2),
        frames=frames,
        wanted=math.ceil(frames / hours / alarms_per_hour),
    )


def beyond_tail(pieces: Sequence[Seconds]) -> tuple[float, list[float]]:
    """The quantile TAIL, and the peaks beyond it, the highest first."""
    start = float(np.nanquantile(np.concatenate([piece.highest for piece in pieces]), TAIL))
    return start, sorted((peak for piece in pieces for peak in piece.peaks(start)), reverse=True)


def held_out_rate(pieces: Sequence[Seconds], alarms_per_hour: float) -> float:
    """Alarms an hour on each half of the pieces, every other one, by a threshold set on the other half; NaN of one."""
    halves = [pieces[::2], pieces[1::2]]
    if not all(any(np.isfinite(piece.highest).any() for piece in half) for half in halves):
        return math.nan
    alarms = 0
    for half, other in (halves, halves[::-1]):
        value = threshold_for(other, alarms_per_hour, sum(map(len, other))).value
        alarms += sum(len(piece.peaks(value)) for piece in half)
    return alarms / (sum(map(len, pieces)) / 3600)


def cut(pieces: Iterable[Seconds]) -> list[Seconds]:
    """The same in about PIECES pieces or more, none of which is cut below LEAST_SECONDS."""
    pieces = [piece for piece in pieces if len(piece)]
    longest = max(LEAST_SECONDS, math.ceil(sum(map(len, pieces)) / PIECES))
    found = []
    for piece in pieces:
        parts = max(1, len(piece) // longest)
        edges = [round(len(piece) * part / parts) for part in range(parts + 1)]
        found += [piece.take(slice(*edge)) for edge in pairwise(edges)]
    return found


def by_seconds(frames: Iterable[tuple[float, float]]) -> tuple[Seconds, int]:
    """Times and scores of frames, in order, by the second; and how many they are. What is missing for longer than
    MOST_MISSING was not watched."""
    highest: list[float] = []
    middle: list[float] = []
    count, before = 0, None
    for second, group in groupby(frames, key=lambda frame: math.floor(frame[0])):
        scores = np.array([score for _, score in group])
        count += len(scores)
        missing = [math.nan] * (0 if before is None else min(max(second - before - 1, 0), MOST_MISSING))
        before = second
        known = scores[np.isfinite(scores)]
        highest += [*missing, float(known.max()) if len(known) else math.nan]
        middle += [*missing, float(np.median(known)) if len(known) else math.nan]
    return Seconds(np.array(highest), np.array(middle)), count


def model_mark(package: Package) -> str:
    """The same for models that give the same scores, whatever their thresholds."""
    names = [*(f"{branch}.safetensors" for branch in package.settings.branches), "evidence.safetensors"]
    digest = hashlib.sha256("".join(sha256(package.folder / name) for name in names).encode())
    digest.update(package.settings.model_dump_json().encode())
    digest.update(json.dumps(calibration_json(package.calibration)["normal"], sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _add_footage(seen: Seen, source: Path, scorer: FootageScorer, left_out: LeftOut) -> None:
    for footage in find_footage([source], left_out):
        losses = Losses()
        clip = Clip(footage.name, "testing", str(source), footage.claimed or 0, 0, 0)
        try:
            images = read_footage(footage.source, footage.name, 25.0, losses)
            with progress(clip.frames or None, footage.name, "frame") as bar:
                seconds, count = by_seconds(_looked_at(score_frames(scorer, clip, images), bar))
        except FootageError as error:
            left_out.clip(str(error))
            continue
        left_out.of_clip(losses)
        seen.pieces.append(seconds)
        seen.frames += count


def _looked_at(frames: Iterable[ScoredFrame], bar: Any) -> Iterator[tuple[float, float]]:
    for frame in frames:
        bar.update()
        if frame.looked_at:
            yield frame.time, frame.score


# What `vad watch` has seen


def is_watched(folder: Path) -> bool:
    """Whether a folder is what `vad watch` wrote."""
    return is_own(folder / "tables") and is_own(folder / "events")


def labels_of(folder: Path) -> list[dict[str, Any]]:
    """What was said on the page, the last word of each event: `event`, `camera`, `label`, `begin`, `end`, `score`."""
    rows = {row["event"]: row for row in json_lines(folder / "labels.jsonl") if "event" in row}
    return list(rows.values())


def runs_of(folder: Path) -> list[dict[str, Any]]:
    """From when on which model scored, in order: `at`, `model`, its mark, and `name`; of one `camera`, or of all."""
    rows = (row for row in json_lines(folder / "runs.jsonl") if "at" in row and "model" in row)
    return sorted(rows, key=lambda row: wall_of(row["at"]))


def add_watched(seen: Seen, folder: Path, mark: str) -> None:
    """The scores of every camera, in pieces of an hour, but for what was called real and what another model scored."""
    labels, runs = labels_of(folder), runs_of(folder)
    for row in labels:
        if _scored_by(mark, runs, row["camera"], np.array([wall_of(row["begin"])]))[0]:
            {"real": seen.real, "normal": seen.normal}[row["label"]].append(float(row["score"]))
    others = 0
    for table in sorted((folder / "tables").glob("*/*.csv")):
        rows = pd.read_csv(table, usecols=["wall", "score"], on_bad_lines="skip")
        times = pd.to_datetime(rows["wall"], utc=True, errors="coerce")
        walls = (times - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy()  # NaN: cut short by a kill
        scores = rows["score"].to_numpy(np.float64)
        own = _scored_by(mark, runs, table.parent.name, walls)
        others += int((~own).sum())
        real = [row for row in labels if row["label"] == "real" and row["camera"] == table.parent.name]
        for row in real:
            begin, end = wall_of(row["begin"]) - MARGIN, wall_of(row["end"]) + MARGIN
            scores = np.where((walls >= begin) & (walls <= end), math.nan, scores)
        seconds, count = by_seconds(zip(walls[own].tolist(), scores[own].tolist(), strict=True))
        seen.pieces.append(seconds)
        seen.frames += count
    if others:
        tell(f"note: {folder}: {others:,} frames were scored by another model, and are passed over")


def _scored_by(mark: str, runs: Sequence[dict[str, Any]], camera: str, walls: np.ndarray) -> np.ndarray:
    """bool, whether a model scored a camera at these times, float64 seconds since 1970."""
    of_camera = [run for run in runs if run.get("camera", camera) == camera]
    begins = np.array([-math.inf, *(wall_of(run["at"]) for run in of_camera)])
    own = np.array([False, *(run["model"] == mark for run in of_camera)])
    return own[np.searchsorted(begins, walls, side="right") - 1] & np.isfinite(walls)


def wall_of(text: str) -> float:
    """Seconds since 1970 of a time as tables and events have it."""
    return datetime.fromisoformat(text).timestamp()


# The model folder


def _leave(package: Package, threshold: Threshold, output: Path) -> None:
    work = output.with_name(f"{output.name}.work")
    own(work)
    made = work / "package"
    remove_own(made)
    names = [
        *(f"{branch}.safetensors" for branch in package.settings.branches), "statistics.json", "evidence.safetensors",
        "settings.json", scene.FILE, scene.MASK, learned.FILE, "weights",
    ]  # fmt: skip
    for name in names:
        if (path := package.folder / name).exists():
            copy(path, made / name)
    thresholds: Mapping[Any, Threshold] = {**package.calibration.thresholds, "best": threshold}
    write_json(made / "calibration.json", calibration_json(replace(package.calibration, thresholds=thresholds)))
    publish(made, output, copied=True)
    remove_own(work)


def _same_folder(one: Path, other: Path) -> bool:
    return one.exists() and one.samefile(other)


def _lasting(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
