"""Boxes computed elsewhere: VEC's .npy, COCO JSON, CSV; chosen by the file's ending."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from vadlib.boxes.table import IMPORTED, Boxes, DetectFrames
from vadlib.errors import VadError
from vadlib.io.names import natural_key
from vadlib.manifest import Clip
from vadlib.settings import ImportedBoxesSettings


@dataclass(frozen=True)
class Rows:
    """The boxes of one clip, ordered by frame."""

    frame: np.ndarray  # int (n,)
    boxes: Boxes


def make_detector(
    settings: ImportedBoxesSettings, weights_folder: Path, data_folder: Path, clips: Sequence[Clip], device: str
) -> DetectFrames:
    """A detector that looks boxes up: .npy, .json or .csv below `data_folder`, as `settings.boxes` says.

    - .npy (VEC): one (n, 4) array for each frame, in the order of the split's clips.
    - .json (COCO): `images` with `file_name` `<clip>/<image>`, and `frame_id` from 0 or, without, every
      frame of the clip in natural order; `annotations` with `image_id`, `bbox` (x, y, width, height), and
      where there are any `score` and `category_id`, which becomes `cls`.
    - .csv: clip,frame,x1,y1,x2,y2[,score[,cls]], frames from 0; a frame may have no rows.

    A clip is named `name`, or `split/name` where one file serves both splits. Values may lie outside the
    frame, and are clipped. A file is read when the first frame it serves is asked for. Raises VadError
    naming file, clip and frame for NaN, for a box without area in the frame, and for frames and clips that
    do not exist.
    """

    @cache
    def rows(split: str) -> dict[str, Rows]:
        path = box_file(settings.boxes, data_folder, split)
        served = [c for c in clips if c.split == split or "{split}" not in settings.boxes]
        if "{split}" not in settings.boxes and path.suffix == ".npy":
            raise VadError(f"detector.boxes: {settings.boxes!r} needs {{split}}: an .npy holds the boxes of one split")
        read = _reader(path)
        by_clip = read(path, served)
        for clip in served:
            _check(path, clip, by_clip[clip.key])
        return by_clip

    def detect(clip: Clip, first: int, frames: Sequence[np.ndarray]) -> list[Boxes]:
        of_clip = rows(clip.split)[clip.key]
        bounds = np.searchsorted(of_clip.frame, np.arange(first, first + len(frames) + 1))
        return [of_clip.boxes.take(slice(a, b)) for a, b in pairwise(bounds)]

    return detect


def weights_file(settings: ImportedBoxesSettings, weights_folder: Path) -> None:
    """It has no weights."""
    return None


def box_file(boxes: str, data_folder: Path, split: str) -> Path:
    """The file of a split: `{split}` stands for training or testing, or, as VEC names its files, train or
    test.

    Raises VadError where there is neither.
    """
    tries = [data_folder / boxes.replace("{split}", word) for word in (split, split.removesuffix("ing"))]
    for path in tries:
        if path.is_file():
            return path
    names = " or ".join(dict.fromkeys(str(path) for path in tries))
    raise VadError(f"{names}: not found; put the boxes there, or mend detector.boxes")


def _reader(path: Path) -> Callable[[Path, Sequence[Clip]], dict[str, Rows]]:
    readers = {".npy": _read_npy, ".json": _read_coco, ".csv": _read_csv}
    if path.suffix not in readers:
        raise VadError(f"{path}: not a kind of box file; expected {', '.join(readers)}")
    return readers[path.suffix]


def _read_npy(path: Path, clips: Sequence[Clip]) -> dict[str, Rows]:
    from vadlib.io.npy import read_object_array

    arrays = read_object_array(path)
    expected = sum(clip.frames for clip in clips)
    if len(arrays) != expected:
        raise VadError(f"{path}: boxes of {len(arrays)} frames, but the split's clips have {expected} frames")
    by_clip, start = {}, 0
    for clip in clips:
        of_clip = [np.asarray(array) for array in arrays[start : start + clip.frames]]
        for frame, array in enumerate(of_clip):
            if array.size and (array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "fiu"):
                raise VadError(
                    f"{path}: clip {clip.name}, frame {frame}: expected numbers of shape (n, 4), "
                    f"found {array.dtype} of shape {array.shape}"
                )
        frames = np.repeat(np.arange(clip.frames), [a.size // 4 for a in of_clip])
        by_clip[clip.key] = _rows(frames, np.concatenate([np.empty((0, 4)), *(a.reshape(-1, 4) for a in of_clip)]))
        start += clip.frames
    return by_clip


def _read_csv(path: Path, clips: Sequence[Clip]) -> dict[str, Rows]:
    needed, optional = ["clip", "frame", "x1", "y1", "x2", "y2"], ["score", "cls"]
    try:
        table = pd.read_csv(path, dtype={"clip": "str"}, skipinitialspace=True)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise VadError(f"{path}: not a table ({' '.join(str(error).split())})") from None
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise VadError(f"{path}: no column {', '.join(missing)}; expected {','.join(needed)}[,score[,cls]]")
    for column in [*needed[1:], *(c for c in optional if c in table.columns)]:
        numbers = pd.to_numeric(table[column], errors="coerce")
        whole = column in ("frame", "cls")
        bad = ~np.isfinite(numbers) | (numbers % 1 != 0) if whole else ~np.isfinite(numbers)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            kind = "a whole number" if whole else "a number"
            raise VadError(
                f"{path}: line {row + 2}, clip {table['clip'][row]}, frame {table['frame'][row]}: "
                f"{column} is {table[column][row]}, not {kind}"
            )
        table[column] = numbers
    keys = {name: _key(path, name, clips) for name in table["clip"].fillna("").unique()}
    table["clip"] = table["clip"].fillna("").map(keys)
    return {
        clip.key: _rows(
            rows["frame"].to_numpy(np.int64),
            rows[["x1", "y1", "x2", "y2"]].to_numpy(np.float64),
            rows["score"].to_numpy() if "score" in rows else None,
            rows["cls"].to_numpy() if "cls" in rows else None,
        )
        for clip, rows in ((clip, table[table["clip"] == clip.key]) for clip in clips)
    }


def _read_coco(path: Path, clips: Sequence[Clip]) -> dict[str, Rows]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        images = {image["id"]: (_posix(image["file_name"]), image.get("frame_id")) for image in content["images"]}
        if any(frame is not None and type(frame) is not int for _, frame in images.values()):
            raise ValueError("a frame_id is a whole number")
        marks = [
            (
                note["image_id"],
                *(float(v) for v in note["bbox"]),
                float(note.get("score", 1.0)),
                note.get("category_id", -1),
            )
            for note in content["annotations"]
        ]
        if any(len(mark) != 7 for mark in marks):
            raise ValueError("a bbox is four numbers")
        if any(type(mark[-1]) is not int for mark in marks):
            raise ValueError("a category_id is a whole number")
        unknown = [mark[0] for mark in marks if mark[0] not in images]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise VadError(
            f"{path}: not COCO JSON with images (id, file_name) and annotations (image_id, bbox): {error}"
        ) from None
    if unknown:
        raise VadError(f"{path}: an annotation names image {unknown[0]}, which `images` does not have")
    frames = _coco_frames(path, images, clips)
    by_clip: dict[str, list[tuple]] = {clip.key: [] for clip in clips}
    for image_id, x, y, w, h, score, category in marks:
        key, frame = frames[image_id]
        by_clip[key].append((frame, x, y, x + w, y + h, score, category))
    boxes_of = {}
    for key, marks in by_clip.items():
        table = np.array(marks, dtype=np.float64).reshape(-1, 7)
        boxes_of[key] = _rows(table[:, 0].astype(np.int64), table[:, 1:5], table[:, 5], table[:, 6])
    return boxes_of


def _coco_frames(path: Path, images: dict, clips: Sequence[Clip]) -> dict:
    """Image id -> (clip key, frame)."""
    parents = {PurePosixPath(name).parent.as_posix() for name, _ in images.values()}
    keys = {parent: _key(path, parent, clips) for parent in parents}
    of_clip: dict[str, list] = {}
    for image_id, (name, frame) in images.items():
        of_clip.setdefault(keys[PurePosixPath(name).parent.as_posix()], []).append((name, frame, image_id))
    frames: dict[int, tuple[str, int]] = {}
    for clip in clips:
        rows = of_clip.get(clip.key, [])
        numbered = [frame is not None for _, frame, _ in rows]
        if all(numbered):  # and so where there are none
            frames |= {image_id: (clip.key, int(frame)) for _, frame, image_id in rows}
        elif len(rows) != clip.frames:
            raise VadError(
                f"{path}: clip {clip.name}: {len(rows)} images without `frame_id`, but the clip has "
                f"{clip.frames} frames; list every frame, or give each image its `frame_id`"
            )
        else:
            rows.sort(key=lambda row: natural_key(row[0]))
            frames |= {image_id: (clip.key, number) for number, (_, _, image_id) in enumerate(rows)}
    return frames


def _posix(name: object) -> str:
    """A path as it is written on any system: no clip has a backslash in its name."""
    return str(name).replace("\\", "/")


def _key(path: Path, name: str, clips: Sequence[Clip]) -> str:
    """The key of the one clip called `name`, with any folders before it. Raises VadError for none or two."""
    parts = PurePosixPath(_posix(name)).parts
    ends = {"/".join(parts[start:]) for start in range(len(parts))}
    full = [clip.key for clip in clips if clip.key in ends]
    keys = full or [clip.key for clip in clips if clip.name in ends]
    if not keys:
        raise VadError(f"{path}: clip {name!r} is not in the data set; its clips: {_some(c.name for c in clips)}")
    if len(keys) > 1:
        raise VadError(f"{path}: clip {name!r} is in both splits; write {' or '.join(keys)}")
    return keys[0]


def _some(names) -> str:
    names = list(dict.fromkeys(names))
    return ", ".join(names[:5]) + (f", … ({len(names)} in all)" if len(names) > 5 else "")


def _rows(frame: np.ndarray, xyxy: np.ndarray, score: np.ndarray | None = None, ids: np.ndarray | None = None) -> Rows:
    order = np.argsort(frame, kind="stable")
    if ids is not None:  # beyond 16 bits they would become others: unknown
        ids = np.where((ids >= -1) & (ids < 2**15), ids, -1)
    return Rows(frame[order], Boxes.of(xyxy, IMPORTED, score, ids).take(order))


def _check(path: Path, clip: Clip, rows: Rows) -> None:
    """Raises VadError for the first box that no frame of the clip can have."""

    def refuse(bad: np.ndarray, problem: str) -> None:
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            x1, y1, x2, y2 = rows.boxes.xyxy[row]
            raise VadError(
                f"{path}: clip {clip.name}, frame {rows.frame[row]}: box ({x1:g}, {y1:g}, {x2:g}, {y2:g}): {problem}"
            )

    xyxy = rows.boxes.xyxy
    refuse((rows.frame < 0) | (rows.frame >= clip.frames), f"the clip has frames 0 to {clip.frames - 1}")
    refuse(~np.isfinite(xyxy).all(axis=1), "expected four finite numbers (x1, y1, x2, y2)")
    refuse(~np.isfinite(rows.boxes.score), "its score is not a number")
    refuse((xyxy[:, 2] <= xyxy[:, 0]) | (xyxy[:, 3] <= xyxy[:, 1]), "expected x1 < x2 and y1 < y2")
    frame = np.array([clip.width, clip.height])
    refuse(
        np.any(xyxy[:, :2] >= frame, axis=1) | np.any(xyxy[:, 2:] <= 0, axis=1),
        f"outside the frame of {clip.width}x{clip.height} px",
    )
