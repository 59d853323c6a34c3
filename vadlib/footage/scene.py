"""What of a camera's pictures counts: where, which kinds of objects, of what size, and how many of its frames.

    scene.json   the settings, in a model folder
    mask.png     where, if not everywhere: white counts, black does not

Training, scoring and watching leave out the same: what a model has not learned is none of its business.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from pydantic import ValidationError

from vadlib.boxes.table import MOTION, Boxes
from vadlib.errors import VadError
from vadlib.footage.classes import class_name, class_names
from vadlib.io.files import read_json, surroundings, write_json, written_aside
from vadlib.settings import DetectorSettings, SceneSettings, first_problem

FILE, MASK = "scene.json", "mask.png"
GRID = 1000
"""Polygons are drawn on a picture so wide and high, whatever the frame's shape: a thousandth of it is near enough."""
LEAST_SIDE, MOST_SIDE = 8, 8192  # px of a mask
_COPIED = "copying the whole model folder again"


@dataclass(frozen=True, eq=False)
class Scene:
    """What of a camera's pictures counts."""

    settings: SceneSettings = field(default_factory=SceneSettings)
    watched: np.ndarray | None = None  # bool (h, w), of any size, laid over the frame; None: everywhere

    def keep(self, boxes: Boxes, width: int, height: int, detector: DetectorSettings) -> Boxes:
        """Of the boxes of a frame so wide and high those that count, in order."""
        wanted = self.wants(boxes, width, height, detector)
        return boxes if wanted.all() else boxes.take(wanted)

    def wants(self, boxes: Boxes, width: int, height: int, detector: DetectorSettings) -> np.ndarray:
        """bool (n,): which boxes, of frames so wide and high, count: more than half of each is where it counts, and
        what it is and its size do."""
        wanted = np.ones(len(boxes), bool)
        if (kinds := self.settings).classes or kinds.ignore:
            names = [
                MOTION if source == MOTION else class_name(detector, number)
                for number, source in zip(boxes.cls.tolist(), boxes.source.tolist(), strict=True)
            ]
            wanted &= np.array([name not in kinds.ignore and name in (kinds.classes or names) for name in names], bool)
        share = 100 * (boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]).prod(axis=1) / (width * height)
        wanted &= (share >= self.settings.smallest) & (share <= self.settings.largest)
        if self.watched is not None:
            wanted &= self._share_watched(boxes.xyxy, width, height) > 0.5
        return wanted

    def looks_at(self, frame: int) -> bool:
        """Whether a frame, from 0, is one of those that are scored."""
        return frame % self.settings.every == 0

    @property
    def mark(self) -> str:
        """The same for scenes that keep the same boxes."""
        mask = "" if self.watched is None else f"{self.watched.shape} {np.packbits(self.watched).tobytes().hex()}"
        return f"{self.settings.model_copy(update={'mask': None}).model_dump_json()} {mask}"

    def _share_watched(self, xyxy: np.ndarray, width: int, height: int) -> np.ndarray:
        """float64 (n,): which share of each box is where it counts."""
        sums, (rows, columns) = self._sums, np.array(self._sums.shape) - 1
        scaled = xyxy / np.array([width, height, width, height]) * np.array([columns, rows, columns, rows])
        # At least a pixel of the mask each way, however small the box.
        x1, y1 = (np.floor(scaled[:, at]).astype(int).clip(0, last - 1) for at, last in ((0, columns), (1, rows)))
        x2, y2 = (np.ceil(scaled[:, at]).astype(int).clip(1, last) for at, last in ((2, columns), (3, rows)))
        inside = sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1]
        return inside / np.maximum((x2 - x1) * (y2 - y1), 1)

    @cached_property
    def _sums(self) -> np.ndarray:
        """int32 (h + 1, w + 1): how much counts above and to the left."""
        assert self.watched is not None
        return cv2.integral(self.watched.astype(np.uint8))


WHOLE = Scene()
"""All of every frame."""


def make_scene(settings: SceneSettings, detector: DetectorSettings, folder: Path = Path()) -> Scene:
    """What these settings say; `folder` is where the mask's path leads from.

    Raises VadError where the mask cannot be read, a name is none of the detector's classes, or no size is left.
    """
    if settings.smallest >= settings.largest:
        raise VadError(f"no size of objects is left: {settings.smallest:g} to {settings.largest:g} % of the frame")
    known = class_names(detector)
    for name in (*settings.classes, *settings.ignore):
        if name not in known:
            what = "tells no classes apart" if known == (MOTION,) else f"knows {', '.join(known)}"
            raise VadError(f"class {name!r}: the detector ({detector.kind}) {what}")
    return Scene(settings, None if settings.mask is None else read_mask(folder / settings.mask))


def changed(learned: Scene, options: Mapping[str, Any], detector: DetectorSettings) -> Scene:
    """The same but for some keys of its settings. Raises VadError as `make_scene` does."""
    settings = learned.settings.model_copy(update=options)
    if "mask" in options:
        return make_scene(settings, detector)
    make_scene(settings.model_copy(update={"mask": None}), detector)
    return replace(learned, settings=settings)


