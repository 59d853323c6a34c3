"""How a clip's frames are read: image folders and video files look the same to every stage."""

import errno
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image

from vadlib.errors import FootageError, Losses, VadError
from vadlib.io.files import surroundings
from vadlib.io.names import natural_key, times_in_names
from vadlib.io.video import claimed_frames, frame_rate, is_video, open_video, video_frames
from vadlib.manifest import Clip

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
# What a file with one of these is meant to be. Whether it is, its content says.
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".avi", ".divx", ".mkv", ".webm", ".mpg", ".mpeg", ".vob", ".m2v",
    ".ts", ".mts", ".m2ts", ".tp", ".trp", ".wmv", ".asf", ".flv", ".f4v", ".mxf", ".h264", ".264", ".avc", ".h265",
    ".265", ".hevc", ".dav", ".gif", ".mjpeg", ".mjpg", ".ogv", ".ivf", ".y4m", ".dv",
)  # fmt: skip

_IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
_IMAGE_BEGINNINGS = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|BM.{4}\0\0\0\0|II\*\0|MM\0\*|RIFF.{4}WEBP", re.DOTALL)
_SMALLEST = 12  # px a side: optical flow has nothing to go by in less


def is_clip(path: Path) -> bool:
    """Whether a path looks like a clip: a folder, or a file with a video's suffix, and not hidden."""
    return not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES)


def is_image_file(path: Path) -> bool:
    """Whether a file is an image, or is called one and is nothing else."""
    called = path.suffix.lower()
    try:
        if path.is_file() and _begins_as_image(path):  # so do many JPEGs in a row
            return called not in VIDEO_SUFFIXES
    except OSError:  # which reading it will tell of
        return called in IMAGE_SUFFIXES
    return called in IMAGE_SUFFIXES and not path.is_dir() and not (path.is_file() and is_video(path))


def probe_clip(
    path: Path, name: str, split: str, root: Path | None, anomalous: tuple[tuple[int, int], ...] | None = None
) -> Clip:
    """Index one clip of a data set: a folder of numbered images, or a video file.

    Of an image every header is read; a video is decoded once, since the frame count in its header is a claim
    that decoding need not keep. `root` is the project's folder, above `path`; None: of no project. Raises VadError
    for a name that cannot name files, an empty folder, a gap in the frame numbers, frames of different sizes, and
    files that cannot be read or end early.
    """
    check_name(name, path)
    place = path.absolute()
    if root is not None:
        if not place.is_relative_to(root.absolute()):
            raise VadError(f"{path}: must lie below {root.absolute()} (a symbolic link there will do)")
        place = place.relative_to(root.absolute())
    where, strict = f"clip {split}/{name}", Losses(strict=True)
    if path.is_dir():
        sizes = _image_sizes(path, where)
    else:
        sizes = ((path, _size(frame)) for _, frame in video_frames(path, where, strict, _ANY_RATE))
    first, frames = None, 0
    for file, size in sizes:
        if size != (first := first or size):
            raise FootageError(f"{_wrong_size(where, frames, file, first, size)}; {_ONE_SIZE}")
        frames += 1
    assert first is not None  # footage without a frame is refused by what reads it
    fps = None if path.is_dir() else _video_rate(path, where)
    return Clip(name, split, place.as_posix(), frames, *first, fps, anomalous)


def probe_footage(path: Path, name: str, split: str, losses: Losses) -> Clip:
    """Index a clip of a user's own footage: a video file, or a folder of images. Each frame is decoded.

    What cannot be read is left out of the clip, as `read_frames` leaves it out, and told to `losses`. `name` must be
    one that can name files. Raises FootageError where nothing can be read, and as `losses` does.
    """
    where, frames, size = f"clip {split}/{name}", 0, None
    for _, _, picture in _footage(path, where, _ANY_RATE, losses):
        size = size or _size(picture)
        frames += 1
    assert size is not None  # footage without a frame is refused by what reads it
    fps = None if path.is_dir() else _video_rate(path, where)
    return Clip(name, split, path.absolute().as_posix(), frames, *size, fps, ())


