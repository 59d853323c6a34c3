"""Video files of every kind of container, healthy, odd, cut and damaged."""

import random
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np

FRAMES, FPS = 100, 25

# By name: the codec, the container's name where the suffix does not say, and what else its writing needs.
KINDS: dict[str, dict] = {
    "mp4": {"codec": "libx264", "b_frames": 2},
    "faststart.mp4": {"codec": "libx264", "b_frames": 2, "options": {"movflags": "faststart"}},
    "fragmented.mp4": {"codec": "libx264", "b_frames": 2, "options": {"movflags": "frag_keyframe+empty_moov"}},
    "mov": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "3gp": {"codec": "libx264", "b_frames": 2},
    "avi": {"codec": "mpeg4"},
    "mkv": {"codec": "libx264", "b_frames": 2},
    "webm": {"codec": "libvpx"},
    "mpg": {"codec": "mpeg2video"},
    "ts": {"codec": "libx264", "b_frames": 2},
    "mts": {"codec": "libx264", "b_frames": 2, "container": "mpegts"},
    "m2ts": {"codec": "libx264", "container": "mpegts", "options": {"mpegts_m2ts_mode": "1"}},
    "wmv": {"codec": "wmv2", "container": "asf"},
    "flv": {"codec": "libx264", "b_frames": 2},
    "mxf": {"codec": "mpeg2video"},
    "ogv": {"codec": "libvpx", "container": "ogg"},
    "h264": {"codec": "libx264", "container": "h264", "b_frames": 2},
    "dav": {"codec": "libx264", "container": "h264"},
    "hevc": {"codec": "libx265", "container": "hevc", "options": {"x265-params": "log-level=error"}},
    "gif": {"codec": "gif", "pixels": "rgb8"},
    "mjpeg": {"codec": "mjpeg", "container": "mjpeg", "pixels": "yuvj420p"},
    "ivf": {"codec": "libvpx"},
    "y4m": {"codec": "wrapped_avframe", "container": "yuv4mpegpipe"},
}


def pictures(count: int = FRAMES, width: int = 128, height: int = 96) -> Iterator[np.ndarray]:
    """A square that moves over moving noise."""
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    for number in range(count):
        picture = np.roll(noise, 3 * number, axis=1)
        picture[10:30, (5 * number) % (width - 20) : (5 * number) % (width - 20) + 20] = 250
        yield picture


def write(
    path: Path,
    codec: str = "libx264",
    *,
    container: str | None = None,
    frames: Iterable[np.ndarray] | None = None,
    fps: int = FPS,
    b_frames: int = 0,
    pixels: str = "yuv420p",
    shown: Iterable[int] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video; `shown`: when each frame is, in 1/fps, if not one after the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    of_stream = options if options and "x265-params" in options else {}
    with av.open(str(path), "w", format=container, options={} if of_stream else (options or {})) as file:
        stream, times = file.add_stream(codec, rate=fps, options=of_stream), iter(shown or ())
        for picture in pictures() if frames is None else frames:
            if not stream.codec_context.is_open:
                stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], pixels
                stream.codec_context.gop_size, stream.codec_context.max_b_frames = 12, b_frames
                stream.bit_rate = 2_000_000
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if shown is not None:
                frame.pts = next(times)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def make(folder: Path, kind: str, **more) -> Path:
    """A healthy video of one of the KINDS."""
    return write(folder / (kind if "." in kind else f"a.{kind}"), **{**KINDS[kind], **more})


def late(path: Path, start: float, codec: str = "libx264", container: str | None = None, count: int = 75) -> Path:
    """A recording whose clock does not begin at zero, as a segment of a longer one."""
    first = round(start * FPS)
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=FPS)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        stream.codec_context.max_b_frames = 0
        for number, picture in enumerate([*pictures(count), None]):
            frame = None if picture is None else av.VideoFrame.from_ndarray(picture, format="rgb24")
            if frame is not None:
                frame.pts = number
            for packet in stream.encode(frame):
                packet.pts, packet.dts = packet.pts + first, packet.dts + first
                file.mux(packet)
    return path


def trimmed(path: Path, begin: float, length: float) -> Path:
    """Have an MP4's edit list show a part of it, in seconds: all that was recorded is still there."""
    data = bytearray(path.read_bytes())
    entry = data.index(b"elst") + 12
    (media,) = struct.unpack(">I", data[entry + 4 : entry + 8])
    data[entry : entry + 8] = struct.pack(">II", round(length * 1000), media + round(begin * 12800))
    path.write_bytes(data)
    return path


def claiming(path: Path, frames: int) -> Path:
    """Have the header of an AVI, Matroska or FLV file claim that it has so many frames."""
    data = bytearray(path.read_bytes())
    if path.suffix == ".avi":
        for name, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
            at = data.index(name) + offset
            data[at : at + 4] = struct.pack("<I", frames)
    elif path.suffix in (".mkv", ".webm"):
        at = data.index(b"\x44\x89\x88") + 3
        data[at : at + 8] = struct.pack(">d", 1000 * frames / FPS)
    else:
        at = data.index(b"duration\0") + 9
        data[at : at + 8] = struct.pack(">d", frames / FPS)
    path.write_bytes(data)
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    """Leave only the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def damaged(path: Path, *packets: int, size: int = 300) -> Path:
    """Overwrite the beginnings of some packets, and what announces them."""
    places = []
    with av.open(str(path)) as file:
        places = [(p.pos, p.size) for p in file.demux(video=0) if p.size]
    data, rng = bytearray(path.read_bytes()), random.Random(0)
    for packet in packets:
        at, length = places[packet]
        for byte in range(at, at + min(length, size)):
            data[byte] = rng.randrange(256)
    path.write_bytes(data)
    return path