def read_mask(path: Path) -> np.ndarray:
    """Where it counts, bool (h, w): of a picture what is brighter than half, of JSON what its polygons say.

    Polygons are lists of corners [x, y], each a share of the frame's width and height: `{"ignore": [polygon, …],
    "watch": [polygon, …]}`. With `watch` nothing else counts; `ignore` goes before it.

    Raises VadError, in one line, for a file that is neither, and where nothing is left.
    """
    if not path.is_file():
        raise VadError(f"{path}: not found; expected a mask: a picture, or JSON of polygons (`vad draw-mask` makes it)")
    watched = _drawn(path) if path.suffix.lower() == ".json" else _pictured(path)
    if not watched.any():
        raise VadError(f"{path}: nothing of the frame is left to look at; white counts, black does not")
    return watched


def _pictured(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            if not all(LEAST_SIDE <= side <= MOST_SIDE for side in image.size):
                raise VadError(f"{path}: a mask of {image.width}x{image.height}; expected 8 to 8192 px a side")
            if "A" in image.getbands():  # transparent is not painted: it counts as what lies beneath, white
                over = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
                return np.asarray(over.convert("L")) > 127
            return np.asarray(image.convert("L")) > 127
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if (cause := surroundings(error)) is not None:
            raise VadError(f"{path}: {cause}") from None
        raise VadError(
            f"{path}: not a picture ({' '.join(str(error).split())}); expected a mask: a picture, or JSON of polygons"
        ) from None


def _drawn(path: Path) -> np.ndarray:
    expected = 'expected {"ignore": [[[x, y], …], …]} or "watch", x and y being shares of width and height, 0 to 1'
    content = read_json(path, "`vad draw-mask`")
    if not isinstance(content, dict) or not content or not content.keys() <= {"ignore", "watch"}:
        raise VadError(f"{path}: {expected}")
    pictures = {}
    for name, polygons in content.items():
        if not isinstance(polygons, list):
            raise VadError(f"{path}: {name}: no list; {expected}")
        pictures[name] = np.zeros((GRID, GRID), np.uint8)
        for number, polygon in enumerate(polygons):
            if not _is_polygon(polygon):
                raise VadError(f"{path}: {name}[{number}]: not three or more corners; {expected}")
            corners = np.round(np.array(polygon, float) * GRID).astype(np.int32)
            cv2.fillPoly(pictures[name], [corners], 1)
    watched = np.ones((GRID, GRID), bool)
    if content.get("watch"):
        watched &= pictures["watch"].astype(bool)
    if "ignore" in pictures:
        watched &= ~pictures["ignore"].astype(bool)
    return watched


def _is_polygon(polygon: Any) -> bool:
    def is_share(value: Any) -> bool:
        return type(value) in (int, float) and 0 <= value <= 1

    def is_corner(corner: Any) -> bool:
        return isinstance(corner, list) and len(corner) == 2 and all(map(is_share, corner))

    return isinstance(polygon, list) and len(polygon) >= 3 and all(map(is_corner, polygon))


def save_scene(scene: Scene, folder: Path) -> None:
    """Have a model folder say what counts."""
    settings = scene.settings.model_copy(update={"mask": None if scene.watched is None else MASK})
    if scene.watched is not None:
        with written_aside(folder / MASK) as aside:
            Image.fromarray(scene.watched.astype(np.uint8) * 255).save(aside, "PNG")
    write_json(folder / FILE, settings.model_dump(mode="json"))


def read_scene(folder: Path, detector: DetectorSettings) -> Scene:
    """What counts for the model in a folder; all, where it does not say. Raises VadError where that is damaged."""
    path = folder / FILE
    if not path.exists():
        return WHOLE
    content = read_json(path, _COPIED)
    try:
        settings = SceneSettings.model_validate(content)
    except ValidationError as error:
        raise VadError(f"{path}: damaged ({first_problem(error, root=SceneSettings)}); mend it by {_COPIED}") from None
    if settings.mask not in (None, MASK):
        raise VadError(f"{path}: damaged (mask: {settings.mask!r}, expected {MASK}); mend it by {_COPIED}")
    return make_scene(settings, detector, folder)


def differences(scene: Scene, learned: Scene) -> str:
    """In words, what counts otherwise than it did when the model learned; empty where nothing does."""
    now, then = scene.settings, learned.settings
    found = []
    if scene.watched is None or learned.watched is None:
        if scene.watched is not learned.watched:
            found.append("no mask" if scene.watched is None else "a mask")
    elif not np.array_equal(scene.watched, learned.watched):
        found.append("another mask")
    for name in ("classes", "ignore", "every", "smallest", "largest"):
        if (value := getattr(now, name)) != (before := getattr(then, name)):
            found.append(f"{name} {json.dumps(value)}, not {json.dumps(before)}")
    return "; ".join(found)
