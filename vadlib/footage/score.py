"""A user's own videos, without data set or DVC: each scored in one pass, with tables, a video and a page to look at."""

import heapq
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from pyarrow.csv import ConvertOptions, open_csv

from vadlib.boxes.detect import BOUNDED, how_bounded
from vadlib.clips import has_images, read_footage
from vadlib.errors import FootageError, Losses, VadError, printable
from vadlib.footage.annotate import AnnotatedVideo
from vadlib.footage.classes import class_name
from vadlib.footage.clock import begin_of
from vadlib.footage.find import RESULTS, Footage
from vadlib.footage.stream import FootageScorer, ScoredFrame, score_frames
from vadlib.io.files import is_lack, surroundings
from vadlib.io.ownership import alone_in, begin, check, check_apart, discard, is_made, own, remove_empty, settle
from vadlib.io.progress import progress
from vadlib.io.tables import write_table
from vadlib.manifest import Clip
from vadlib.report.contents import Anomaly, Report, ReportClip, ReportEvent, picture_around, whole_picture
from vadlib.report.inspection import TopMoments, inspect_cubes
from vadlib.report.page import write_report
from vadlib.report.pictures import data_uri
from vadlib.scoring.thresholds import GAP_SECONDS, Threshold
from vadlib.settings import DetectorSettings

FRAME_COLUMNS = ("frame", "time_s", "score", "is_anomalous", "boxes", "x1", "y1", "x2", "y2", "track", "reason")
SEGMENT_COLUMNS = ("start_s", "end_s", "first_frame", "last_frame", "peak_score", "peak_frame")
EVENTS = 60
"""That the page shows of a clip, the highest: all are in segments.csv."""


def apart_from(output: Path, paths: Iterable[Path]) -> Iterator[Path]:
    """The same paths, as they come. Raises VadError at one that `output` is, holds or lies in; it may lie in a folder
    of clips, where it is passed over."""
    for path in paths:
        check_apart(output, path, may_lie_in=path.is_dir() and not has_images(path))
        yield path


def begin_folder(output: Path) -> None:
    """Make a folder for results, which says so; in one that is there and has something in it, they are guests."""
    if output.is_dir() and any(output.iterdir()):
        return
    own(output)


def score_footage(
    footage: Footage,
    scorer: FootageScorer,
    threshold: Threshold,
    output: Path,
    *,
    fps: float = 25.0,
    parquet: bool = False,
    losses: Losses | None = None,
) -> Counter[str]:
    """Score one clip in one pass and leave, in the folder `output`, what was found.

    frames.csv       a row for each frame that is looked at: FRAME_COLUMNS; the box is the one that made the score
    segments.csv     a row for each run of anomalous frames: SEGMENT_COLUMNS
    annotated.mp4    the frames with their boxes, the score curve beneath
    report.html      what happened, the curve, and the highest peaks with what the networks made of them

    Rows and frames are written as they are made, so that a kill leaves valid tables and a video that plays. On an error
    or Ctrl-C the video, the segments and the report are finished for the frames that were scored; then it is raised.
    What an earlier run left of them is replaced. Raises VadError, before anything is done, where one of them is the
    footage, or somebody else's file.

    Args:
        fps: frames per second of images whose names hold no times; a video has its own times.
        parquet: leave frames.parquet too, once all is done.
        losses: is told of what of the clip cannot be read, and so is left out; None: that is an error, once all that
            can be read has been scored.

    Raises FootageError where nothing of the clip can be scored; then no results are left.
    """
    told = losses or Losses()
    files = [output / name for name in RESULTS]
    if isinstance(footage.source, Path):
        for file in files:
            check_apart(file, footage.source)
    check(*files[: len(files) if parquet else -1])
    there = output.is_dir()
    begin_folder(output)
    with alone_in(output):
        for file in files:  # of an earlier run: they would look like this one's
            if is_made(file):
                discard(file)
        grown = files[:3]
        for file in grown:
            begin(file)
        findings = _Findings(footage.name, scorer.scorer.settings.detector, begin_of(footage.source))
        done = False
        try:
            place = str(footage.source) if isinstance(footage.source, Path) else "images"
            clip = Clip(footage.name, "testing", place, footage.claimed or 0, 0, 0)
            read = read_footage(footage.source, footage.name, fps, told)
            images = _one_by_one(clip, score_frames(scorer, clip, read, counts=findings.counts))
            with ExitStack() as stack:
                frames = stack.enter_context(Rows(output / "frames.csv", FRAME_COLUMNS))
                segments = stack.enter_context(_Segments(output / "segments.csv", findings.happened))
                video = stack.enter_context(AnnotatedVideo(output / "annotated.mp4", threshold))
                bar = stack.enter_context(progress(clip.frames or None, footage.name, "frame"))
                for frame in images:
                    if not frame.looked_at:
                        findings.pass_by(frame)
                        continue
                    anomalous = frame.score > threshold.value
                    frames.add(row_of(frame, anomalous))
                    segments.see(frame, anomalous)
                    video.write(frame)
                    findings.add(frame, anomalous)
                    bar.update()
                done = True
        except FootageError as error:
            if not findings.counts["frames"]:
                for file in grown:
                    discard(file)
                raise
            rest = max(0, clip.frames - findings.counts["frames"])
            told.lose("rest", str(error), "leave it out", rest, rest * findings.step)
        finally:
            if frames_bounded := findings.counts[BOUNDED]:
                how = how_bounded(frames_bounded, findings.counts["frames"], scorer.scorer.settings.detector)
                told.notes.append(f"clip {footage.name}: {how}")
            if findings.counts["frames"]:
                said = scorer.learned.otherwise(findings.rate, *findings.size) if scorer.learned else ""
                if said:
                    told.notes.append(f"clip {footage.name}: {said}")
                title = footage.name if done else f"{footage.name}: its first {findings.counts['frames']} frames"
                notes = [printable(line) for line in (*told.lines, *told.notes)]
                write_report(output / "report.html", findings.report(title, scorer, threshold, notes))
            settle(*grown)
            if not there:
                remove_empty(output)
        if parquet:
            types = dict.fromkeys(FRAME_COLUMNS, pa.float64())
            types |= {"frame": pa.int32(), "boxes": pa.int32(), "is_anomalous": pa.bool_(), "reason": pa.string()}
            with open_csv(output / "frames.csv", convert_options=ConvertOptions(column_types=types)) as parts:
                write_table(output / "frames.parquet", (part.to_pandas() for part in parts))
        if losses is None and told.error:
            raise FootageError(told.error)
        return findings.counts


