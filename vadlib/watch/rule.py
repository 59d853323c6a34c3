"""When a model scores: by the hour, by whether pictures have colour, which by infrared light they have not, or by
whether they are dark, as those of a camera without infrared light.

    --model day --model night@20:00-06:00    by the clock, local time
    --model day --model night@grey           by the pictures' colour
    --model day --model night@dark           by their brightness

The one without a rule scores when no other does.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

from vadlib.errors import VadError
from vadlib.watch.sources import Captured

COLOURFUL = 16  # levels, of 255, between a pixel's highest and lowest colour, that compression does not make of grey
FEW = 0.02  # share of a picture that may be colourful, and it is grey: a camera's lettering and logo
DARK = 40  # levels, of 255: half of a dark picture is no brighter, whatever lamps and lettering there are
LOOKED_AT = (32, 24)  # px, so large are pictures looked at: of noise nothing is left
DAY = 24 * 60

_EXPECTED = (
    "expected the folder alone, or with @HH:MM-HH:MM, local time, @grey, for pictures without colour, or @dark, for "
    "dark ones"
)


@dataclass(frozen=True)
class Rule:
    """When a model scores."""

    text: str = ""  # as it was given; empty: when no other does
    begin: int = 0  # of hours, in minutes after midnight; the end is not one of them
    end: int = 0

    def applies(self, captured: Captured) -> bool:
        """Whether a frame asks for it."""
        if (of_picture := _BY_PICTURE.get(self.text)) is not None:
            return of_picture(captured.image)
        clock = datetime.fromtimestamp(captured.wall)
        return self._holds_at(60 * clock.hour + clock.minute)

    def overlaps(self, other: "Rule") -> bool:
        """Whether both may apply to one frame; each has a text."""
        if self.text in _BY_PICTURE or other.text in _BY_PICTURE:
            return True
        return self._holds_at(other.begin) or other._holds_at(self.begin)

    def _holds_at(self, minute: int) -> bool:
        return (minute - self.begin) % DAY < (self.end - self.begin) % DAY


def parse_model(text: str) -> tuple[Path, Rule]:
    """A model folder and its rule as given on the command line: a path, or `path@rule`. Raises VadError for no rule."""
    path, at, rule = text.rpartition("@")
    if not at or Path(text).exists():
        return Path(text), Rule()
    if rule in _BY_PICTURE:
        return Path(path), Rule(rule)
    hours = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)", rule)
    if hours is None:
        raise VadError(f"--model {text}: {rule!r} is no rule, and there is no such folder; {_EXPECTED}")
    begin, end = (60 * int(hours[place]) + int(hours[place + 1]) for place in (1, 3))
    if begin == end:
        raise VadError(f"--model {text}: begins and ends at the same time; {_EXPECTED}")
    return Path(path), Rule(rule, begin, end)


def check_models(texts: Sequence[str]) -> list[tuple[Path, Rule]]:
    """The models of a command line, each with its rule. Raises VadError, in one line, where two may be asked for at a
    time, none may, or one is given twice."""
    models = [parse_model(text) for text in texts]
    for (text, (path, rule)), (other_text, (other, other_rule)) in combinations(zip(texts, models, strict=True), 2):
        both = f"--model {text} and --model {other_text}"
        if path.resolve() == other.resolve():
            raise VadError(f"{both}: the same folder; give one model once")
        if not rule.text and not other_rule.text:
            raise VadError(f"{both}: neither has a rule, so nothing says when to take which; {_EXPECTED}")
        if rule.text and other_rule.text and rule.overlaps(other_rule):
            raise VadError(
                f"{both}: both rules may hold at a time; give hours that do not overlap, or one rule by the pictures"
            )
    if all(rule.text for _, rule in models):
        raise VadError(f"--model {texts[0]}: no model is without a rule; one has to be, for when no other's holds")
    return models


def names_of(paths: Sequence[Path]) -> list[str]:
    """What models are called: by their folders, or where two are called the same, by whole paths."""
    names = [path.resolve().name for path in paths]
    return [name if names.count(name) == 1 else str(path.resolve()) for name, path in zip(names, paths, strict=True)]


def is_grey(image: np.ndarray) -> bool:
    """Whether a frame, uint8 (H, W, 3), RGB, has no colour but for a camera's lettering."""
    return bool((np.ptp(_small(image), axis=2) > COLOURFUL).mean() < FEW)


def is_dark(image: np.ndarray) -> bool:
    """Whether a frame, uint8 (H, W, 3), RGB, is dark but for lamps and what they light."""
    return bool(np.median(_small(image).mean(axis=2)) < DARK)


def _small(image: np.ndarray) -> np.ndarray:
    step = max(1, image.shape[1] // (4 * LOOKED_AT[0]))  # of a large frame some pixels do
    return cv2.resize(np.ascontiguousarray(image[::step, ::step]), LOOKED_AT, interpolation=cv2.INTER_AREA)


_BY_PICTURE: dict[str, Callable[[np.ndarray], bool]] = {"grey": is_grey, "dark": is_dark}
