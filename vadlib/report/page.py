"""A `Report` as HTML: what the template shows, in the words and numbers it shows it in."""

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vadlib.evaluation.frames import auroc, micro_auroc, rank_empty_frames_last, roc_points
from vadlib.io.files import write_text
from vadlib.report.contents import Anomaly, Report, ReportClip, ReportEvent
from vadlib.report.inspection import GAP
from vadlib.report.pictures import card_views, data_uri, flow_wheel, perturbation_image

MOST_POINTS = 200_000
"""Of all curves together; beyond it one point stands for several frames, and the page says so."""

BINS = 40
"""Of the histograms."""

_PROTOCOLS = {
    "raw": "raw (headline)",
    "median_17": "median filter, 17 frames (HF2-VAD)",
    "gaussian_3": "Gaussian filter, sigma 3 frames (AI-VAD on Ped2 and Avenue)",
    "gaussian_7": "Gaussian filter, sigma 7 frames (AI-VAD on ShanghaiTech)",
}


_FOR_A_PERSON = {
    "raw": "looks", "flow": "movement", "perturbed": "changed a little", "target": "seen", "output": "redrawn",
    "error": "difference", "summed": "in all", "moved by": "the change",
}  # fmt: skip
"""What the networks made of it, for somebody who has not read the paper."""


def write_report(path: Path, report: Report) -> None:
    """Write the page, whole or not at all. The same report gives the same bytes."""
    write_text(path, render(report))