def _one_by_one(clip: Clip, frames: Iterator[ScoredFrame]) -> Iterator[ScoredFrame]:
    """The frames. What goes wrong with one, in whatever library, is a fault of this clip and not of others, unless the
    machine lacks something."""
    try:
        yield from frames
    except VadError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        if is_lack(error):
            raise VadError(f"clip {clip.name} ({clip.path}): {surroundings(error)} ({text})") from error
        raise FootageError(
            f"clip {clip.name} ({clip.path}): {type(error).__name__}: {text or 'no message'} (not foreseen; run again "
            "with --strict --debug to see where)"
        ) from error


class Rows:
    """A CSV file of numbers that holds whole lines at any moment: each goes to the disk by itself."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Begin a file, or go on with one that has something in it."""
        self._file = path.open("a", encoding="ascii", newline="\n", buffering=1)
        if self._file.tell() == 0:
            self._file.write(",".join(columns) + "\n")

    def __enter__(self) -> Self:
        return self

    def add(self, row: Sequence[Any]) -> None:
        """Write a row; None is an empty cell, and of numbers every digit is kept."""
        self._file.write(",".join("" if cell is None else str(cell) for cell in row) + "\n")

    def __exit__(self, *raised: object) -> None:
        self._file.close()


def row_of(frame: ScoredFrame, anomalous: bool) -> tuple[Any, ...]:
    """A frame's FRAME_COLUMNS."""
    time, boxes, top = round(frame.time, 6), len(frame.boxes), frame.top
    if top is None:
        return frame.number, time, None, anomalous, boxes, *[None] * 6
    why = f'"{frame.reason}"' if anomalous else None
    return frame.number, time, frame.score, anomalous, boxes, *frame.boxes[top].tolist(), int(frame.tracks[top]), why


@dataclass(frozen=True)
class _Run:
    """Anomalous frames close to each other."""

    first: tuple[int, float]  # number and time
    last: tuple[int, float]
    peak: ScoredFrame


class _Segments(Rows):
    """Runs of anomalous frames, each written once it is over."""

    def __init__(self, path: Path, over: Callable[["_Run"], None]) -> None:
        super().__init__(path, SEGMENT_COLUMNS)
        self._over = over
        self._run: _Run | None = None  # that may go on

    def see(self, frame: ScoredFrame, anomalous: bool) -> None:
        """The next frame."""
        if self._run and frame.time - self._run.last[1] > GAP_SECONDS:
            self._end(self._run)
        if anomalous:
            place = frame.number, frame.time
            run = self._run or _Run(place, place, frame)
            self._run = _Run(run.first, place, frame if frame.score > run.peak.score else run.peak)

    def _end(self, run: "_Run") -> None:
        (first, start), (last, end), peak = run.first, run.last, run.peak
        self.add((round(start, 6), round(end, 6), first, last, peak.score, peak.number))
        self._over(run)
        self._run = None

    def __exit__(self, *raised: object) -> None:
        if self._run:
            self._end(self._run)
        super().__exit__(*raised)


