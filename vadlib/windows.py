"""Parts of long clips: where a video can be read from, and its frames from there.

A part begins at a key frame from which everything decodes as it does from the video's beginning, so that its frames are
those of `read_frames` to the bit. Where that is not sure, a clip is not cut.
"""

from bisect import bisect
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from vadlib.clips import _decoded, _frame_files, _images_in, _in_time, _pixels
from vadlib.errors import FootageError, Losses, VadError
from vadlib.io.video import open_video, video_stream
from vadlib.manifest import Clip

# After a key frame of these nothing refers to what was before it, but frames that are shown before it.
_CLEAN = {"mpeg4", "mpeg2video", "mpeg1video", "mjpeg", "vp8", "vp9", "h264"}

LEAD = 32
"""So many frames before a part can be read with it: more than any stage needs."""

Start = tuple[int, int]
"""A key frame: which frame it is, from 0 in the order shown, and its time in the stream's units."""


def cut_clip(clip: Clip, window: int) -> list[tuple[int, int, Start]]:
    """Parts of a clip of about `window` frames: the first frame, one past the last, and the key frame that
    is read from, LEAD before it where there are as many.

    Of a folder of images any frame will do. A clip of which it is not sure that its parts are read as the whole is has
    none: one whose packets are not as many as its frames, or have no times; one without key frames.
    """
    path = Path(clip.path)
    if path.is_dir():
        whole = len(_images(clip, path)) == clip.frames
        starts = {frame: (frame, 0) for frame in range(clip.frames)} if whole else {}
    else:
        starts = _key_frames(path, clip)
    if 0 not in starts:
        return []
    edges = [0]
    for frame in sorted(starts):
        if frame - edges[-1] >= window and clip.frames - frame >= window // 2:
            edges.append(frame)
    keys = sorted(starts)
    return [(a, b, starts[keys[bisect(keys, max(a - LEAD, keys[0])) - 1]]) for a, b in pairwise([*edges, clip.frames])]


def _key_frames(path: Path, clip: Clip) -> dict[int, Start]:
    times: list[int] = []
    keys: list[int] = []
    with open_video(path, f"clip {clip.key}") as container:
        stream = video_stream(container)
        kind = stream.codec_context.name
        if kind not in _CLEAN:
            return {}
        try:
            for packet in container.demux(stream):
                if not packet.size or packet.is_discard:
                    continue
                if packet.pts is None or packet.is_corrupt:
                    return {}
                if packet.is_keyframe and (kind != "h264" or _refreshes(bytes(packet))):
                    keys.append(packet.pts)
                times.append(packet.pts)
        except av.FFmpegError:
            return {}
    if len(times) != clip.frames or len(set(times)) != len(times):
        return {}
    rank = {time: frame for frame, time in enumerate(sorted(times))}
    return {rank[time]: (rank[time], time) for time in keys}


def _refreshes(packet: bytes) -> bool:
    """Whether a packet of H.264 has an IDR picture: other key frames may lean on what was before them."""
    if packet[:3] == b"\0\0\1" or packet[:4] == b"\0\0\0\1":
        units = packet.split(b"\0\0\1")[1:]
        return any(unit and unit[0] & 31 == 5 for unit in units)
    at = 0
    while at + 4 < len(packet):  # each unit after its length
        if packet[at + 4] & 31 == 5:
            return True
        at += 4 + int.from_bytes(packet[at : at + 4])
    return False


def read_part(clip: Clip, first: int, stop: int, start: Start) -> Iterator[np.ndarray]:
    """Yield frames `first` to `stop` - 1 of a clip that `cut_clip` cut, (H, W, 3) uint8 RGB, as `read_frames` does.

    `start` is a key frame at or before `first`. Raises VadError where the footage is no longer what was cut.
    """
    path = Path(clip.path)
    frames: Iterator[np.ndarray]
    if path.is_dir():
        files = ((file, 0.0) for file in _images(clip, path)[first:stop])
        frames = (_pixels(picture) for _, _, picture in _decoded(files, f"clip {clip.key}", Losses(strict=True), 25.0))
    else:
        frames = _from_key(clip, path, first, stop, start)
    number = first
    for number, frame in enumerate(frames, first + 1):
        if frame.shape[:2] != (clip.height, clip.width):
            raise FootageError(
                f"clip {clip.key}: frame {number - 1} ({path}) is {frame.shape[1]}x{frame.shape[0]} px; expected "
                f"{clip.width}x{clip.height}: all frames of a clip must have one size"
            )
        yield frame
    if number != stop:
        raise VadError(
            f"clip {clip.key} ({path}): frames {first} to {stop - 1} cannot all be read, only those before {number}; "
            "run the same command again, with `compute.window: null`"
        )


def _images(clip: Clip, path: Path) -> list[Path]:
    """The images of a folder, in the order that `read_frames` takes them in."""
    where = f"clip {clip.key}"
    if Path(clip.path).is_absolute():
        return _in_time(_images_in(path, where), path, where, 25.0, Losses())[0]
    return _frame_files(path, where)


def _from_key(clip: Clip, path: Path, first: int, stop: int, start: Start) -> Iterator[np.ndarray]:
    number, time = start
    for seeks in (number > 0, False):
        with open_video(path, f"clip {clip.key}") as container:
            stream = video_stream(container)
            stream.thread_type = "SLICE"  # as all frames are read
            if seeks:
                container.seek(time, stream=stream)
            packets = container.demux(stream)
            # A key frame before it may come first. Containers without an index are searched, and what is looked for may
            # be missed: then all before it is read, though not decoded.
            begin = next((p for p in packets if number == 0 or (p.is_keyframe and p.pts == time)), None)
            if begin is None:
                continue
            for packet in chain([begin], packets):
                for frame in _decode(packet):
                    if 0 < number == start[0] and frame.pts is not None and frame.pts < time:
                        continue  # shown before the key frame, and leaning on what is not there
                    if number >= stop:
                        return
                    if number >= first:
                        yield _pixels(frame)
                    number += 1
            return


def _decode(packet: Any) -> list[Any]:
    try:
        return [frame for frame in packet.decode() if not frame.is_corrupt]
    except av.FFmpegError:
        return []  # a frame is missing, of which the count tells
