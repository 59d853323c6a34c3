"""Whether scores are still what the model takes for normal: the last days against what its threshold promises.

    drift/<camera>/2026-01-31.csv   COLUMNS, a row for each minute

Days are the pieces: what one windy day does is chance as far as days differ, and each has its own quiet hours. Minutes
are kept so that what is called real afterwards, on the page, no longer counts.
"""

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from vadlib.footage.calibrate import MARGIN, MOST_MISSING, labels_of, wall_of
from vadlib.scoring.thresholds import TAIL, Threshold
from vadlib.watch.model import Model
from vadlib.watch.store import Store, Tables

COLUMNS = ("minute", "model", "threshold", "seconds", "frames", "above", "alarms", "median")
KEPT = 14  # days of minutes on disk: of a camera some 80 kB a day
FEWEST, MOST = 3, 7  # days that a verdict is of
LEAST_HOURS = 3  # watched: a summer night has no more; and
LEAST_FRAMES = 1000  # with objects: a day of less says nothing
SURE = 0.99  # that a verdict is not by chance
MORE_OFTEN = 2.0  # times as often as promised: a threshold keeps its promise SURE of the time, and not always
MOVED = 0.5  # of the way from what is usual to the threshold, up or down
STRANGE = 1 - TAIL  # share of frames: with more above, the tail that a threshold is read off begins above it

State = Literal["unknown", "none", "calibrate", "update"]
Rule = Callable[[Sequence["Day"], Threshold, bool], str]  # in words, what is so; empty where it is not


@dataclass(frozen=True)
class Day:
    """A day's scores."""

    seconds: int  # watched
    frames: int  # with objects, of those looked at
    above: int  # the threshold, of these
    alarms: int  # runs of seconds in each of which a frame is above
    minutes: int  # in which a frame is above: so many chances they are, at least
    median: float  # of the frames' scores


@dataclass(frozen=True)
class Verdict:
    """What is to be done about a camera's model."""

    state: State = "unknown"  # for fewer than FEWEST days
    days: int = 0  # that count, of the last MOST
    why: str = ""


