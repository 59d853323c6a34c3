"""What a clip is, and how its frames are read: image folders and video files look the same to every stage."""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from vadlib.errors import VadError
from vadlib.io.files import read_json, write_json

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg")

_IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "TIFF")
# Containers that hold their own frames. FFmpeg looks at the content and not at the suffix: without this list
# a text file named .mp4 could be a playlist that makes it open other files, or addresses on the network.
_VIDEO_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpeg",
    "protocol_whitelist": "file",
}


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


def natural_key(name: str) -> tuple[Any, ...]:
    """Sort key that puts `clip2` before `clip10`; ties (`02` and `2`) go by the plain name."""
    parts = re.split(r"(\d+)", name, flags=re.ASCII)
    return (*((int(part), "") if i % 2 else (-1, part) for i, part in enumerate(parts)), (-1, name))


def is_clip(path: Path) -> bool:
    """Whether a path looks like a clip: a folder, or a file with a video's suffix, and not hidden."""
    return not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES)


def probe_clip(
    path: Path, name: str, split: str, root: Path | None, anomalous: tuple[tuple[int, int], ...] | None = None
) -> Clip:
    """Index one clip: a folder of numbered images, or a video file.

    Of an image every header is read; a video is decoded once, since the frame count in its header is a claim
    that decoding need not keep. `root` is the project's folder, above `path`; None: of no project. Raises VadError
    for a name that cannot name files, an empty folder, a gap in the frame numbers, frames of different sizes, and
    files that cannot be read or end early.
    """
    check_name(name, path)
    try:
        place = path.absolute() if root is None else path.absolute().relative_to(root.absolute())
    except ValueError:
        raise VadError(f"{path}: must lie below {root.absolute()} (a symbolic link there will do)") from None
    fps = None
    if path.is_dir():
        sizes = _image_sizes(path, f"clip {split}/{name}")
    else:
        fps = _video_rate(path, f"clip {split}/{name}")
        sizes = ((path, _shown_size(frame)) for frame in _video_frames(path, f"clip {split}/{name}"))
    first, frames = None, 0
    for file, size in sizes:
        if size != (first := first or size):
            raise _wrong_size(f"clip {split}/{name}", frames, file, first, size)
        frames += 1
    if not frames:
        raise VadError(f"clip {split}/{name} ({path}): the video has no frames")
    return Clip(name, split, place.as_posix(), frames, *first, fps=fps, anomalous=anomalous)


def read_frames(clip: Clip, root: Path = Path()) -> Iterator[np.ndarray]:
    """Yield every frame of a clip in order, each decoded once: (H, W, 3) uint8 RGB, contiguous.

    Grey frames get three equal channels; transparency is dropped. A video's rotation mark (portrait footage
    of a phone) is applied; orientation marks in the EXIF data of images are not. Raises VadError naming clip,
    frame and file where a frame is truncated, unreadable or of another size than the clip's, or where there
    are not as many as the manifest says.
    """
    path, where = root / clip.path, f"clip {clip.key}"
    if path.is_dir():
        frames = _decoded(_frame_files(path, where), where)
    else:
        frames = ((file, image) for file, _, image in _video_images(path, where))
    number = -1
    for number, (file, frame) in enumerate(frames):
        if number == clip.frames:
            raise VadError(f"{where} ({path}): more than the {clip.frames} frames indexed; {_PREPARE}")
        if frame.shape[:2] != (clip.height, clip.width):
            found = (frame.shape[1], frame.shape[0])
            raise _wrong_size(where, number, file, (clip.width, clip.height), found)
        yield frame
    if number + 1 < clip.frames:
        raise VadError(f"{where} ({path}): {number + 1} frames where {clip.frames} were indexed; {_PREPARE}")


