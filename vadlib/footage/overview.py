"""The pages of a folder of results on one page: by days and clips, what happened in each."""

import heapq
import json
import os
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vadlib.footage.find import OVERVIEW
from vadlib.io.files import write_text
from vadlib.io.names import natural_key
from vadlib.io.ownership import is_made
from vadlib.report.page import day_of, lasting

_SUMMARY = re.compile(r'<script id="summary" type="application/json">(.*?)</script>', re.DOTALL)
PICTURES = 500
"""At most: of the recordings with the highest scores. More would be too much for a browser."""

_HEAD = 1 << 18  # bytes of a page that its summary, with a picture, lies in


def write_overview(folder: Path) -> None:
    """Write the overview of all clips whose results are below a folder, from this run or earlier ones: OVERVIEW in it.

    What each page says of its clip is read from the page itself, so that clips may be added a day at a time. Without a
    page nothing is written. Raises VadError where somebody else's file is in the overview's place.
    """
    rows: list[dict[str, Any]] = []
    shown: list[tuple[float, int]] = []
    for number, row in enumerate(_rows(folder)):
        rows.append(row)
        if row["picture"]:
            heapq.heappush(shown, (row["score"], number))
        if len(shown) > PICTURES:
            rows[heapq.heappop(shown)[1]]["picture"] = None
    if not rows:
        return
    rows.sort(key=lambda row: (row["day"] or "~", row["begins"] or "", natural_key(row["name"])))
    days = []
    for _, of_day in groupby(rows, key=lambda row: row["day"]):
        clips = list(of_day)
        moment = clips[0]["moment"]
        days.append(
            {
                "name": "Day not known" if moment is None else day_of(moment),
                "events": sum(row["events"] for row in clips),
                "clips": clips,
            }
        )
    environment = Environment(
        loader=PackageLoader("vadlib.footage", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    css = files("vadlib.report").joinpath("page.css").read_text(encoding="utf-8")
    write_text(
        folder / OVERVIEW,
        environment.get_template("overview.html.j2").render(
            days=days,
            clips=len(rows),
            events=sum(row["events"] for row in rows),
            quiet=sum(not row["events"] for row in rows),
            length=lasting(sum(row["seconds"] for row in rows)),
            dated=any(row["moment"] is not None for row in rows),
            css=Markup(css),
        ),
    )


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    for page in folder.rglob("report.html"):
        if page.parent == folder or not is_made(page):
            continue
        with page.open(encoding="utf-8", errors="replace") as file:
            found = _SUMMARY.search(file.read(_HEAD))
        if not found:  # of an earlier version
            continue
        told = json.loads(found[1])
        below = page.relative_to(folder)
        moment = None if told["begins"] is None else datetime.fromisoformat(told["begins"])
        seconds = told["seconds"] or 0.0
        first = None if told["at"] is None else _when(moment, told["at"])
        yield {
            "name": below.parent.as_posix(),
            "title": told["title"],
            "link": quote(os.fsencode(below.as_posix())),
            "moment": moment,
            "day": None if moment is None else f"{moment:%Y-%m-%d}",
            "begins": told["begins"],
            "when": "" if moment is None else f"{moment:%H:%M:%S}",
            "seconds": seconds,
            "length": lasting(seconds),
            "events": told["events"],
            "lasted": lasting(told["seconds of events"]),
            "score": told["score"],
            "peak": first,
            "kind": told["kind"],
            "reason": told["reason"],
            "picture": told["picture"],
        }


def _when(begins: datetime | None, seconds: float) -> str:
    if begins is not None:
        return f"{begins + timedelta(seconds=seconds):%H:%M:%S}"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02} into it"
