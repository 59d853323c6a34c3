"""What of the paths a user names is footage, by one rule for scoring and training: content decides, not the suffix.

A video is a clip, and so is a folder's images together; folders are looked through to the last. Names of clips are
those of the files and of the folders they lie in, made safe: they name results, which nest as the footage does.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import TextIO

from vadlib.clips import VIDEO_SUFFIXES, claimed_length, is_image_file
from vadlib.errors import FootageError, Losses, printable
from vadlib.io.files import surroundings
from vadlib.io.names import folded, natural_key, safe_name
from vadlib.io.ownership import is_made, is_own
from vadlib.io.progress import tell
from vadlib.io.video import looks_like_video, open_video

RESULTS = ("frames.csv", "segments.csv", "annotated.mp4", "report.html", "frames.parquet")
OVERVIEW = "index.html"  # of the pages of several clips

# What systems leave in folders: nobody's footage, and no loss.
_SYSTEMS_OWN = {
    "lost+found", "@eadir", "#recycle", "$recycle.bin", "recycler", "system volume information", "__macosx",
    "thumbs.db", "desktop.ini",
}  # fmt: skip


@dataclass(frozen=True)
class Footage:
    """What is one clip: a video file, a folder of images, or image files in order."""

    name: str  # posix; with folders where the footage has them
    source: Path | Iterable[Path]

    @property
    def claimed(self) -> int | None:
        """How many frames it says it has."""
        if isinstance(self.source, Path):
            return claimed_length(self.source, self.name)
        return len(self.source) if isinstance(self.source, Sequence) else None


@dataclass
class LeftOut:
    """What was left out of some footage: told on standard error as it comes to light, and counted."""

    strict: bool = False  # whether the first thing left out is an error instead
    quiet: bool = False  # whether it is told later, by `again`
    clips: int = 0
    frames: int = 0
    seconds: float = 0.0
    partial: int = 0  # clips of which something was left out
    others: int = 0  # files that are no footage, and are not meant to be
    lines: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)  # of the others

    def clip(self, reason: str) -> None:
        """A whole clip, or what was meant for one. Raises FootageError where nothing may be left out."""
        if self.strict:
            raise FootageError(reason)
        self.clips += 1
        self._say(f"left out: {reason}")

    def of_clip(self, losses: Losses) -> None:
        """What was lost of a clip that was read. Raises FootageError where nothing may be left out."""
        for note in losses.notes:
            self.note(note)
        if losses.error and self.strict:
            raise FootageError(losses.error)
        self.partial += bool(losses.lines)
        self.frames += losses.frames
        self.seconds += losses.seconds
        for line in losses.lines:
            self._say(line)

    def note(self, text: str) -> None:
        """What is to be known, though nothing is left out."""
        self._say(f"note: {text}")

    def other(self, path: Path) -> None:
        """A file that is no footage."""
        self.others += 1
        if len(self.examples) < 5:
            self.examples.append(path.name)

    def tell_others(self) -> None:
        """Say how many files were no footage."""
        if self.others:
            more = ", …" * (self.others > len(self.examples))
            files = "1 file is" if self.others == 1 else f"{self.others:,} files are"
            tell(f"note: {files} no footage: {printable(', '.join(self.examples))}{more}")

    def counts(self) -> dict[str, int | float]:
        """For a closing line; empty where nothing was left out."""
        lost = {
            "clips left out": self.clips,
            "clips partly left out": self.partial,
            "frames left out": self.frames,
            "seconds left out": round(self.seconds, 2),
        }
        return {name: count for name, count in lost.items() if count}

    def _say(self, line: str) -> None:
        line = printable(line)
        if self.quiet:
            self.lines.append(line)
        else:
            tell(line)

    @property
    def reasons(self) -> list[str]:
        """Why something was left out, of what was told quietly."""
        return [line.removeprefix("left out: ") for line in self.lines if not line.startswith("note: ")]

    def again(self, quiet: "LeftOut") -> None:
        """Tell and count what another one was told quietly."""
        if self.strict and quiet.reasons:
            raise FootageError(quiet.reasons[0])
        for name in ("clips", "frames", "seconds", "partial", "others"):
            setattr(self, name, getattr(self, name) + getattr(quiet, name))
        self.examples += quiet.examples
        for line in quiet.lines:
            self._say(line)
        self.tell_others()


def find_footage(paths: Iterable[Path], left_out: LeftOut | None = None) -> Iterator[Footage]:
    """Every clip at these paths: videos, folders of images, folders of either in any depth, and runs of image files.

    A sequence of paths is looked through whole before the first clip comes, so that all names are known; others, a
    stream, are taken as they come. What is no footage is told to `left_out`; None: nothing may be left out. Passed over
    without a word are hidden files, what systems leave in folders, and results of this tool.

    Raises FootageError where nothing may be left out and something is.
    """
    left_out = left_out or LeftOut(strict=True)
    names = _Names()
    if not isinstance(paths, Sequence):
        for clip in _clips_at(paths, left_out):
            base = clip.path.parent if clip.top is None else clip.top
            yield Footage(names.give(clip.short(base), clip.long(base), *clip.higher(base)), clip.source)
        return
    clips = list(_clips_at(paths, left_out))
    once = {(_absolute(clip.path), number if clip.run else -1): clip for number, clip in enumerate(clips)}
    if len(once) < len(clips):
        left_out.note(f"{len(clips) - len(once)} clips were named twice")
    clips = list(once.values())
    base = _common([clip.path.parent if clip.top is None else clip.top for clip in clips])
    given = names.give_all([(clip.short(base), clip.long(base)) for clip in clips])
    for name, clip in zip(given, clips, strict=True):
        yield Footage(name, clip.source)


def is_single(arguments: Sequence[Path], clips: Sequence[Footage]) -> bool:
    """Whether a command line names one clip, so that its results need no folder of their own."""
    if len(arguments) != 1 or len(clips) != 1:
        return False
    (path,), (clip,) = arguments, clips
    return not path.is_dir() or (isinstance(clip.source, Path) and _absolute(clip.source) == _absolute(path))


def listed_paths(arguments: Sequence[Path], stream: TextIO | None = None) -> Iterable[Path]:
    """The paths of a command line; `-` stands for those on standard input, one a line, as they come.

    A sequence where none comes from there. Of names that are no UTF-8 every byte is kept.
    """
    if all(str(argument) != "-" for argument in arguments):
        return list(arguments)
    return _from_stream(arguments, stream or sys.stdin)


def _from_stream(arguments: Sequence[Path], stream: TextIO) -> Iterator[Path]:
    for argument in arguments:
        if str(argument) != "-":
            yield argument
            continue
        for line in getattr(stream, "buffer", stream):
            exact = (os.fsdecode(line) if isinstance(line, bytes) else line).rstrip("\r\n")
            if stripped := exact.strip():
                yield Path(exact if os.path.lexists(exact) else stripped)


# What is footage


@dataclass(frozen=True)
class _Clip:
    path: Path  # of the file, or of the folder that its images are in
    source: Path | Iterable[Path]
    top: Path | None = None  # the folder that was named and that it was found in
    run: bool = False  # of image files that were named one by one

    def short(self, base: Path) -> tuple[str, ...]:
        """Its name, in parts, without the file's suffix, below a folder."""
        parts = self._below(base)
        return parts if self._is_folder else (*parts[:-1], self.path.stem)

    def long(self, base: Path) -> tuple[str, ...]:
        """The same with what tells it from another of that name."""
        return (*self._below(base), "images") if self._is_folder else self._below(base)

    def higher(self, base: Path) -> Iterator[tuple[str, ...]]:
        """Its names below ever higher folders."""
        for parent in _absolute(base).parents:
            yield self.short(parent)

    @property
    def _is_folder(self) -> bool:
        return self.run or self.path.is_dir()

    def _below(self, base: Path) -> tuple[str, ...]:
        path = _absolute(self.path)
        try:
            parts = path.relative_to(_absolute(base)).parts
        except ValueError:  # on another drive
            parts = ()
        return parts or (path.name or "clip",)


