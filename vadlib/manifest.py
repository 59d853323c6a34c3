"""What a clip is, and the index of a data set's clips. How their frames are read is for `vadlib.clips` to know."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vadlib.errors import VadError
from vadlib.io.files import read_json, write_json


@dataclass(frozen=True)
class Clip:
    """One continuous piece of footage: a folder of images or one video file.

    Frames are numbered from 0 in the order they are shown. `anomalous` holds the labelled spans as
    half-open frame ranges `(start, stop)`, ascending; `()` is all normal, `None` is unlabelled.
    """

    name: str
    split: str  # "training" or "testing"
    path: str  # posix, relative to the project's folder; absolute where the footage is of no project
    frames: int
    width: int  # px
    height: int  # px
    fps: float | None = None  # None where the layout does not say
    anomalous: tuple[tuple[int, int], ...] | None = None

    @property
    def key(self) -> str:
        """`split/name`: unique in a data set, and the stem of the clip's artefacts."""
        return f"{self.split}/{self.name}"

    def labels(self) -> np.ndarray | None:
        """bool (frames,), True where anomalous; None where the clip is unlabelled."""
        if self.anomalous is None:
            return None
        labels = np.zeros(self.frames, dtype=bool)
        for start, stop in self.anomalous:
            labels[start:stop] = True
        return labels


@dataclass(frozen=True)
class Manifest:
    """The index of a data set: every clip of it, in the order the data set counts its frames in."""

    dataset: str
    layout: str
    clips: tuple[Clip, ...]

    def split(self, name: str) -> tuple[Clip, ...]:
        """The clips of `training` or `testing`, in order."""
        return tuple(clip for clip in self.clips if clip.split == name)


def save_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest as JSON, the same bytes for the same clips."""
    write_json(path, asdict(manifest))


def load_manifest(path: Path) -> Manifest:
    """Read what `save_manifest` wrote to `work/<data set>/prepared/manifest.json`.

    Raises VadError where the file is not there, or does not hold a manifest.
    """
    made_by = f"`dvc repro prepare@{path.absolute().parents[1].name}`"
    content = read_json(path, made_by)
    try:
        clips = tuple(_clip_from_json(entry) for entry in content.pop("clips"))
        manifest = Manifest(clips=clips, **content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise VadError(f"{path}: not a manifest ({error}); make it again with {made_by}") from None
    return manifest


def _clip_from_json(entry: dict[str, Any]) -> Clip:
    if (spans := entry.pop("anomalous")) is not None:
        spans = tuple((int(start), int(stop)) for start, stop in spans)
    clip = Clip(anomalous=spans, **entry)
    if not all(isinstance(number, int) for number in (clip.frames, clip.width, clip.height)):
        raise ValueError(f"{clip.key}: frames, width and height must be whole numbers")
    return clip
