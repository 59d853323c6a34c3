"""What file names say: the order people read them in, the times that snapshots carry, and names safe on any system."""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

MOST_A_SECOND = 120
"""Images at most whose names hold one second: beyond it that is the time of something else, a recording's begin."""

LONGEST = 120  # bytes of a safe name: results lie some folders deep, and suffixes are added


def natural_key(name: str) -> tuple[Any, ...]:
    """Sort key that puts `clip2` before `clip10`; ties (`02` and `2`) go by the plain name."""
    parts = re.split(r"(\d+)", name, flags=re.ASCII)
    return (*((int(part), "") if i % 2 else (-1, part) for i, part in enumerate(parts)), (-1, name))


# Times. A number after the seconds is a fraction of them behind a point, or where it is three digits that are no count
# of the second's images. Behind it may be which half of the day it is, and what to add for the time zone.
_CLOCK = r"(?P<H>[01]\d|2[0-3])(?P<sep>[-_.:h]?)(?P<M>[0-5]\d)(?:(?P=sep)|(?<=\d)m)(?P<S>[0-5]\d)s?"
_MORE = r"(?:[.,](?P<fraction>\d{1,6})|(?P<ms>\d{3})|[-_ ](?P<ms_or_count>\d{3})|[-_ ]\d{1,2})?(?!\d)"
_HALF = r"[ _\u00a0\u202f]?(?P<half>[AaPp])[Mm](?![^\W_])"
_MORE += rf"(?:{_HALF})?(?P<zone>\+\d\d:?\d\d(?!\d)|-\d\d:\d\d(?!\d))?"
_ANY_CLOCK = r"(?P<H>1\d|2[0-3]|0?\d)(?P<sep>[-_.:h])(?P<M>[0-5]?\d)(?:(?P=sep)|(?<=\d)m)(?P<S>[0-5]?\d)s?"
_YEAR, _MONTH, _DAY = r"(?P<Y>(?:19|20)\d\d)", r"(?P<m>0[1-9]|1[0-2])", r"(?P<d>0[1-9]|[12]\d|3[01])"
_TIMES = [
    re.compile(pattern)
    for pattern in (
        rf"(?<!\d){_YEAR}(?P<ds>[-_.]?){_MONTH}(?P=ds){_DAY}\D{{0,4}}{_CLOCK}{_MORE}",
        rf"(?<!\d){_DAY}(?P<ds>[-_.]){_MONTH}(?P=ds){_YEAR}\D{{0,4}}{_CLOCK}{_MORE}",
        rf"(?<!\d){_MONTH}{_DAY}[-_]{_CLOCK}{_MORE}",
        rf"(?<!\d)(?P<H>[01]\d|2[0-3])(?P<sep>[-_.:h])(?P<M>[0-5]\d)(?:(?P=sep)|(?<=\d)m)(?P<S>[0-5]\d)s?{_MORE}",
        r"(?<!\d)(?P<epoch>1\d{9})(?:[.](?P<fraction>\d{1,9})|(?P<ms>\d{9}|\d{6}|\d{3}))?(?!\d)",
        # Single digits, of people and of their systems: only where all is divided, and nothing else can be meant.
        rf"(?<!\d){_YEAR}(?P<ds>[-_.])(?P<m>1[0-2]|0?[1-9])(?P=ds)(?P<d>[12]\d|3[01]|0?[1-9])\D{{1,4}}{_ANY_CLOCK}{_MORE}",
        rf"(?<!\d){_ANY_CLOCK}{_HALF}",
    )
]


def times_in_names(names: Sequence[str]) -> list[float] | None:
    """The time that each name holds, in seconds from the earliest; None unless all hold one, in the same way.

    `12-28-11`, `1.05.09 PM`, `2026-01-01_08-00-00`, `20260101080000123`, `0107_100715-01-m` and `1767254400` hold one.
    Images of the same second, if their names do not say more, are spread evenly over it, in the order of their names.
    """
    for pattern in _TIMES:
        parts = [match.groupdict() for name in names if (match := pattern.search(name))]
        if not parts or len(parts) < len(names):
            continue
        try:
            whole = [_seconds(part) for part in parts]
        except ValueError:  # the 30th of February
            continue
        counts = max(int(part.get("ms_or_count") or 0) for part in parts) <= MOST_A_SECOND
        earliest = min(whole)
        whole = [second - earliest for second in whole]
        times = [second + _fraction(part, counts) for second, part in zip(whole, parts, strict=True)]
        if len(set(times)) < len(times):
            if len(set(whole)) == 1 or max(Counter(whole).values()) > MOST_A_SECOND:
                continue
            times = _spread(whole, names)
        begin = min(times)
        return [time - begin for time in times]
    return None


def _seconds(parts: dict[str, Any]) -> int:
    if parts.get("epoch"):
        return int(parts["epoch"])
    year, month, day = (int(parts.get(key) or default) for key, default in (("Y", 2000), ("m", 1), ("d", 1)))
    hour, minute, second = (int(parts[key]) for key in "HMS")
    if half := parts.get("half"):
        hour = hour % 12 + 12 * (half in "Pp")
    zone = parts.get("zone") or "+0000"
    ahead = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
    local = int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    return local - ahead if zone[0] == "+" else local + ahead


def _fraction(parts: dict[str, Any], counts: bool) -> float:
    if parts.get("fraction"):
        return float(f"0.{parts['fraction']}")
    return float(f"0.{parts.get('ms') or (not counts and parts.get('ms_or_count')) or 0}")


def _spread(whole: Sequence[int], names: Sequence[str]) -> list[float]:
    """Times of images, of which several may be of one second."""
    count = Counter(whole)
    seen: Counter[int] = Counter()
    times = [0.0] * len(names)
    for index in sorted(range(len(names)), key=lambda i: (whole[i], natural_key(names[i]))):
        times[index] = whole[index] + seen[whole[index]] / count[whole[index]]
        seen[whole[index]] += 1
    return times


# Safe names

_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def safe_name(name: str) -> str:
    """A file or folder name that any system takes, and any terminal and table shows.

    Where the name is not one itself, what it cannot have is replaced, and a mark that depends on the whole of it keeps
    different names different: the same name always becomes the same.
    """
    safe = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in name)
    safe = safe.lstrip(". ").rstrip(". ")
    if safe.split(".")[0].casefold() in _RESERVED:
        safe = f"_{safe}"
    while len(safe.encode()) > LONGEST:
        safe = safe[:-1]
    if safe == name:
        return name
    return f"{safe.rstrip('. ') or 'clip'}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def folded(name: str) -> str:
    """What two names have in common that are one on a disk that ignores case or how accents are written."""
    return unicodedata.normalize("NFC", name).casefold()