class Minutes:
    """Sums up a camera's scores, minute by minute."""

    def __init__(self, write: Callable[[int, Sequence[object]], None]) -> None:
        """`write` is given each minute, as seconds since 1970, and its row, once it is over."""
        self._write = write
        self._minute = -1
        self._model: Model | None = None
        self._second = self._alarm = 0  # the last that was watched; the last in which a frame was above
        self._seconds = self._above = self._alarms = 0
        self._scores: list[float] = []  # of a minute

    def see(self, wall: float, score: float, model: Model) -> None:
        """The next frame that was looked at; its score is NaN without objects."""
        second = math.floor(wall)
        if (second // 60, model) != (self._minute, self._model):
            self.close()
            self._minute, self._model = second // 60, model
        # Where few frames are looked at, what is between them was watched.
        self._seconds += min(max(second - self._second, 0), 1 + MOST_MISSING) if self._second else 1
        self._second = second
        if math.isnan(score):
            return
        self._scores.append(score)
        if score > model.own.value:
            self._above += 1
            self._alarms += second - self._alarm not in (0, 1)
            self._alarm = second

    def close(self) -> None:
        """Write what there is of the minute."""
        if self._model is not None and self._seconds:
            median = float(np.median(self._scores)) if self._scores else None
            row = [self._minute, self._model.mark, self._model.own.value, self._seconds, len(self._scores)]
            self._write(60 * self._minute, [*row, self._above, self._alarms, median])
        self._seconds = self._above = self._alarms = 0
        self._scores = []


class Drift:
    """One camera's minutes, on disk, and what they say of its models."""

    def __init__(self, store: Store, camera: str, models: Sequence[Model], tell: Callable[[str], None]) -> None:
        self._store, self._camera, self._tell = store, camera, tell
        self.verdicts: dict[Model, Verdict] = dict.fromkeys(models, Verdict())
        self._table = Tables(store, "drift", camera, COLUMNS, length=len("2026-01-31"), kept=KEPT)
        self._minutes = Minutes(self._table.add)
        self._looked_at: object = None
        self.see = self._minutes.see

    def close(self) -> None:
        """Write what there is of the minute, and no more."""
        self._minutes.close()
        self._table.close()

    def look(self) -> None:
        """Judge the days that are over, if there is one more, or more that was called real; a line says what is new."""
        files = sorted((self._store.folder / "drift" / self._camera).glob("*.csv"))[-KEPT:]
        real = [
            (wall_of(row["begin"]) - MARGIN, wall_of(row["end"]) + MARGIN)
            for row in labels_of(self._store.folder)
            if row["label"] == "real" and row["camera"] == self._camera
        ]
        if (looked_at := (files[-1:], real)) == self._looked_at:
            return
        self._looked_at = looked_at
        for model, before in self.verdicts.items():
            days = [day_of(rows_of(file, model.mark, model.own.value), real) for file in files[:-1]]
            found = judge([day for day in days if counts(day)], model.own, by_frames=model.by_frames)
            self.verdicts[model] = found
            if found.state in ("calibrate", "update") and found.state != before.state:
                self._tell(f"{self._camera}: time to {found.state} {model.name}: {found.why}")


def rows_of(file: Path, mark: str, threshold: float) -> Iterator[dict[str, float]]:
    """A file's minutes by one model with one threshold; lines that a kill cut short are passed over."""
    try:
        lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:  # it has left meanwhile
        return
    for row in csv.DictReader(lines):
        try:
            if row.pop("model") == mark and float(row["threshold"]) == threshold:
                yield {key: math.nan if value == "" else float(value) for key, value in row.items()}
        except (TypeError, ValueError):
            continue


def day_of(minutes: Iterator[dict[str, float]], real: Sequence[tuple[float, float]]) -> Day:
    """The sum of a day's minutes, but for those in which something was called real: (begin, end) of each, wall."""
    kept = [
        row for row in minutes
        if not any(begin < 60 * (row["minute"] + 1) and 60 * row["minute"] < end for begin, end in real)
    ]  # fmt: skip
    sums = {key: int(sum(row[key] for row in kept)) for key in ("seconds", "frames", "above", "alarms")}
    return Day(**sums, minutes=sum(row["above"] > 0 for row in kept), median=_median(kept))


def _median(minutes: Sequence[dict[str, float]]) -> float:
    """That of minutes' medians, each counting as often as it has frames; NaN without any."""
    known = sorted((row["median"], row["frames"]) for row in minutes if row["frames"])
    if not known:
        return math.nan
    medians, frames = np.array(known).T
    return float(medians[np.searchsorted(np.cumsum(frames), frames.sum() / 2)])


def counts(day: Day) -> bool:
    """Whether a day says anything: a camera that was away, or saw nobody, has not drifted."""
    return day.seconds >= 3600 * LEAST_HOURS and day.frames >= LEAST_FRAMES


def judge(days: Sequence[Day], own: Threshold, *, by_frames: bool) -> Verdict:
    """What the latest days that count, the oldest first, say of a model.

    Of the last FEWEST to MOST days each number of them is tried, the most first. A mean over days is believed as far as
    it is beyond a limit by more than days differ (Student's t) and by more than chance (as many minutes as were above).

    Args:
        own: the model's own threshold, with what it promises.
        by_frames: it promises a share of frames with objects; else so many alarms an hour that is watched.
    """
    latest = days[-MOST:]
    rules: tuple[tuple[State, Rule], ...] = (("update", _strange), ("calibrate", _often), ("calibrate", _moved))
    for state, rule in rules:
        for count in range(len(latest), FEWEST - 1, -1):
            if why := rule(latest[-count:], own, by_frames):
                return Verdict(state, len(latest), f"in the last {count} days {why}")
    return Verdict("none" if len(latest) >= FEWEST else "unknown", len(latest))


def _strange(days: Sequence[Day], own: Threshold, by_frames: bool) -> str:
    limit = max(STRANGE, MORE_OFTEN * own.promised if by_frames else 0.0)
    shares = [day.above / day.frames for day in days]
    if surely(shares, days) <= limit:
        return ""
    return f"{np.mean(shares):.0%} of frames with objects were above the threshold: what is usual now is strange to it"


def _often(days: Sequence[Day], own: Threshold, by_frames: bool) -> str:
    if by_frames:
        rates, promised = [day.above / day.frames for day in days], own.promised
        told = f"{np.mean(rates):.2%} of frames with objects were above the threshold, and {promised:.2%} are promised"
    else:
        rates, promised = [day.alarms / (day.seconds / 3600) for day in days], 3600 * own.promised
        told = f"there were {np.mean(rates):.2g} alarms an hour, and {promised:.2g} are promised"
    return told if surely(rates, days) > MORE_OFTEN * promised else ""


def _moved(days: Sequence[Day], own: Threshold, by_frames: bool) -> str:
    far = own.value - own.median
    moves = [day.median - own.median for day in days]
    if far <= 0 or abs(np.mean(moves)) - _differ(moves) <= MOVED * far:
        return ""
    return f"half of the scores were above {own.median + np.mean(moves):.3g}, and above {own.median:.3g} once"


def surely(values: Sequence[float], days: Sequence[Day]) -> float:
    """What the mean of days' values, which come of their minutes above, is surely not below."""
    mean = float(np.mean(values))
    minutes = sum(day.minutes for day in days)
    chance = float(norm.ppf(SURE)) * mean / math.sqrt(minutes) if minutes else 0.0
    return mean - max(_differ(values), chance)


def _differ(values: Sequence[float]) -> float:
    """How far their mean may be from that of more days, by how much they differ."""
    count = len(values)
    return float(student.ppf(SURE, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