def read_frames(clip: Clip, root: Path = Path()) -> Iterator[np.ndarray]:
    """Yield every frame of a clip in order, each decoded once: (H, W, 3) uint8 RGB, contiguous.

    Grey frames get three equal channels; transparency is dropped. A video's rotation mark (portrait footage
    of a phone) is applied; orientation marks in the EXIF data of images are not. Of footage of no project, what
    `probe_footage` left out is passed over. Raises VadError naming clip, frame and file where a frame of a data set is
    truncated, unreadable or of another size than the clip's, and where there are not as many as the manifest says.
    """
    path, where, number = root / clip.path, f"clip {clip.key}", -1
    own = Path(clip.path).is_absolute()
    losses, again = Losses(strict=not own), _AGAIN if own else _PREPARE
    if not path.exists():
        raise FootageError(f"{where} ({path}): not found; put the footage back, or run prepare again")
    frames: Iterator[tuple[Path | None, float, _Picture]]
    if own:
        frames = _footage(path, where, _ANY_RATE, losses)
    elif path.is_dir():
        frames = _decoded(((file, 0.0) for file in _frame_files(path, where)), where, losses, _ANY_RATE)
    else:
        frames = ((path, time, frame) for time, frame in video_frames(path, where, losses, _ANY_RATE))
    for number, (file, _, picture) in enumerate(frames):
        if number == clip.frames:
            raise VadError(f"{where} ({path}): more than the {clip.frames} frames indexed; {again}")
        if (found := _size(picture)) != (expected := (clip.width, clip.height)):
            raise FootageError(f"{_wrong_size(where, number, file, expected, found)}; {_ONE_SIZE}")
        yield _pixels(picture)
    if number + 1 < clip.frames:
        raise VadError(f"{where} ({path}): {number + 1} frames where {clip.frames} were indexed; {again}")


