"""From what footage a model learned: how many frames a second, of what size, which clips. Speeds and places are in its
terms, and what it has seen says nothing of what it has not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vadlib.errors import VadError
from vadlib.io.files import read_json, write_json
from vadlib.io.ownership import identity
from vadlib.manifest import Clip

FILE = "footage.json"
NEAR = 1.25
"""So many times another rate or size is near enough: a walker is not as fast every day either."""


@dataclass(frozen=True)
class Learned:
    """Of what footage a model learned."""

    fps: float | None  # the median of its clips'; None where no clip says
    width: int  # px, of its largest clip
    height: int
    clips: tuple[str, ...] = ()  # digests, the oldest first

    def otherwise(self, fps: float | None, width: int, height: int) -> str:
        """What is to be said of other footage that is not like it; empty where it is near enough."""
        found = []
        if fps and self.fps and not 1 / NEAR <= fps / self.fps <= NEAR:
            found.append(
                f"{fps:.3g} frames/s, and the model learned at {self.fps:.3g}: all seems {self.fps / fps:.2g} times as "
                "fast to it"
            )
        if not all(1 / NEAR <= own / other <= NEAR for own, other in ((width, self.width), (height, self.height))):
            found.append(
                f"frames of {width}x{height}, and the model learned from {self.width}x{self.height}: places, sizes and "
                "speeds are not those it knows"
            )
        return "; ".join(found)


MOST_CLIPS = 10_000
"""That are remembered."""


def digest_of(footage: str | Path) -> str:
    """The same for a clip's file, or folder of images, wherever it lies; empty where it can have none."""
    return identity(Path(footage)) or ""


def learned_from(clips: Sequence[Clip], before: "Learned | None" = None) -> Learned:
    """Of one clip or more, and those of which it learned before."""
    rates = [clip.fps for clip in clips if clip.fps]
    largest = max(clips, key=lambda clip: clip.frames)
    known = (before.clips if before else ()) + tuple(digest_of(clip.path) for clip in clips)
    rate = float(np.median(rates)) if rates else None
    return Learned(rate, largest.width, largest.height, tuple(dict.fromkeys(known))[-MOST_CLIPS:])


def save_learned(learned: Learned, folder: Path) -> None:
    """Have a model folder say what it learned from."""
    write_json(folder / FILE, {"fps": learned.fps, "size": [learned.width, learned.height], "clips": [*learned.clips]})


def read_learned(folder: Path) -> Learned | None:
    """What a model learned from; None where its folder does not say. Raises VadError where that is damaged."""
    if not (path := folder / FILE).exists():
        return None
    content = read_json(path, "copying the whole model folder again")
    try:
        fps, (width, height), clips = content["fps"], content["size"], content["clips"]
        numbers = [width, height] if fps is None else [width, height, fps]
        if not all(type(number) in (int, float) and 0 < number < 1e6 for number in numbers):
            raise ValueError("not numbers above 0")
        if not isinstance(clips, list) or not all(isinstance(clip, str) for clip in clips):
            raise ValueError("clips: no list of digests")
    except (TypeError, KeyError, ValueError) as error:
        raise VadError(f"{path}: damaged ({error}); mend it by copying the whole model folder again") from None
    return Learned(fps, width, height, tuple(clips))