def read_footage(source: Path | Iterable[Path], name: str, fps: float) -> Iterator[tuple[float, np.ndarray]]:
    """Yield every frame of footage that was not indexed, with its time, decoded once, as it is asked for.

    Args:
        source: a video file, a folder of numbered images, or image files in their order, which may still be coming.
        name: the clip's, for errors.
        fps: frames per second of images. A video's frames have their own times.

    Yields (seconds from the first frame, (H, W, 3) uint8 RGB). Raises VadError as `read_frames` does; that a file was
    cut short is noticed at its end.
    """
    where, first, number = f"clip {name}", None, -1
    if isinstance(source, Path) and not source.is_dir():
        frames = _video_images(source, where)
    else:
        files = _frame_files(source, where) if isinstance(source, Path) else source
        frames = ((file, count / fps, image) for count, (file, image) in enumerate(_decoded(files, where)))
    for number, (file, time, frame) in enumerate(frames):
        size = (frame.shape[1], frame.shape[0])
        if size != (first := first or size):
            raise _wrong_size(where, number, file, first, size)
        yield time, frame
    if number < 0:
        raise VadError(f"{where}{f' ({source})' if isinstance(source, Path) else ''}: no frames")


def claimed_length(path: Path, name: str) -> int | None:
    """How many frames a video's header claims, or a folder has images; None where nothing says."""
    where = f"clip {name}"
    if path.is_dir():
        return len(_frame_files(path, where))
    with _open_video(path, where) as container:
        stream = container.streams.video[0]
        if stream.frames or not (stream.average_rate and container.duration):
            return stream.frames or None
        return round(float(stream.average_rate) * container.duration / av.time_base)