def _common(folders: Sequence[Path]) -> Path:
    """The deepest folder that all of these are, or lie in."""
    try:
        return Path(os.path.commonpath([_absolute(folder) for folder in folders]))
    except ValueError:  # none; or on several drives
        return _absolute(Path(os.sep))


def _absolute(path: Path) -> Path:
    """Without `..`, but with links as they are called: they name clips."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _clips_at(paths: Iterable[Path], left_out: LeftOut) -> Iterator[_Clip]:
    for images, group in groupby(paths, key=is_image_file):
        if images:
            yield _run(group, whole=isinstance(paths, Sequence))
            continue
        for path in group:
            if path.is_dir():
                yield from _clips_in(path, left_out)
            elif path.exists():
                yield _Clip(path, path)
            else:
                left_out.clip(f"{path}: not found; expected a video, a folder of images or videos, or image files")


def _run(images: Iterator[Path], *, whole: bool) -> _Clip:
    """Image files as one clip: all of them, or as they come."""
    first = next(images)
    source = chain([first], images)
    return _Clip(first.parent, list(source) if whole else source, run=True)


def _clips_in(folder: Path, left_out: LeftOut) -> Iterator[_Clip]:
    """The clips of a folder that was named. Having none, it is left out itself."""
    before, any_clip = left_out.clips, False
    for path in _look_through(folder, left_out, set()):
        any_clip = True
        yield _Clip(path, path, folder)
    if not any_clip and left_out.clips == before:
        left_out.clip(f"{folder}: no footage in the folder; expected images or videos")


def _look_through(folder: Path, left_out: LeftOut, seen: set[str]) -> Iterator[Path]:
    """Videos, and folders of images, in natural order of their names."""
    if (real := os.path.realpath(folder)) in seen:  # links in a circle
        return
    seen.add(real)
    try:
        inside = sorted(folder.iterdir(), key=lambda p: natural_key(p.name))
    except OSError as error:
        left_out.clip(f"{folder}: {surroundings(error) or f'cannot be listed: {error.strerror}'}")
        return
    kept = [p for p in inside if not (p.name.startswith(".") or folded(p.name) in _SYSTEMS_OWN or is_result(p))]
    kinds = {path: "folder" if path.is_dir() else _kind(path) for path in kept}
    images = [path for path, kind in kinds.items() if kind == "image"]
    if images and "video" in kinds.values():
        left_out.clip(
            f"{folder}: {len(images):,} images beside videos ({images[0].name}{', …' * (len(images) > 1)}); put them "
            "into a folder of their own to have them taken for a clip"
        )
    elif images:
        yield folder
    for path, kind in kinds.items():
        if kind == "folder":
            yield from _look_through(path, left_out, seen)
        elif kind == "video":
            yield path
        elif kind == "other":
            left_out.other(path)
        elif kind != "image":
            left_out.clip(kind)


def _kind(path: Path) -> str:
    """`video`, `image` or `other`; else why it is no footage, though it is meant to be."""
    if is_image_file(path):
        return "image"
    if not path.is_file():  # a link to nothing, a device
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            return "other"
        return f"{path}: {'is a pipe or a device; remove it' if path.exists() else 'not found; put the footage back'}"
    try:
        open_video(path, "").close()
    except FootageError as error:
        meant = path.suffix.lower() in VIDEO_SUFFIXES or looks_like_video(path)
        return str(error) if meant else "other"
    return "video"


def is_result(path: Path) -> bool:
    """Whether what is found in a folder of footage is what an earlier run left there."""
    return is_own(path) if path.is_dir() else path.name in (*RESULTS, OVERVIEW) and is_made(path)


# Names


class _Names:
    """Gives every clip a name of its own, on any disk: none is another's, or names a folder that another lies in."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, ...]] = set()
        self._inner: set[tuple[str, ...]] = set()  # folders of names

    def give(self, *wanted: tuple[str, ...]) -> str:
        """The first of these names, in parts, that can be had; else the first with a number."""
        for parts in wanted:
            if name := self._take(parts):
                return name
        number = 2
        while not (name := self._take((*wanted[0][:-1], f"{wanted[0][-1]}-{number}"))):
            number += 1
        return name

    def give_all(self, wanted: Sequence[tuple[tuple[str, ...], tuple[str, ...]]]) -> list[str]:
        """A name for each clip, of its short name and its long one: the short one unless another has it as well."""
        count = Counter(_key(short) for short, _ in wanted)
        inner = {key[:length] for key in count for length in range(1, len(key))}
        given: dict[int, str] = {}
        clear = [count[_key(short)] == 1 and _key(short) not in inner for short, _ in wanted]
        for those in (True, False):
            for index, (short, long) in enumerate(wanted):
                if clear[index] is those:
                    given[index] = self.give(*((short, long) if those else (long, short)))
        return [given[index] for index in range(len(wanted))]

    def _take(self, parts: tuple[str, ...]) -> str | None:
        key = _key(parts)
        above = {key[:length] for length in range(1, len(key))}
        if key in self._taken or key in self._inner or above & self._taken:
            return None
        self._taken.add(key)
        self._inner |= above
        return "/".join(map(safe_name, parts))


def _key(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(folded(safe_name(part)) for part in parts)