def read_footage(
    source: Path | Iterable[Path], name: str, fps: float, losses: Losses | None = None
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield every frame of footage that was not indexed, with its time, decoded once, as it is asked for.

    Args:
        source: a video file, a folder of images, or image files in their order, which may still be coming.
        name: the clip's, for errors.
        fps: frames per second of images whose names hold no times, and of videos that say nothing themselves.
        losses: is told of what cannot be read, which is left out; None: nothing may be left out.

    Yields (seconds from the first frame, rising; (H, W, 3) uint8 RGB). Raises FootageError where nothing can be read,
    and as `losses` does.
    """
    for _, time, picture in _footage(source, f"clip {name}", fps, losses or Losses(strict=True)):
        yield time, _pixels(picture)


def claimed_length(path: Path, name: str) -> int | None:
    """How many frames a video's header claims, or a folder has images; None where nothing says."""
    where = f"clip {name}"
    if path.is_dir():
        return len(_images_in(path, where))
    with open_video(path, where) as container:
        return min(claimed_frames(container), default=None)


def has_images(folder: Path) -> bool:
    """Whether a folder holds files that are called images, so that it is a clip itself."""
    return any(p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") for p in folder.iterdir())


_Picture = VideoFrame | np.ndarray
_ANY_RATE = 25.0  # frames/s, where no time is asked for


def _footage(
    source: Path | Iterable[Path], where: str, fps: float, losses: Losses
) -> Iterator[tuple[Path | None, float, _Picture]]:
    """File, time and picture of each frame of a user's own footage that can be read and is of the first one's size."""
    pictures: Iterator[tuple[Path | None, float, _Picture]]
    if isinstance(source, Path) and not source.is_dir():
        pictures = ((source, time, frame) for time, frame in video_frames(source, where, losses, fps))
    else:
        pictures = _timed_images(source, where, fps, losses)
    place = f"{where} ({source})" if isinstance(source, Path) else where
    first, number = None, -1
    for number, (file, time, picture) in enumerate(pictures):
        size = _size(picture)
        if first is None and min(size) < _SMALLEST:
            raise FootageError(
                f"{place}: frames of {size[0]}x{size[1]} px; expected {_SMALLEST}x{_SMALLEST} at least: leave it out"
            )
        if size != (first := first or size):
            losses.lose("size", _wrong_size(where, number, file, first, size), _ONE_SIZE, 1, 1 / fps)
            continue
        yield file, time, picture
    if number < 0:
        raise FootageError("; ".join([f"{place}: no frames", *losses.lines]))


def _size(picture: _Picture) -> tuple[int, int]:
    """(width, height) of a picture as it is shown."""
    if isinstance(picture, np.ndarray):
        return picture.shape[1], picture.shape[0]
    turned = _quarter_turns(picture) % 2
    return (picture.height, picture.width) if turned else (picture.width, picture.height)


def _pixels(picture: _Picture) -> np.ndarray:
    """uint8 (H, W, 3), RGB, contiguous, turned as its rotation mark says."""
    if isinstance(picture, np.ndarray):
        return picture
    return np.ascontiguousarray(np.rot90(picture.to_ndarray(format="rgb24"), _quarter_turns(picture)))


def _quarter_turns(frame: VideoFrame) -> int:
    """Counter-clockwise quarter turns that show a frame upright."""
    return round(frame.rotation / 90) % 4


def _video_rate(path: Path, where: str) -> float | None:
    with open_video(path, where) as container:
        return frame_rate(container)


_PREPARE = "if the footage was changed on purpose, run prepare again"
_AGAIN = "if the footage was changed on purpose, run the same command again"
_ONE_SIZE = "all frames of a clip must have one size"


def _wrong_size(where: str, number: int, file: Path | None, expected: tuple[int, int], found: tuple[int, int]) -> str:
    return (
        f"{where}: frame {number} ({file}) is {found[0]}x{found[1]} px, the clip's first is {expected[0]}x{expected[1]}"
    )


def check_name(name: str, path: Path) -> None:
    """Clip names become the file names of artefacts, on any system. Raises VadError for one that cannot."""
    problem = None
    if not name or name.startswith(".") or name != name.strip():
        problem = "it is empty, or begins with a dot, or begins or ends with a space"
    elif not name.isprintable() or set(name) & set('/\\:*?"<>|'):
        problem = 'it has control characters, or one of / \\ : * ? " < > |'
    elif len(name.encode()) > 200:
        problem = "it is longer than 200 bytes"
    if problem:
        shown = ascii(str(path))[1:-1]
        raise VadError(f"{shown}: {name!a} cannot name a clip: {problem}; rename it")


# Image folders


def _images_in(folder: Path, where: str, *, by_content: bool = True) -> list[Path]:
    """A folder's images, in the natural order of their names: what is called one, or, `by_content`, is one."""
    try:
        files = [p for p in folder.iterdir() if not p.name.startswith(".")]
        named = [p.suffix.lower() in IMAGE_SUFFIXES for p in files]
        images = [
            p for p, is_named in zip(files, named, strict=True) if is_named or (by_content and _begins_as_image(p))
        ]
    except OSError as error:
        reason = surroundings(error) or f"cannot be listed: {error.strerror}"
        raise FootageError(f"{where} ({folder}): {reason}") from None
    if not images:
        raise FootageError(f"{where} ({folder}): no images in the folder; expected {', '.join(IMAGE_SUFFIXES)}")
    return sorted(images, key=lambda p: natural_key(p.name))


def _begins_as_image(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _IMAGE_BEGINNINGS.match(file.read(16)) is not None


def _frame_number(file: Path) -> int | None:
    """The last number in a file's name."""
    digits = re.findall(r"\d+", file.stem, flags=re.ASCII)
    return int(digits[-1]) if digits else None


def _frame_files(folder: Path, where: str) -> list[Path]:
    """The images of a data set's clip in the order of their frame numbers, which may start anywhere, without a gap."""
    numbered: dict[int, Path] = {}
    for file in _images_in(folder, where, by_content=False):
        if (number := _frame_number(file)) is None:
            raise FootageError(f"{where}: {file} has no frame number in its name; expected names like 001.jpg")
        if number in numbered:
            raise FootageError(f"{where}: two files are frame {number}: {numbered[number]} and {file}; remove one")
        numbered[number] = file
    order = sorted(numbered)
    for before, after in itertools.pairwise(order):
        if after != before + 1:
            reason = _gap(where, folder, before, after, numbered)
            raise FootageError(f"{reason}; put the files back, or make two clips of it")
    return [numbered[number] for number in order]


def _gap(where: str, folder: Path, before: int, after: int, numbered: dict[int, Path]) -> str:
    gap = f"{before + 1}" if after == before + 2 else f"{before + 1} to {after - 1}"
    return f"{where}: missing frame {gap}: {folder} goes from {numbered[before].name} to {numbered[after].name}"


def _timed_images(
    source: Path | Iterable[Path], where: str, fps: float, losses: Losses
) -> Iterator[tuple[Path, float, np.ndarray]]:
    """The images of a user's own footage with their times: those in their names, else by number or count."""
    files: Iterable[Path]
    times: list[float] | None
    if isinstance(source, Path):
        files, times = _in_time(_images_in(source, where), source, where, fps, losses)
    elif isinstance(source, Sequence):  # whose order is the caller's
        files, times = source, times_in_names([file.stem for file in source])
        if times is not None and any(b <= a for a, b in itertools.pairwise(times)):
            times = None
    else:
        files, times = source, None
    at = (number / fps for number in itertools.count()) if times is None else times
    return _decoded(zip(files, at, strict=False), where, losses, fps)  # a count has no end


def _in_time(files: list[Path], folder: Path, where: str, fps: float, losses: Losses) -> tuple[list[Path], list[float]]:
    """A folder's images and their times: by the times in their names, by frame numbers, or as people order names."""
    times = times_in_names([file.stem for file in files])
    if times is not None:
        order = sorted(range(len(files)), key=times.__getitem__)
        return [files[i] for i in order], [times[i] for i in order]
    numbered = {number: file for file in files if (number := _frame_number(file)) is not None}
    order = sorted(numbered)
    steps = [after - before for before, after in itertools.pairwise(order)]
    step = min(steps, default=1)  # every fifth frame of a recording is no recording with gaps
    missing = (order[-1] - order[0]) // step + 1 - len(order) if order else 0
    if len(numbered) < len(files) or missing > len(files):  # numbers of another kind
        return files, [number / fps for number in range(len(files))]
    for before, after in itertools.pairwise(order):
        if after != before + step:
            frames = (after - before) // step - 1
            losses.lose("gap", _gap(where, folder, before, after, numbered), _GAP, frames, frames / fps)
    return [numbered[number] for number in order], [(number - order[0]) / step / fps for number in order]


_GAP = "put the files back, or make two clips of it"


def _image_sizes(folder: Path, where: str) -> Iterator[tuple[Path, tuple[int, int]]]:
    """(width, height) of each frame, from the images' headers."""
    for number, file in enumerate(_frame_files(folder, where)):
        try:
            with _opened(file) as image:
                yield file, image.size
        except _UnreadableError as error:
            raise FootageError(f"{where}: frame {number} ({file}) {error}") from None


def _decoded(
    files: Iterable[tuple[Path, float]], where: str, losses: Losses, fps: float
) -> Iterator[tuple[Path, float, np.ndarray]]:
    """File, time and pixels, uint8 (H, W, 3) RGB, of each image that can be read."""
    for number, (file, time) in enumerate(files):
        try:
            with _opened(file) as image:
                try:
                    pixels = np.array(image.convert("RGB"))
                    more = _more_pictures(image)
                except Exception as error:  # the decoders raise errors of many kinds on damaged data
                    raise _unreadable(file, error) from None
        except _UnreadableError as error:
            reason, _, remedy = str(error).partition("; ")
            losses.lose("image", f"{where}: frame {number} ({file}) {reason}", remedy, 1, 1 / fps)
            continue
        if more:
            reason = f"{where}: frame {number} ({file}) is the first of {more + 1} pictures in one file"
            losses.lose("pictures", reason, "make a file of each", more, more / fps)
        yield file, time, pixels


def _more_pictures(image: Image.Image) -> int:
    """How many pictures follow the first in its file, if they are of its size: others are made of it, for a preview."""
    if image.format not in ("TIFF", "PNG", "WEBP") or (count := getattr(image, "n_frames", 1)) == 1:
        return 0
    size = image.size
    image.seek(1)
    return count - 1 if image.size == size else 0


class _UnreadableError(Exception):
    """Why an image cannot be read, as the end of a sentence, and what to do."""


def _opened(file: Path) -> Image.Image:
    """An image whose header was read; its decoder refuses truncated data, where OpenCV's pads it in grey."""
    if file.exists() and not file.is_file():
        raise _UnreadableError("is no file; remove it")
    try:
        image = Image.open(file, formats=_IMAGE_FORMATS)
    except Exception as error:
        raise _unreadable(file, error) from None
    if image.mode.startswith(("I", "F")):
        image.close()
        raise _UnreadableError(
            f"has {image.mode} samples of 16 bits or more; expected 8 bits a channel: convert it first"
        )
    return image


def _unreadable(file: Path, error: Exception) -> Exception:
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return VadError(f"{file}: {surroundings(error)}")
    if (cause := surroundings(error)) is not None:
        return _UnreadableError(cause)
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    elif "cannot identify" in reason:
        reason = "not a JPEG, PNG, BMP or TIFF image"
    return _UnreadableError(f"cannot be read: {reason}; replace the file")