def has_images(folder: Path) -> bool:
    """Whether a folder holds images, so that it is one clip and not several."""
    return any(p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") for p in folder.iterdir())


_PREPARE = "if the footage was changed on purpose, run prepare again"


def _wrong_size(where: str, number: int, file: Path, expected: tuple[int, int], found: tuple[int, int]) -> VadError:
    return VadError(
        f"{where}: frame {number} ({file}) is {found[0]}x{found[1]} px, "
        f"the clip's first is {expected[0]}x{expected[1]}; all frames of a clip must have one size"
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


def _frame_files(folder: Path, where: str) -> list[Path]:
    """A folder's images in the order of their frame numbers, which may start anywhere but have no gap."""
    numbered: dict[int, Path] = {}
    try:
        files = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise VadError(f"{where} ({folder}): cannot be listed: {error.strerror}") from None
    for file in files:
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if not (digits := re.findall(r"\d+", file.stem, flags=re.ASCII)):
            raise VadError(f"{where}: {file} has no frame number in its name; expected names like 001.jpg")
        number = int(digits[-1])
        if number in numbered:
            raise VadError(f"{where}: two files are frame {number}: {numbered[number]} and {file}; remove one")
        numbered[number] = file
    if not numbered:
        raise VadError(f"{where} ({folder}): no images in the folder; expected {', '.join(IMAGE_SUFFIXES)}")
    order = sorted(numbered)
    for before, after in itertools.pairwise(order):
        if after != before + 1:
            gap = f"{before + 1}" if after == before + 2 else f"{before + 1} to {after - 1}"
            raise VadError(
                f"{where}: missing frame {gap}: {folder} goes from {numbered[before].name} to "
                f"{numbered[after].name}; put the files back, or make two clips of it"
            )
    return [numbered[number] for number in order]


def _image_sizes(folder: Path, where: str) -> Iterator[tuple[Path, tuple[int, int]]]:
    """(width, height) of each frame, from the images' headers."""
    for number, file in enumerate(_frame_files(folder, where)):
        with _opened(file, f"{where}: frame {number} ({file})") as image:
            yield file, image.size


def _decoded(files: Iterable[Path], where: str) -> Iterator[tuple[Path, np.ndarray]]:
    for number, file in enumerate(files):
        name = f"{where}: frame {number} ({file})"
        with _opened(file, name) as image:
            try:
                pixels = np.array(image.convert("RGB"))
            except Exception as error:  # the decoders raise errors of many kinds on damaged data
                raise _unreadable(name, error) from None
        yield file, pixels


def _opened(file: Path, name: str) -> Image.Image:
    """An image whose header was read; its decoder refuses truncated data, where OpenCV's pads it in grey."""
    try:
        image = Image.open(file, formats=_IMAGE_FORMATS)
    except Exception as error:
        raise _unreadable(name, error) from None
    if image.mode.startswith(("I", "F")):
        image.close()
        raise VadError(
            f"{name} has {image.mode} samples of 16 bits or more; expected 8 bits a channel: convert it first"
        )
    return image


def _unreadable(name: str, error: Exception) -> VadError:
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    elif "cannot identify" in reason:
        reason = "not a JPEG, PNG, BMP or TIFF image"
    return VadError(f"{name} cannot be read: {reason}; replace the file")


# Video files


def _open_video(path: Path, where: str) -> av.container.InputContainer:
    name = f"{where} ({path})"
    if not path.is_file():
        raise VadError(f"{name}: not found; put the footage back, or run prepare again")
    try:
        container = av.open(str(path.absolute()), container_options=_VIDEO_OPTIONS)
    except (av.FFmpegError, OSError) as error:
        raise VadError(f"{name}: cannot be opened as a video ({error.strerror}); {_REPLACE_VIDEO}") from None
    if not container.streams.video:
        container.close()
        raise VadError(f"{name}: holds no video; {_REPLACE_VIDEO}")
    return container


def _video_rate(path: Path, where: str) -> float | None:
    with _open_video(path, where) as container:
        rate = container.streams.video[0].average_rate
        return float(rate) if rate else None


def _video_frames(path: Path, where: str) -> Iterator[av.VideoFrame]:
    """Decode a video once, and notice when it ends early: a cut file often just decodes to fewer frames."""
    with _open_video(path, where) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        number = packets = 0
        end = None
        try:
            for packet in container.demux(stream):
                packets += packet.size > 0
                for frame in packet.decode():
                    if packet.is_corrupt or frame.is_corrupt:
                        raise VadError(f"{where}: frame {number} ({path}) is damaged or cut; {_REPLACE_VIDEO}")
                    end = frame.time
                    yield frame
                    number += 1
        except av.FFmpegError as error:
            raise VadError(
                f"{where}: frame {number} ({path}) cannot be decoded ({error.strerror}); {_REPLACE_VIDEO}"
            ) from None
        # Headers of healthy files are off by a frame or two; and a longer sound track counts into a duration.
        if packets < stream.frames * 0.98 - 2:
            raise VadError(
                f"{where} ({path}): cut after frame {number - 1} of the {stream.frames} "
                f"its header names; {_REPLACE_VIDEO}"
            )
        if not stream.frames and container.duration and end is not None and len(container.streams) == 1:
            start, length = (container.start_time or 0) / av.time_base, container.duration / av.time_base
            if end - start < length * 0.98 - 1:
                raise VadError(
                    f"{where} ({path}): cut {end - start:.1f} s into the {length:.1f} s "
                    f"its header names; {_REPLACE_VIDEO}"
                )


_REPLACE_VIDEO = "replace the file, or re-encode what is left of it"


def _video_images(path: Path, where: str) -> Iterator[tuple[Path, float, np.ndarray]]:
    """The file, seconds from the first frame, and the pixels as they are shown."""
    start = time = 0.0
    for number, frame in enumerate(_video_frames(path, where)):
        if frame.time is not None:
            start = frame.time if number == 0 else start
            time = frame.time - start
        image = frame.to_ndarray(format="rgb24")
        yield path, time, np.ascontiguousarray(np.rot90(image, _quarter_turns(frame)))


def _shown_size(frame: av.VideoFrame) -> tuple[int, int]:
    """(width, height) of a frame turned as its rotation mark says."""
    return (frame.height, frame.width) if _quarter_turns(frame) % 2 else (frame.width, frame.height)


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Counter-clockwise quarter turns that show a frame upright."""
    return round(frame.rotation / 90) % 4
