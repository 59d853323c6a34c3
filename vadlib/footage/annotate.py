"""The annotated video: boxes coloured by their scores, and the score curve of the last seconds beneath."""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vadlib.footage.mp4 import Mp4
from vadlib.footage.stream import ScoredFrame
from vadlib.scoring.thresholds import Threshold

WIDTHS = (640, 1280)  # px: smaller frames are enlarged, so that text can be read; larger ones made smaller
SECONDS = 10.0  # of the curve
LABELS = 3  # boxes of a frame at most that show their scores

NORMAL, DOUBTFUL, ANOMALOUS = (42, 157, 143), (233, 196, 106), (230, 57, 70)
BACKGROUND, GRID, TEXT, CURVE = (18, 22, 30), (52, 60, 74), (200, 206, 216), (150, 190, 220)


def colour_of(score: float, threshold: Threshold) -> tuple[int, int, int]:
    """RGB: green for the usual, towards yellow as a score comes near the threshold, red above it."""
    if score > threshold.value:
        return ANOMALOUS
    span = threshold.value - threshold.median
    share = min(max((score - threshold.median) / span, 0), 1) if span > 0 else 0
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(NORMAL, DOUBTFUL, strict=True))
    return red, green, blue


class AnnotatedVideo(AbstractContextManager["AnnotatedVideo"]):
    """Writes frames, as they are scored, to an MP4 (`Mp4`) that plays in a browser."""

    def __init__(self, path: Path, threshold: Threshold) -> None:
        self._threshold, self._file, self._curve = threshold, Mp4(path), _Curve(threshold)

    def write(self, frame: ScoredFrame) -> None:
        """Draw and encode the next frame. Raises VadError where the disk is full."""
        self._file.write(frame.time, self._curve.under(draw_boxes(frame, self._threshold), frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)


def draw_boxes(frame: ScoredFrame, threshold: Threshold) -> np.ndarray:
    """The frame at a readable size with its boxes: uint8 (h, w, 3), both sides even. The worst show their scores."""
    height, width = frame.image.shape[:2]
    scale = min(max(width, WIDTHS[0]), WIDTHS[1]) / width
    size = tuple(max(2, round(side * scale / 2) * 2) for side in (width, height))
    picture = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    line = max(2, round(size[0] / 480))
    for index in np.argsort(frame.scores):  # the worst lies on top
        x1, y1, x2, y2 = (round(float(edge) * scale) for edge in frame.boxes[index])
        colour = colour_of(frame.scores[index], threshold)
        cv2.rectangle(picture, (x1, y1), (x2, y2), (0, 0, 0), line + 2, cv2.LINE_AA)
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, line, cv2.LINE_AA)
    if frame.top is None:
        return picture
    image = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(image), _font(size[0])
    worst = [i for i in np.argsort(-frame.scores)[:LABELS] if frame.scores[i] > threshold.value or i == frame.top]
    taken: list[tuple[float, float, float, float]] = []
    for index in worst:  # which has the first choice of where its score stands
        text = f"{frame.scores[index]:.1f}"
        wide, high = draw.textlength(text, font) + 8, font.size + 5
        place = _room(tuple(float(edge) * scale for edge in frame.boxes[index]), wide, high, line, size, taken)
        if place is None:
            continue
        x, y = place
        taken.append((x, y, x + wide, y + high))
        draw.rectangle(taken[-1], fill=colour_of(frame.scores[index], threshold))
        draw.text((x + 4, y + 1), text, (255, 255, 255) if frame.scores[index] > threshold.value else (0, 0, 0), font)
    return np.asarray(image)


def _room(
    box: Sequence[float],
    wide: float,
    high: float,
    line: int,
    size: Sequence[int],
    taken: Sequence[tuple[float, float, float, float]],
) -> tuple[float, float] | None:
    """Where a label of a box can stand without lying over another: above the box, else below, else in it, by its left
    edge or its right; None where all of that is taken."""
    x1, y1, x2, y2 = box
    half = line / 2
    for y in (y1 - high, y2, y1, y2 - high):
        for x in (x1 - half, x2 + half - wide):
            left, top = min(max(x, 0), size[0] - wide), min(max(y, 0), size[1] - high)
            if all(left >= c or left + wide <= a or top >= d or top + high <= b for a, b, c, d in taken):
                return left, top
    return None


