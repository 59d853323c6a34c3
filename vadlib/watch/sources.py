"""Where live frames come from: a stream on the network, a device, a pipe, a folder that grows, a file at its own pace.

Each is read by one function, `frames_of`, that yields frames as they come and says where they do not follow one
another: whatever looks at motion begins anew there.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Literal, get_args
from urllib.parse import urlsplit

import av
import numpy as np
from av.container import InputContainer

from vadlib.clips import read_footage
from vadlib.errors import FootageError, Losses, VadError, printable
from vadlib.io.names import safe_name
from vadlib.io.ownership import is_own
from vadlib.io.video import is_video, open_video, video_stream

LEAP = 1.0  # seconds from one frame to the next, by the stream's clock, that are no longer a movement
LONGEST_STEP = 5.0  # seconds: a leap is taken for no longer a step of a slow stream
USUAL_STEPS = 4  # of a slow stream: so many of its usual steps may lie between two frames
TIMEOUT = 10.0  # seconds without a packet, after which a connection is given up
WAITS = (1.0, 60.0)  # seconds before connecting again: the first time, and at most; doubled each time
SETTLED = 3.0  # seconds that a recording in a folder has not grown, and so is whole
FOLDER_PACE = 1.25  # times as fast as recorded: so that a segment is done before the next one is whole

Kind = Literal["rtsp", "http", "device", "pipe", "folder", "file"]

# What a camera may make FFmpeg open. No file: a playlist could name one of this machine's.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,flv,asf,avi,h264,hevc,mjpeg,mpjpeg,nut"
_OPTIONS: dict[Kind, dict[str, str]] = {
    "rtsp": {
        "rtsp_flags": "prefer_tcp",
        "protocol_whitelist": "rtsp,rtsps,rtp,tcp,udp,tls",
        "format_whitelist": "rtsp,sdp,rtp,mpegts",
    },
    "http": {
        "protocol_whitelist": "http,https,tcp,tls,httpproxy,crypto,hls",
        "format_whitelist": f"hls,applehttp,{_FORMATS}",
    },
    "device": {},
    "pipe": {"protocol_whitelist": "pipe,file", "format_whitelist": _FORMATS},
}
_SCHEMES: dict[str, Kind] = {"rtsp": "rtsp", "rtsps": "rtsp", "http": "http", "https": "http"}
_NO_CLOCK = {"mpjpeg", "mjpeg", "h264", "hevc"}  # their times are FFmpeg's guess
_DEVICES = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


@dataclass(frozen=True)
class Source:
    """One camera, or what stands for one."""

    name: str  # names its results: a safe file name
    address: str  # may hold a password
    kind: Kind

    @property
    def shown(self) -> str:
        """The address without user and password."""
        return re.sub(r"//[^/@]*@", "//", self.address)


@dataclass(frozen=True)
class Captured:
    """A frame, as it came."""

    image: np.ndarray  # uint8 (H, W, 3), RGB
    stream_time: float  # seconds on the stream's own clock, which may begin anywhere
    wall: float  # seconds since 1970 at which it came; of a recording in a folder, at which it was recorded
    arrived: float = field(default_factory=time.monotonic)  # what delays are measured from


@dataclass(frozen=True)
class Cut:
    """What follows does not go on from what came before."""

    reason: str
    lost: bool = False  # whether the connection was, and is made again


def parse_source(text: str, taken: Collection[str] = ()) -> Source:
    """A source as given on the command line: an address, a device or its number, a path, `-`; or `name=` and one.

    `taken`: names that other sources have. Raises VadError where it can be none.
    """
    named = re.match(r"([\w .-]+)=(.+)", text)
    given, address = (named[1], named[2]) if named and not Path(text).exists() else (None, text)
    kind = _kind(address)
    if address.isdecimal():
        address = f"/dev/video{address}" if sys.platform == "linux" else address
    if given is None:
        place = urlsplit(address)
        given = {"rtsp": place.hostname, "http": place.hostname, "pipe": "pipe"}.get(kind) or Path(address).stem
    name = own = safe_name(given)
    for number in range(2, len(taken) + 2):
        if name not in taken:
            break
        name = f"{own}-{number}"
    return Source(name, address, kind)


def _kind(address: str) -> Kind:
    if scheme := re.match(r"([a-zA-Z][\w+.-]*)://", address):
        if scheme[1].lower() in _SCHEMES and urlsplit(address).hostname:
            return _SCHEMES[scheme[1].lower()]
        raise VadError(f"{address}: expected rtsp://, rtsps://, http:// or https:// and a host")
    path = Path(address)
    if address == "-" or path.is_fifo():
        return "pipe"
    if address.isdecimal() or path.is_char_device():
        return "device"
    if path.is_dir():
        return "folder"
    if path.is_file():
        return "file"
    raise VadError(f"{address}: not found; expected one of {', '.join(get_args(Kind))}, such as rtsp://camera/stream")


def frames_of(source: Source, stopping: Event, tell: Callable[[str], None]) -> Iterator[Captured | Cut]:
    """The frames of a source as they come, until it ends, or `stopping` is set: a network's and a device's never do.

    What is to be known goes to `tell`, in lines: connections that are lost and made again, with growing waits between;
    recordings that cannot be read. Raises VadError where a file or a pipe is none that can be read.
    """
    if source.kind == "file":
        items: Iterable[Captured | Cut] = _paced(_recording(Path(source.address), source.name, tell))
    elif source.kind == "folder":
        items = _growing(Path(source.address), stopping, tell)
    elif source.kind == "pipe":
        items = _paced(_of_pipe(source))
    else:
        items = _reconnecting(source, stopping, tell)
    for item in cut_at_leaps(items):
        if stopping.is_set():
            return
        yield item


def cut_at_leaps(items: Iterable[Captured | Cut]) -> Iterator[Captured | Cut]:
    """The same, with a cut where frames change their size, and where the stream's clock leaps or stands still for long.

    A frame that comes again, or a little too late, is left out.
    """
    last: Captured | None = None
    usual = 0.0
    for item in items:
        if isinstance(item, Cut):
            last = None
            yield item
            continue
        if last is not None:
            step = item.stream_time - last.stream_time
            if item.image.shape != last.image.shape:
                height, width = item.image.shape[:2]
                yield Cut(f"frames are now {width}x{height} px")
            elif -LEAP < step <= 0:
                continue
            elif not 0 < step <= max(LEAP, USUAL_STEPS * usual):
                yield Cut(f"the stream's clock leapt by {step:+.2f} s")
                usual += 0.1 * (min(step, LONGEST_STEP) - usual) if step > 0 else 0.0
            else:
                usual = step if usual == 0 else usual + 0.1 * (step - usual)
        last = item
        yield item


def _reconnecting(source: Source, stopping: Event, tell: Callable[[str], None]) -> Iterator[Captured | Cut]:
    """A stream or a device, opened again whenever it ends."""
    wait, longest = WAITS
    first = True
    while not stopping.is_set():
        began = False
        try:
            with _open(source) as container:
                for frame in _decoded(container):
                    if not began:
                        tell(f"{source.name}: connected{'' if first else ' again'}")
                        began, first, wait = True, False, WAITS[0]
                    yield frame
            reason = "the stream ended"
        except (av.FFmpegError, OSError, LookupError) as error:
            reason = printable(getattr(error, "strerror", None) or str(error)) or type(error).__name__
        yield Cut(reason, lost=True)
        tell(f"{source.name}: {reason} ({source.shown}); trying again in {wait:g} s")
        stopping.wait(wait)
        wait = min(2 * wait, longest)


def _open(source: Source) -> InputContainer:
    kind = _DEVICES.get(sys.platform) if source.kind == "device" else None
    address = "pipe:0" if source.address == "-" else source.address
    options = {**_OPTIONS[source.kind], "analyzeduration": "1000000"}
    return av.open(address, format=kind, options=options, timeout=(TIMEOUT, TIMEOUT), metadata_errors="replace")


def _decoded(container: InputContainer) -> Iterator[Captured]:
    """The frames of what is open; those that are damaged are left out."""
    stream = video_stream(container)
    stream.thread_type = "SLICE"  # threads that work on several frames at a time hold them back
    has_clock = container.format.name not in _NO_CLOCK
    frames: Iterator[Captured] = _packets_decoded(container, has_clock)
    # What comes in segments comes in bursts.
    return _paced(frames) if container.format.name in ("hls", "applehttp", "hls,applehttp") else frames


def _packets_decoded(container: InputContainer, has_clock: bool) -> Iterator[Captured]:
    began = time.monotonic()
    for packet in container.demux(video_stream(container)):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        for frame in frames:
            if frame.is_corrupt:
                continue
            stored = frame.time if has_clock else None
            turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4)
            own_time = time.monotonic() - began if stored is None else stored
            yield Captured(np.ascontiguousarray(turned), own_time, time.time())


def _of_pipe(source: Source) -> Iterator[Captured]:
    try:
        with _open(source) as container:
            yield from _packets_decoded(container, container.format.name not in _NO_CLOCK)
    except (av.FFmpegError, OSError, LookupError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FootageError(f"{source.address}: no video comes through the pipe ({reason}); send MPEG-TS, say") from None


def _paced(frames: Iterable[Captured], speed: float | None = None) -> Iterator[Captured]:
    """The same frames, none earlier after the first than its clock says: as a camera's would come, now; those of a
    recording `speed` times as fast, and when they were recorded stays."""
    anchor: float | None = None  # the monotonic clock at the stream's zero
    for frame in frames:
        now, place = time.monotonic(), frame.stream_time / (speed or 1.0)
        if anchor is None or not 0 < anchor + place - now < 60:  # late, or a leap: it goes on from here
            anchor = now - place
        time.sleep(max(0.0, anchor + place - now))
        yield replace(frame, wall=frame.wall if speed else time.time(), arrived=time.monotonic())


def _recording(path: Path, name: str, tell: Callable[[str], None]) -> Iterator[Captured]:
    """A file's frames. The last was recorded when the file was written."""
    losses = Losses()
    with open_video(path, name) as container:
        begin = path.stat().st_mtime - (container.duration or 0) / av.time_base
    for at, image in read_footage(path, name, 25.0, losses):
        yield Captured(image, at, begin + at)
    for line in losses.lines:
        tell(line)