class _Findings:
    """What the page shows of one clip: what happened, its scores, and the highest peaks with their cubes."""

    def __init__(self, name: str, detector: DetectorSettings, begins: datetime | None) -> None:
        self._name, self._detector, self._begins = name, detector, begins
        self._events: list[tuple[float, float, ReportEvent]] = []  # the highest, by score and the earlier first
        self._found = 0
        self._times, self._scores = array("d"), array("d")
        self._top: TopMoments[dict[str, Any]] = TopMoments()
        self.counts: Counter[str] = Counter()
        self.size = 0, 0  # width and height of the frames

    @property
    def step(self) -> float:
        """Seconds from one frame to the next; the median, since a clock may have gaps where nothing was recorded."""
        return float(np.median(np.diff(self._times))) if len(self._times) > 1 else 0.0

    @property
    def rate(self) -> float | None:
        """Frames per second; None of one frame."""
        return 1 / self.step if self.step > 0 else None

    def add(self, frame: ScoredFrame, anomalous: bool) -> None:
        self.size = frame.image.shape[1], frame.image.shape[0]
        self._times.append(frame.time)
        self._scores.append(frame.score)
        self.counts.update(frames=1, cubes=len(frame.boxes))
        self.counts["anomalous frames"] += anomalous
        self.counts["frames without boxes"] += frame.top is None
        self._top.offer(self._name, frame.number, frame.score, lambda: _kept(frame))

    def pass_by(self, frame: ScoredFrame) -> None:
        """A frame that was not looked at: the curve stays where it is."""
        self._times.append(frame.time)
        self._scores.append(self._scores[-1])  # the first of a clip is looked at

    def happened(self, run: _Run) -> None:
        """A run that is over."""
        peak = run.peak
        assert peak.top is not None  # it has a score
        self._found += 1
        place = peak.score, -run.first[1]
        if len(self._events) == EVENTS and place < self._events[0][:2]:
            return
        number = -1 if peak.classes is None else int(peak.classes[peak.top])
        event = ReportEvent(
            self._name,
            run.first[1],
            run.last[1],
            peak.number,
            peak.time,
            peak.score,
            data_uri(whole_picture(peak.image, peak.boxes[peak.top].tolist()), "jpg"),
            class_name(self._detector, number),
            peak.reason,
        )
        heapq.heappush(self._events, (*place, event))
        if len(self._events) > EVENTS:
            heapq.heappop(self._events)

    def report(self, title: str, scorer: FootageScorer, threshold: Threshold, notes: Sequence[str]) -> Report:
        self._top.end_clip()
        moments = self._top.moments()
        settings, engine, views = scorer.scorer.settings, scorer.scorer.engine, []
        if moments:
            raw, flow = (np.stack([moment.held[kind] for moment in moments]) for kind in ("raw", "flow"))
            views = inspect_cubes(
                scorer.scorer.networks, engine.cubes(raw), engine.flows(flow), [m.held["centre"] for m in moments],
                settings.eta[0], settings.model.p, settings.perturbation_loss, engine,
            )  # fmt: skip
        clip = ReportClip(
            self._name, np.asarray(self._scores), times=np.asarray(self._times), video="annotated.mp4",
            begins=self._begins,
        )  # fmt: skip
        return Report(
            title=title,
            clips=[clip],
            threshold=threshold.value,
            anomalies=[
                Anomaly(
                    self._name,
                    moment.frame,
                    moment.score,
                    moment.held["box"],
                    moment.held["picture"],
                    view,
                    moment.held["reason"],
                )
                for moment, view in zip(moments, views, strict=True)
            ],
            events=sorted((event for *_, event in self._events), key=lambda event: event.start),
            events_found=self._found,
            eta=settings.eta[0],
            counts={name.replace(" ", "_"): count for name, count in self.counts.items()},
            parameters=settings.model_dump(mode="json"),
            notes=notes,
        )


def _kept(frame: ScoredFrame) -> dict[str, Any]:
    """What a peak needs to be shown, without the frame itself."""
    box = tuple(frame.boxes[frame.top].tolist())
    return {
        "box": box,
        "picture": picture_around(frame.image, box),
        "raw": frame.raw[frame.top].copy(),
        "flow": frame.flow[frame.top].copy(),
        "centre": frame.centre,
        "reason": frame.reason,
    }
