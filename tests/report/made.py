"""A small report, made of nothing but arrays."""

from dataclasses import replace
from datetime import datetime

import numpy as np

from vadlib.report.contents import Anomaly, Report, ReportClip, ReportEvent, picture_around, whole_picture
from vadlib.report.inspection import BranchView, CubeView, Reconstruction
from vadlib.report.pictures import data_uri

EVIL = ("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "a'b\"c&d")

METRICS = {
    "auroc": {"micro": 0.901, "macro": 0.912, "floor": 0.613},
    "average_precision": 0.876,
    "equal_error_rate": 0.123,
    "intervals": {"auroc": {"micro": [0.845, 0.953], "macro": None}, "average_precision": [0.8, 0.9], "left_out": []},
    "protocols": [{"protocol": "median_17", "micro": 0.933, "macro": None}],
}


def clip(name: str, frames: int = 60, *, start: int = 20, peak: float = 5.0, **more) -> ReportClip:
    """A clip whose score rises to `peak` amid an anomalous span of 20 frames; the first frame has no boxes."""
    frame = np.arange(frames)
    scores = peak * np.exp(-(((frame - start - 10) / 6) ** 2)) + 0.1 * np.sin(frame)
    scores[0] = np.nan
    labels = (frame >= start) & (frame < start + 20)
    return ReportClip(name, scores, **{"fps": 25.0, "labels": labels, **more})


def view(seed: int = 0, side: int = 8) -> CubeView:
    """A cube of both branches, of noise."""
    rng = np.random.default_rng(seed)
    original = rng.random((side, side, 3), np.float32)

    def branch(channels: int) -> BranchView:
        def run() -> Reconstruction:
            return Reconstruction(
                rng.random((side, side, channels), np.float32), rng.random((side, side), np.float32), 123.456
            )

        return BranchView(rng.random((side, side, channels), np.float32), run(), run())

    return CubeView(original, original + np.float32(0.002), {"raw": branch(3), "flow": branch(2)})


def anomaly(clip: str, frame: int, score: float, **more) -> Anomaly:
    frame_picture = np.full((48, 64, 3), 90, np.uint8)
    box = (20.0, 10.0, 30.0, 30.0)
    return Anomaly(clip, frame, score, box, picture_around(frame_picture, box), **more)


def report(**more) -> Report:
    """Three labelled clips, one with a name full of markup, and two anomalies."""
    made = Report(
        title="small",
        clips=[clip("01"), clip("02", start=30, peak=7.0), clip(EVIL[0], 40, start=5, peak=3.0)],
        threshold=1.5,
        anomalies=[anomaly("02", 40, 7.0, view=view()), anomaly("01", 30, 5.0)],
        metrics=METRICS,
        eta=0.002,
        counts={"testing clips": 3},
        parameters={"eta": [0.002], "model": {"kind": "state", "widths": [4, 8, 8]}},
    )
    return replace(made, **more)


def unlabelled(**more) -> Report:
    """One clip of own footage, with times and nothing else known."""
    plain = clip("street", 80, labels=None, fps=None, times=np.arange(80) / 12.5)
    return replace(Report("street.mp4", [plain], threshold=1.5), **more)


WHY = "It is as fast as 1 in 3,400 normal objects; it looks as unlike all that was seen as 1 in 90 normal objects"


def event(start: float, end: float, score: float, **more) -> ReportEvent:
    """One of `own`'s events, which peaks in its middle."""
    peak = (start + end) / 2
    frame = np.full((90, 160, 3), (70, 90, 110), np.uint8)
    picture = data_uri(whole_picture(frame, (20 + 8 * score, 30, 40 + 8 * score, 70)), "jpg")
    return ReportEvent("street", start, end, round(12.5 * peak), peak, score, picture, **more)


def own(**more) -> Report:
    """80 s of one's own footage, of a known time, in which three things happened."""
    events = [
        event(8.0, 12.5, 6.2, kind="person", reason=WHY),
        event(30.0, 30.4, 3.1),
        event(61.0, 74.0, 9.8, kind="car", reason="It goes as unusual a way as 1 in 800 normal objects"),
    ]
    times = np.arange(1000) / 12.5
    scores = 0.3 * np.sin(times) + sum(e.score * np.exp(-(((times - e.peak) / 3) ** 2)) for e in events)
    clip = ReportClip("street", scores, times=times, video="annotated.mp4", begins=datetime(2026, 1, 31, 8, 15))
    peaks = [anomaly("street", e.frame, e.score, view=view(), reason=e.reason) for e in events]
    made = Report(
        "street", [clip], threshold=2.0, anomalies=peaks, events=events, events_found=3, eta=0.002,
        counts={"frames": 1000}, parameters={"eta": [0.002]},
    )  # fmt: skip
    return replace(made, **more)