def _growing(folder: Path, stopping: Event, tell: Callable[[str], None]) -> Iterator[Captured | Cut]:
    """The recordings that come into a folder, or into folders in it, each once it is whole."""
    passed = set(_files(folder))
    while not stopping.is_set():
        there = _files(folder)
        passed &= set(there)  # what was removed need not be remembered
        ready = [path for path in there if path not in passed and time.time() - there[path] > SETTLED]
        for path in sorted(ready, key=there.__getitem__):
            passed.add(path)
            try:
                if is_video(path):
                    yield from _paced(_recording(path, path.stem, tell), FOLDER_PACE)
                    yield Cut(f"{path.name} ended")
            except FootageError as error:
                tell(f"left out: {error}")
                yield Cut(f"{path.name} cannot be read")
        stopping.wait(1.0)


def _files(folder: Path) -> dict[Path, float]:
    """The files below a folder, but for those this tool made, and when each was last written to."""
    times = {}
    for place, folders, names in os.walk(folder):
        parent = Path(place)
        folders[:] = [name for name in folders if not name.startswith(".") and not is_own(parent / name)]
        for path in (parent / name for name in names if not name.startswith(".")):
            try:
                times[path] = path.stat().st_mtime
            except OSError:  # gone meanwhile
                continue
    return times