class _Curve:
    """The strip beneath the frames."""

    def __init__(self, threshold: Threshold) -> None:
        self._threshold = threshold
        self._points: deque[tuple[float, float]] = deque()  # times and scores, NaN without boxes
        low, high = sorted((threshold.median, threshold.value))  # a threshold that was given may be below the median
        span = max(high - low, 1e-6)
        # The axis never jumps back: it grows to hold whatever has been seen.
        self._low, self._high = low - 0.75 * span, high + 0.75 * span

    def under(self, picture: np.ndarray, frame: ScoredFrame) -> np.ndarray:
        """A picture (h, w, 3) with the curve up to this frame beneath it."""
        self._points.append((frame.time, frame.score))
        while self._points[0][0] < frame.time - SECONDS:
            self._points.popleft()
        if np.isfinite(frame.score):
            self._low, self._high = min(self._low, frame.score), max(self._high, frame.score)
        width = picture.shape[1]
        font = _font(width)
        line = round(font.size) + 6
        height = round((2 * line + 8 + width * 0.1) / 2) * 2
        strip = np.full((height, width, 3), BACKGROUND, np.uint8)
        left, right, top, bottom = line // 2, width - line // 2, line + 6, height - line
        begin = max(0.0, frame.time - SECONDS)

        def x(time: float) -> int:
            return round(left + (time - begin) / SECONDS * (right - left))

        def y(score: float) -> int:
            return round(bottom - 2 - (score - self._low) / (self._high - self._low) * (bottom - top - 4))

        ticks = [second for second in range(int(np.ceil(begin)), int(begin + SECONDS) + 1) if second % 2 == 0]
        for second in ticks:
            cv2.line(strip, (x(second), top), (x(second), bottom), GRID, 1)
        limit = y(self._threshold.value)
        for start in range(left, right, 12):
            cv2.line(strip, (start, limit), (min(start + 6, right), limit), DOUBTFUL, 1)
        self._draw(strip, x, y, max(2, width // 640))
        image = Image.fromarray(strip)
        draw = ImageDraw.Draw(image)
        for second in ticks:
            label = f"{second // 60}:{second % 60:02d}"
            at = min(max(x(second) - draw.textlength(label, font) / 2, 2), width - draw.textlength(label, font) - 2)
            draw.text((at, bottom + 1), label, TEXT, font)
        name = f"threshold {self._threshold.value:.1f}"
        draw.text((right - draw.textlength(name, font), limit - line + 2), name, DOUBTFUL, font)
        anomalous = frame.score > self._threshold.value
        score = f"{frame.score:.1f}" if np.isfinite(frame.score) else "no boxes"
        draw.text((left, 3), f"anomaly score  {score}", ANOMALOUS if anomalous else TEXT, font)
        place = f"frame {frame.number}   {int(frame.time) // 60}:{frame.time % 60:05.2f}"
        draw.text((right - draw.textlength(place, font), 3), place, TEXT, font)
        return np.concatenate([picture, np.asarray(image)])

    def _draw(self, strip: np.ndarray, x: Callable[[float], int], y: Callable[[float], int], thickness: int) -> None:
        points = list(self._points)
        limit = self._threshold.value
        for (t0, s0), (t1, s1) in pairwise(points):
            if np.isfinite(s0) and np.isfinite(s1):
                colour = ANOMALOUS if max(s0, s1) > limit else CURVE
                cv2.line(strip, (x(t0), y(s0)), (x(t1), y(s1)), colour, thickness, cv2.LINE_AA)
        time, score = points[-1]
        if np.isfinite(score):
            cv2.circle(strip, (x(time), y(score)), 2 * thickness, colour_of(score, self._threshold), -1, cv2.LINE_AA)


def _font(width: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font at a size that suits a picture of this width."""
    font = ImageFont.load_default(max(13, round(width / 60)))
    assert isinstance(font, ImageFont.FreeTypeFont)  # of the size asked for
    return font