def render(report: Report) -> str:
    """The whole page. Raises ValueError for a report without clips."""
    if not report.clips:
        raise ValueError("a report needs at least one clip")
    step = max(1, math.ceil(sum(len(clip.scores) for clip in report.clips) / MOST_POINTS))
    labelled = [clip for clip in report.clips if clip.labels is not None]
    all_labelled = len(labelled) == len(report.clips)
    roc, histogram, histogram_note = _charts(report.clips) if all_labelled else (None, None, "")
    index = {clip.name: number for number, clip in enumerate(report.clips)}
    clips = {clip.name: clip for clip in report.clips}
    data = {
        "step": step,
        "threshold": report.threshold,
        "clips": [_curve(clip, step) for clip in report.clips],
        "anomalies": [
            {"clip": index[a.clip], "frame": a.frame, "score": round(float(a.score), 4)} for a in report.anomalies
        ],
        "events": [
            {
                "clip": index[event.clip],
                "frame": event.frame,
                "score": round(float(event.score), 4),
                "start": round(event.start, 3),
                "end": round(event.end, 3),
            }
            for event in report.events or ()
        ],
        "roc": roc,
        "histogram": histogram,
    }
    from plotly.offline import get_plotlyjs  # takes a second that most commands need not spend

    plotly, script = _script(get_plotlyjs()), _script(_text("page.js"))
    columns, rows = _clip_table(report, labelled)
    views = any(a.view is not None and "flow" in a.view.branches for a in report.anomalies)
    environment = Environment(
        loader=PackageLoader("vadlib.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["score"] = _score
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment.get_template("page.html.j2").render(
        report=report,
        lead=_lead(report, all_labelled) if report.events is None else _lead_of_events(report),
        tiles=_tiles(report) if report.events is None else _tiles_of_events(report),
        events=None if report.events is None else _events(report, clips),
        words=dict.fromkeys(_FOR_A_PERSON) if report.events is None else _FOR_A_PERSON,
        summary=None if report.events is None else summary_of(report),
        columns=columns,
        rows=rows,
        macro_note=_macro_note(report, labelled),
        cards=[_card(anomaly, clips[anomaly.clip], report.threshold) for anomaly in report.anomalies],
        wheel=data_uri(flow_wheel(), "png") if views else None,
        gap=GAP,
        step=step,
        any_labels=bool(labelled),
        any_videos=any(clip.video is not None for clip in report.clips),
        charts=roc is not None,
        histogram_note=histogram_note,
        protocols=_protocols(report.metrics),
        counts=[(name.replace("_", " "), f"{value:,}") for name, value in report.counts.items()],
        parameters=_parameters(report.parameters),
        data=data,
        plotly=Markup(plotly),
        script=Markup(script),
        css=Markup(_text("page.css")),
        script_hashes=Markup(" ".join(map(_hash, (plotly, script)))),
    )


def _text(name: str) -> str:
    return files("vadlib.report").joinpath(name).read_text(encoding="utf-8")


def _script(code: str) -> str:
    """Code that can stand in a <script> element: nothing in it may end the element."""
    if "</script" in code.lower() or "<!--" in code:
        raise ValueError("a script that would end its own element")
    return code.replace("\r\n", "\n")  # as the browser reads it, and so hashes it


def _hash(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"


# Numbers as people read them


def _score(value: float | None) -> str:
    return "none" if value is None or not np.isfinite(value) else f"{value:.2f}".replace("-", "−")


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.1f}"


def _error(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def lasting(seconds: float) -> str:
    """How long something was, as people say it."""
    if seconds < 1:
        return "less than a second"
    if seconds < 59.5:
        return f"{round(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h" + (f" {minutes} min" if minutes else "")


def day_of(moment: datetime) -> str:
    """A day as people say it, whatever the locale."""
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    months = (
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    )  # fmt: skip
    return f"{days[moment.weekday()]}, {moment.day} {months[moment.month - 1]} {moment.year}"


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds, 2), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:05.2f}" if hours else f"{minutes}:{rest:05.2f}"


# The charts' data


def _curve(clip: ReportClip, step: int) -> dict[str, Any]:
    """What the page's script draws of a clip; scores of `step` frames at a time by their maximum."""
    frames = len(clip.scores)
    scores = np.asarray(clip.scores, np.float64)
    at = None
    if step > 1:
        low = np.where(np.isnan(scores), -np.inf, scores)
        at = [start + int(low[start : start + step].argmax()) for start in range(0, frames, step)]
        scores = scores[at]
    times = None
    if clip.times is not None:
        times = [round(float(time), 3) for time in (clip.times if at is None else clip.times[at])]
    return {
        "name": clip.name,
        "frames": frames,
        "scores": [None if np.isnan(score) else round(float(score), 4) for score in scores],
        "at": at,
        "times": times,
        "fps": clip.fps,
        "spans": None if clip.labels is None else _spans(clip.labels),
        "highest": _highest(clip),
        "begins": None if clip.begins is None else clip.begins.isoformat(),
        "video": clip.video,
    }


def _spans(labels: np.ndarray) -> list[list[int]]:
    """Half-open frame ranges that are True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(np.int8), [0]])))
    return edges.reshape(-1, 2).tolist()


def _highest(clip: ReportClip) -> float | None:
    scored = clip.scores[~np.isnan(clip.scores)]
    return round(float(scored.max()), 4) if len(scored) else None


def _charts(clips: Sequence[ReportClip]) -> tuple[dict[str, Any] | None, dict[str, Any] | None, str]:
    """ROC and histograms of all frames pooled; nothing where only one class is there, or no frame has a score."""
    labels = [clip.labels for clip in clips if clip.labels is not None]
    scores = [clip.scores for clip in clips]
    pooled, values = np.concatenate(labels), np.concatenate(scores)
    scored = values[~np.isnan(values)]
    if micro_auroc(labels, rank_empty_frames_last(scores)) is None or not len(scored):
        return None, None, ""
    fpr, tpr = roc_points(labels, scores)
    # A few far scores would squeeze all others into one bar.
    low, high = (float(edge) for edge in np.quantile(scored, (0, 0.995)))
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    shares = {}
    for name, chosen in (("normal", ~pooled), ("anomalous", pooled)):
        counts, _ = np.histogram(np.clip(values[chosen & ~np.isnan(values)], edges[0], edges[-1]), edges)
        shares[name] = np.round(counts / chosen.sum(), 5).tolist()
    notes = []
    if (over := int((scored > edges[-1]).sum())) > 0:
        notes.append(f"The last bar holds {over:,} frames with higher scores too.")
    if (empty := int(np.isnan(values).sum())) > 0:
        notes.append(f"{empty:,} frames without boxes have no score, and no bar.")
    roc = {"fpr": np.round(fpr, 5).tolist(), "tpr": np.round(tpr, 5).tolist()}
    return roc, {"edges": np.round(edges, 4).tolist(), **shares}, " ".join(notes)


# What happened, for a person


def summary_of(report: Report) -> dict[str, Any]:
    """What an overview of many pages says of this one: its clip, when it was and how long, and its highest event."""
    clip = report.clips[0]
    highest = max(report.events or (), key=lambda event: event.score, default=None)
    return {
        "title": report.title,
        "begins": None if clip.begins is None else clip.begins.isoformat(),
        "seconds": clip.time(len(clip.scores) - 1),
        "events": report.events_found,
        "seconds of events": round(sum(event.end - event.start for event in report.events or ()), 3),
        "score": None if highest is None else round(float(highest.score), 4),
        "at": None if highest is None else highest.start,
        "kind": "" if highest is None else _object(highest),
        "reason": "" if highest is None else highest.reason,
        "picture": None if highest is None else highest.picture,
    }


def _lead_of_events(report: Report) -> str:
    clip = report.clips[0]
    seconds = clip.time(len(clip.scores) - 1) or 0.0
    found = f"{report.events_found:,} events" if report.events_found != 1 else "One event"
    if not report.events_found:
        found = "Nothing unusual"
    parts = [f"{found} in {lasting(seconds)} of footage"]
    if clip.begins is not None:
        end = clip.begins + timedelta(seconds=seconds)
        parts.append(f": {day_of(clip.begins)}, {clip.begins:%H:%M:%S} to {end:%H:%M:%S} by the recording's name")
    return "".join(parts) + "."


def _tiles_of_events(report: Report) -> list[dict[str, str]]:
    (clip,) = report.clips
    scored = clip.scores[~np.isnan(clip.scores)]
    highest = _score(scored.max() if len(scored) else None)
    if report.threshold is None:
        return [_tile("events", f"{report.events_found:,}"), _tile("highest score", highest)]
    above = 100 * float((scored > report.threshold).mean()) if len(scored) else 0.0
    empty = 100 * (1 - len(scored) / max(1, len(clip.scores)))
    return [
        _tile("events", f"{report.events_found:,}", "unlike what the model has learned"),
        _tile("footage with something unusual", f"{above * len(scored) / max(1, len(clip.scores)):.0f} %"),
        _tile("footage without any object", f"{empty:.0f} %"),
        _tile("highest score", highest, f"above {_score(report.threshold)} it is an event"),
    ]


def _object(event: ReportEvent) -> str:
    return event.kind[:1].upper() + event.kind[1:] if event.kind else "Something that moves"


def _events(report: Report, clips: Mapping[str, ReportClip]) -> list[dict[str, Any]]:
    assert report.events is not None
    highest = max((event.score for event in report.events), default=None)
    rows = []
    for event in report.events:
        clip = clips[event.clip]
        since = _clock(event.start)
        begins = None if clip.begins is None else clip.begins + timedelta(seconds=event.start)
        rows.append(
            {
                "when": since.partition(".")[0] if begins is None else f"{begins:%H:%M:%S}",
                "since": "" if begins is None else f"{since.partition('.')[0]} into the clip",
                "stamp": "" if begins is None else begins.isoformat(timespec="seconds"),
                "length": lasting(event.end - event.start),
                "what": _object(event),
                "reason": event.reason,
                "score": _score(event.score),
                "value": round(float(event.score), 4),
                "start": round(event.start, 3),
                "picture": event.picture,
                "highest": event.score == highest and len(report.events) > 1,
            }
        )
    return rows


# Text and tables


def _lead(report: Report, all_labelled: bool) -> str:
    frames = sum(len(clip.scores) for clip in report.clips)
    clips = f"{len(report.clips):,} clips" if len(report.clips) > 1 else "One clip"
    parts = [f"{clips}, {frames:,} frames{'' if all_labelled else ', not all labelled'}."]
    if not any(clip.labels is not None for clip in report.clips):
        parts = [f"{clips}, {frames:,} frames, without labels."]
    if report.metrics:
        parts.append("Protocol: micro, the frames of all clips pooled.")
    parts.append(
        "Frame scores are raw: no smoothing over time, no normalisation by clip; objects' are means along tracks."
    )
    if report.eta is not None:
        perturbed = f"Cubes were perturbed by eta = {report.eta:g} before scoring."
        parts.append(perturbed if report.eta else "Cubes were not perturbed.")
    return " ".join(parts)


def _tiles(report: Report) -> list[dict[str, str]]:
    tiles = _metric_tiles(report.metrics) if report.metrics else []
    if tiles:
        return tiles
    scores = np.concatenate([clip.scores for clip in report.clips])
    scored = scores[~np.isnan(scores)]
    if report.threshold is not None:
        above = int((scored > report.threshold).sum())
        share = 100 * above / len(scores)
        tiles.append(_tile("frames above the threshold", f"{share:.1f} %", f"{above:,} of {len(scores):,}"))
        tiles.append(_tile("threshold", _score(report.threshold)))
    else:
        tiles.append(_tile("frames", f"{len(scores):,}"))
    tiles.append(_tile("highest score", _score(scored.max() if len(scored) else None)))
    only = report.clips[0]
    if len(report.clips) > 1:
        tiles.append(_tile("clips", f"{len(report.clips):,}"))
    elif (length := only.time(len(only.scores) - 1)) is not None:
        tiles.append(_tile("length", _clock(length)))
    tiles.append(_tile("frames without boxes", f"{len(scores) - len(scored):,}", "they have no score"))
    return tiles


def _tile(label: str, value: str, note: str = "") -> dict[str, str]:
    return {"label": label, "value": value, "note": note}


def _metric_tiles(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    areas = metrics.get("auroc", {})
    known = [
        ("AUROC, micro", areas.get("micro"), _interval(metrics, "auroc", "micro")),
        ("AUROC, macro", areas.get("macro"), _interval(metrics, "auroc", "macro")),
        ("average precision", metrics.get("average_precision"), _interval(metrics, "average_precision")),
        (
            "equal error rate",
            metrics.get("equal_error_rate"),
            _interval(metrics, "equal_error_rate"),
        ),
        ("AUROC of the untrained floor", areas.get("floor"), _floor_note(metrics)),
        ("RBDC", metrics.get("rbdc"), _interval(metrics, "rbdc")),
        ("TBDC", metrics.get("tbdc"), _interval(metrics, "tbdc")),
    ]
    return [_tile(label, f"{100 * value:.1f} %", note) for label, value, note in known if value is not None]


def _floor_note(metrics: Mapping[str, Any]) -> str:
    return "; ".join(filter(None, ("the best of what learns nothing", _interval(metrics, "auroc", "floor"))))


def _interval(metrics: Mapping[str, Any], *keys: str) -> str:
    """The 95 % interval of a metric, where the metrics file has one."""
    interval: Any = metrics.get("intervals", {})
    for key in keys:
        interval = interval.get(key) if isinstance(interval, Mapping) else None
    return f"95 % interval {100 * interval[0]:.1f}–{100 * interval[1]:.1f}" if interval else ""


def _protocols(metrics: Mapping[str, Any] | None) -> list[dict[str, str]]:
    if not metrics or metrics.get("auroc", {}).get("micro") is None:
        return []
    rows = [{"protocol": "raw", **metrics["auroc"]}, *metrics.get("protocols", ())]
    return [
        {
            "name": _PROTOCOLS.get(row["protocol"], row["protocol"]),
            "micro": _percent(row["micro"]),
            "macro": _percent(row["macro"]),
        }
        for row in rows
    ]


def _clip_table(report: Report, labelled: Sequence[ReportClip]) -> tuple[list[str], list[dict[str, Any]]]:
    """Headings, and for each clip its name and its cells: text to read and a number to sort by."""
    columns = ["clip", "frames", "peak"]
    if report.threshold is not None:
        columns.append("above")
    if labelled:
        columns += ["labelled", "AUROC"]
    ranked = rank_empty_frames_last([clip.scores for clip in report.clips])
    rows = []
    for clip, scores in zip(report.clips, ranked, strict=True):
        highest = _highest(clip)
        cells = [_cell(len(scores), f"{len(scores):,}"), _cell(highest, _score(highest))]
        if report.threshold is not None:
            cells.append(_share(clip.scores > report.threshold))
        if labelled:
            area = None if clip.labels is None else auroc(clip.labels, scores)
            cells.append(_cell(None, "–") if clip.labels is None else _share(clip.labels))
            cells.append(_cell(None, "–") if area is None else _cell(area, _percent(area)))
        rows.append({"name": clip.name, "cells": cells})
    return columns, rows


def _cell(value: float | None, text: str) -> dict[str, Any]:
    return {"value": value, "text": text}


def _share(chosen: np.ndarray) -> dict[str, Any]:
    share = float(chosen.mean()) if len(chosen) else 0.0
    return _cell(share, f"{100 * share:.0f} %")


def _macro_note(report: Report, labelled: Sequence[ReportClip]) -> str:
    """Why clips have no AUROC."""
    one_class = sum(clip.labels is not None and len(np.unique(clip.labels)) < 2 for clip in labelled)
    notes = []
    if report.threshold is not None:
        notes.append(f"above: share of frames above the threshold{';' if labelled else '.'}")
    if labelled:
        notes.append("labelled: share labelled anomalous. AUROC in per cent.")
    if one_class:
        notes.append("A clip that is all normal or all anomalous has none.")
    text = " ".join(notes)
    return text[:1].upper() + text[1:]


def _card(anomaly: Anomaly, clip: ReportClip, threshold: float | None) -> dict[str, Any]:
    badges = []
    if clip.labels is not None:
        kind = "anomalous" if clip.labels[anomaly.frame] else "normal"
        badges.append({"kind": kind, "text": f"labelled {kind}"})
    if threshold is not None and anomaly.score <= threshold:
        badges.append({"kind": "plain", "text": "below threshold"})
    height, width = anomaly.picture.shape[:2]
    rows, note = card_views(anomaly.view) if anomaly.view is not None else ([], "")
    return {
        "clip": anomaly.clip,
        "frame": anomaly.frame,
        "time": _clock(clip.time(anomaly.frame)),
        "score": _score(anomaly.score),
        "badges": badges,
        "reason": anomaly.reason,
        "picture": data_uri(anomaly.picture, "jpg"),
        "width": width,
        "height": height,
        "rows": [{**row, "error": _error(row["error"])} for row in rows],
        "perturbation": None if anomaly.view is None else perturbation_image(anomaly.view),
        "perturbation_note": "one step against the gradient of both errors, the same for both networks",
        "note": note,
    }


def _parameters(parameters: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Groups of names and values; what lies deeper is named with dots, what is in no group comes first."""
    loose = [(name, _plain(value)) for name, value in parameters.items() if not isinstance(value, Mapping)]
    groups = [("scoring", loose)] if loose else []
    groups += [(name, list(_flat(value))) for name, value in parameters.items() if isinstance(value, Mapping)]
    return groups


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
