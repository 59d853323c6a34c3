"""Video files: which are opened, what of them can be decoded, when each frame is shown, and whether the end is missing.

Headers are claims: frames are counted as they are decoded, and a file is cut where its bytes end before the containers
in it do, whatever a header says of its length.
"""

import errno
import math
import mmap
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.container import Flags, InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vadlib.errors import FootageError, Losses, VadError
from vadlib.io.files import surroundings

# Containers that hold their own frames. FFmpeg looks at the content and not at the suffix: without this list
# a text file named .mp4 could be a playlist that makes it open other files, or addresses on the network.
_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpeg,mpegts,mpegvideo,asf,flv,mxf,"
    "h264,hevc,m4v,mjpeg,gif,dhav,ogg,ivf,yuv4mpegpipe,dv",
    "protocol_whitelist": "file",
    # A clock that goes back was set, or is another recording's: not every one that does has run over.
    "correct_ts_overflow": "0",
}
_NO_CLOCK = {"h264", "hevc", "m4v", "mpegvideo", "mjpeg"}  # bare streams of frames: their times are FFmpeg's guess
_PICTURES = ("heic", "heix", "hevc", "heim", "heis", "mif1", "avif")  # what looks like an MP4 and is one picture
# Bytes between two packets that are no sign of damage: containers that are read in sequence skip what they cannot read.
_USUAL_GAP = {"matroska,webm": 200, "mxf": 2048, "asf": 4800}
_TAG = 20  # bytes of an FLV tag beside its packet: what is closer follows at once
_LENGTH_IS_END = {"matroska,webm", "flv", "asf"}  # a length that counts from the clock's zero, not from the first frame
_MOST_ERRORS = 100  # in a row, without a packet between: nothing more is to be had
_STEP_BACK = 1.0  # seconds; a clock that goes back further was set, a smaller step back is disorder
_STEP_ON = 30 * 86400.0  # seconds; a clock that goes on further was set too, as from 1970 once a camera is connected
_DISORDER = 8  # frames in a row that are out of order at most: then their clock stands, or was set back
_LEAST = 16  # bytes of a frame: what lies between two packets holds no more frames than that

REPLACE = "replace the file, or re-encode what is left of it"


def open_video(path: Path, where: str) -> InputContainer:
    """A file opened as a video: it has a `video_stream`, and packets without times are left without.

    Raises FootageError, beginning with `where`, where it is not there or is no video that can be decoded; VadError
    where no file could be opened.
    """
    name = f"{where} ({path})" if where else str(path)
    if not path.is_file():
        raise FootageError(f"{name}: not found; put the footage back, or run prepare again")
    try:
        container = _opened(path)
    except (av.FFmpegError, OSError) as error:
        if (cause := surroundings(error)) is not None:
            lacking = error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
            raise (VadError if lacking else FootageError)(f"{name}: {cause}") from None
        reason = error.strerror
        if path.stat().st_size == 0:
            reason = "it is empty"
        elif _without_index(path):
            reason = "its index is missing: it was cut, or never finished"
        raise FootageError(f"{name}: cannot be opened as a video ({reason}); {REPLACE}") from None
    try:
        video_stream(container)
    except LookupError as error:
        container.close()
        raise FootageError(f"{name}: holds no video{error.args[0]}; {REPLACE}") from None
    # FFmpeg would make up times of presentation from those of decoding, in the wrong order.
    container.flags &= ~Flags.gen_pts.value  # type: ignore[operator] # a number, whatever its stub says
    return container


def _opened(path: Path) -> InputContainer:
    def by(kind: str | None) -> InputContainer:
        return av.open(str(path.absolute()), format=kind, container_options=_OPTIONS, metadata_errors="replace")

    try:
        return by(None)
    except av.FFmpegError:
        with path.open("rb") as file:
            bare_jpegs = file.read(3) == b"\xff\xd8\xff"
        if bare_jpegs:  # which FFmpeg takes for one picture unless the suffix says otherwise
            return by("mjpeg")
        return av.open(_Unnamed(path), "r", container_options=_OPTIONS, metadata_errors="replace")


class _Unnamed:
    """A file's content without its name, whose suffix FFmpeg would go by as well."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.read, self.tell = self._file.read, self._file.tell

    def seek(self, offset: int, whence: int = 0) -> int:
        """Where the file then is; -1 for a place that it does not have."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return -1


def video_stream(container: InputContainer) -> VideoStream:
    """The stream of frames; a cover picture is none. Raises LookupError, saying what there is instead."""
    if container.metadata.get("major_brand", "")[:4] in _PICTURES:
        raise LookupError(", but a HEIF picture")
    if films := _films(container):
        return films[0]
    covers = all(stream.disposition & Disposition.attached_pic for stream in container.streams.video)
    raise LookupError("" if covers else " that can be decoded")


def _films(container: InputContainer) -> list[VideoStream]:
    """The streams of frames that can be decoded, not of a cover picture."""
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None and stream.width > 0
    ]


def is_video(path: Path) -> bool:
    """Whether a file's content is a video of a kind that is opened, however it is named."""
    try:
        open_video(path, "").close()
    except FootageError:
        return False
    return True


_BEGINNINGS = re.compile(
    rb".{4}(ftyp|moov|mdat)|RIFF.{4}AVI |\x1aE\xdf\xa3|FLV\x01|0&\xb2u\x8ef\xcf\x11|DKIF|YUV4MPEG2", re.DOTALL
)


def looks_like_video(path: Path) -> bool:
    """Whether a file that cannot be opened as a video begins as one, and holds no sound or picture instead."""
    with path.open("rb") as file:
        if not _BEGINNINGS.match(file.read(16)):
            return False
    try:
        _opened(path).close()
    except (av.FFmpegError, OSError):
        return True
    return False


def frame_rate(container: InputContainer) -> float | None:
    """Frames per second; None where nothing says."""
    stream = video_stream(container)
    told = stream.average_rate or stream.guessed_rate
    rate = stream.codec_context.framerate if container.format.name in _NO_CLOCK else told
    return float(rate) if rate and 0.001 < rate < 1000 else None


def claimed_frames(container: InputContainer) -> list[int]:
    """How many frames the header claims: the number it names, and what its length comes to, where it has them."""
    rate = frame_rate(container) or 0.0
    length = container.duration or 0
    if container.format.name in _LENGTH_IS_END:
        length -= container.start_time or 0
    return [count for count in (video_stream(container).frames, round(rate * length / av.time_base)) if count > 0]


def video_frames(path: Path, where: str, losses: Losses, fps: float) -> Iterator[tuple[float, VideoFrame]]:
    """Decode a video once: each frame with its time, in seconds from the first.

    Times rise from frame to frame. They are those stored, where some are and they rise, else the one before and a frame
    more; of that there is a note. Packets that cannot be decoded are passed over, and frames that are damaged: what is
    lost by that, or with a missing end, is told to `losses`.

    Args:
        where: what errors begin with.
        fps: frames per second where nothing says.

    Raises FootageError where nothing can be decoded, and as `losses` does.
    """
    with open_video(path, where) as container:
        reading = _Reading(container, path, where, losses, fps)
        yield from reading.frames()
        reading.end()


class _Clock:
    """Makes the times of a video's frames rise."""

    def __init__(self, rate: float) -> None:
        self.step = 1 / rate
        self.made = 0  # times that were not stored, or could not be believed
        self.late = False  # whether the last one was of a frame that comes after others of later times
        self._last: float | None = None
        self._disorder = 0  # how many frames in a row came with times before the last one's
        self._highest = 0.0  # of those stored, on the clock of those made
        self._offset: float | None = None

    def about(self, stored: float | None) -> float:
        """Seconds from the first frame of one that is not shown."""
        if stored is None or self._offset is None:
            return 0.0 if self._last is None else self._last + self.step
        return stored + self._offset

    def time(self, stored: float | None) -> float:
        """Seconds from the first frame of the next one, whose stored time this is."""
        due = 0.0 if self._last is None else self._last + self.step
        if stored is not None and self._offset is None:
            self._offset = due - stored
        offset = self._offset or 0.0
        time = due if stored is None else stored + offset
        believed, self.late = stored is not None, False
        if self._last is not None and (time < self._last + 2e-6 or time > self._last + _STEP_ON):  # tables: six digits
            believed = False
            self._disorder += 1
            if self._highest - time > _STEP_BACK or time > self._last or self._disorder > _DISORDER:
                self._offset = offset + (due - time)
                time = self._highest = due
            else:  # a little, so that the stored times that follow still hold
                self.late, self._highest = time <= self._highest, max(time, self._highest)
                time = self._last + (self.step / 4 if self.late else 1e-5)
        elif believed:
            self._highest, self._disorder = time, 0
        self.made += not believed
        self._last = time
        return time


class _Reading:
    """One pass over a video."""

    def __init__(self, container: InputContainer, path: Path, where: str, losses: Losses, fps: float) -> None:
        self._container, self._path, self._where, self._losses = container, path, where, losses
        self._stream = video_stream(container)
        # Threads that work on several frames at a time would take whole frames with them where one is damaged.
        self._stream.thread_type = "SLICE"
        self._kind = container.format.name
        self._rate = frame_rate(container)
        self._clock = _Clock(self._rate or fps)
        self._fed = self._good = 0  # packets that are frames, and frames that came of them
        self._failed = self._missed = 0  # packets and frames that were damaged; frames that the times say are missing
        self._last_failure = -1  # how many packets had been fed
        self._doubt = 0  # frames for which a gap in the times is taken for a loss
        self._unread = 0  # bytes between packets, since then
        self._first = ""  # damage: where, and what
        self._broken = False  # whether the reading of the container broke off, and went on or not
        self._time = 0.0
        self._broke_off = False

    def frames(self) -> Iterator[tuple[float, VideoFrame]]:
        for packet in self._packets():
            if packet.size and not packet.is_discard:
                self._fed += 1
            try:
                decoded = packet.decode()
            except av.FFmpegError as error:
                if packet.size:
                    self._fail(f"cannot be decoded ({error.strerror})", self._stored(packet))
                continue
            for frame in decoded:
                if frame.is_corrupt:
                    self._fail("is damaged", self._stored(frame))
                    continue
                before = self._time
                self._time = self._clock.time(self._stored(frame))
                steps = round((self._time - before) / self._clock.step) if self._good else 1
                self._missed -= self._clock.late and self._missed > 0
                if self._doubt and 1 < steps <= 1 + self._unread // _LEAST:  # else the clock was set
                    place = f"{self._where}: frame {self._good - 1} ({self._path}) at {before:.2f} s"
                    self._first = self._first or f"{place} is followed by data that cannot be read"
                    self._missed += steps - 1
                    if self._losses.strict:
                        self._lose(steps - 1)
                self._doubt = max(0, self._doubt - 1)
                yield self._time, frame
                self._good += 1

    def end(self) -> None:
        """Tell of what was lost, once all has been read."""
        undecoded = max(self._fed - self._good, 1) if self._failed else 0
        lost = max(undecoded, self._missed, int(self._broken))
        if not self._good:
            reason = f" that can be decoded: {self._first}" if self._first else ""
            raise FootageError(f"{self._where} ({self._path}): the video has no frames{reason}; {REPLACE}")
        cut = _ends_early(self._path, self._kind)
        if cut is None:  # nothing says where it should end; a frame that is not whole does
            cut = self._broke_off or (self._failed > 0 and self._last_failure == self._fed)
        if cut:
            claimed = max(claimed_frames(self._container), default=0)
            missing = claimed - self._good if claimed > self._good + 2 else lost
            of = f" of the {claimed} its header names" if claimed > self._good + 2 else ""
            self._losses.lose(
                "cut",
                f"{self._where} ({self._path}): cut at {self._time:.1f} s, after frame {self._good - 1}{of}",
                REPLACE, missing, missing * self._clock.step,
            )  # fmt: skip
        elif lost:
            self._lose(lost)
        if another := _another_behind(self._path, self._kind):
            self._losses.lose(
                "another",
                f"{self._where} ({self._path}): another recording begins at byte {another:,}, and is not read whole",
                "make a file of its own of it", 0,
            )  # fmt: skip
        if others := [f"{stream.width}x{stream.height}" for stream in _films(self._container)[1:]]:
            self._losses.notes.append(
                f"{self._where} ({self._path}): holds {len(others) + 1} videos; the first is read, and no other "
                f"({', '.join(others)})"
            )
        if self._clock.made:
            which = "all" if self._clock.made == self._good else f"{self._clock.made} of {self._good}"
            rate = f"{1 / self._clock.step:g} frames/s{'' if self._rate else ', though the file names none'}"
            self._losses.notes.append(
                f"{self._where} ({self._path}): the times of {which} frames were made from the frame rate ({rate}), "
                "since the file stores none that can be believed"
            )

    def _stored(self, item: "av.Packet[Any] | VideoFrame") -> float | None:
        base = item.time_base or self._stream.time_base
        if item.pts is None or base is None or self._kind in _NO_CLOCK:
            return None
        return float(item.pts * base)

    def _fail(self, what: str, stored: float | None = None) -> None:
        """A packet, or a frame, is damaged."""
        self._failed, self._doubt = self._failed + 1, 64
        self._last_failure = self._fed
        self._begin(max(self._fed - 1, self._good), what, stored)

    def _break(self, what: str) -> None:
        """What the container holds next cannot be found."""
        self._broken, self._doubt = True, 64
        self._begin(self._fed, what)

    def _begin(self, number: int, what: str, stored: float | None = None) -> None:
        place = f"{self._where}: frame {number} ({self._path}) at {self._clock.about(stored):.2f} s"
        self._first = self._first or f"{place} {what}"
        if self._losses.strict:
            self._lose(1)

    def _lose(self, frames: int) -> None:
        self._losses.lose("damage", self._first, REPLACE, frames, frames * self._clock.step)

    def _packets(self) -> "Iterator[av.Packet[Any]]":
        """The stream's packets, as many as can be had, and one that has the decoder give what it holds back."""
        ended = 0  # of the packet before: where its bytes end
        errors = 0
        unread = ""  # why something could not be
        patience = 0  # packets that come behind it though nothing was lost: the last one, once room set aside is met
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                if not unread:
                    unread, patience = f"cannot be read ({error.strerror})", int(_ends_in_zeros(self._path))
                self._doubt, errors = 64, errors + 1
                if errors == _MOST_ERRORS:
                    self._break(unread)
                    self._broke_off = True
                    yield self._flush()
                    return
                packets = self._container.demux()
                continue
            except IndexError:  # at the end, of streams that PyAV has not seen begin
                yield self._flush()
                return
            if packet is None:
                if (again := self._tag_behind(ended)) is None:
                    if unread and not _ends_in_zeros(self._path):  # else it was no more than that room
                        self._break(unread)
                    return
                if again - ended > _TAG:
                    unread = unread or "cannot be read"
                ended = again  # where nothing comes of it, the search goes on behind it
                self._container.seek(again, unsupported_byte_offset=True)
                packets = self._container.demux()
                continue
            errors = 0
            if unread and packet.size:
                patience -= 1
                if patience < 0:
                    self._break(unread)
                    unread = ""
            if packet.size and packet.pos is not None:
                gap = max(0, packet.pos - ended)
                self._unread = gap + (self._unread if self._doubt else 0)
                if ended and gap > _USUAL_GAP.get(self._kind, math.inf):
                    self._doubt = 64
                ended = max(ended, packet.pos + packet.size)
            if packet.stream is self._stream:
                if packet.is_corrupt:
                    self._doubt = 64
                yield packet

    def _flush(self) -> "av.Packet[Any]":
        packet = av.Packet()
        packet.stream = self._stream
        return packet

    def _tag_behind(self, ended: int) -> int | None:
        """Where an FLV file goes on, whose reader gives up at a damaged tag; None where it does not."""
        size = self._path.stat().st_size
        if self._kind != "flv" or not 0 < ended < size - 64:
            return None
        with self._path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for match in re.finditer(rb"[\x08\x09\x12](?s:.{7})\x00\x00\x00", data[ended + 5 : ended + (64 << 20)]):
                tag = ended + 5 + match.start()
                end = tag + 11 + int.from_bytes(data[tag + 1 : tag + 4])
                if int.from_bytes(data[end : end + 4]) == end - tag:  # every tag is followed by its length
                    return tag
        return None


# Where a file should end


def _another_behind(path: Path, kind: str) -> int | None:
    """Where a second recording begins in a file whose container is for one, as `cat` makes it."""
    parts, first = {"mov,mp4,m4a,3gp,3g2,mj2": (_boxes, b"ftyp"), "asf": (_asf_objects, _ASF_HEADER)}.get(
        kind, (None, b"")
    )
    if parts is None:
        return None
    begins, at = [], 0
    with path.open("rb") as file:
        for part, end in parts(file, path.stat().st_size):
            begins += [at] * (part == first)
            at = end
    return begins[1] if len(begins) > 1 else None


def _zeros_behind(file: BinaryIO, size: int) -> int:
    """How many zeros a file ends in: room that a recorder had set aside."""
    begin = size
    while begin > 0:
        end, begin = begin, max(0, begin - (1 << 16))
        file.seek(begin)
        if content := file.read(end - begin).rstrip(b"\0"):
            return size - begin - len(content)
    return size


def _ends_in_zeros(path: Path) -> bool:
    with path.open("rb") as file:
        return _zeros_behind(file, path.stat().st_size) >= 4096


def _ends_early(path: Path, kind: str) -> bool | None:
    """Whether a file's bytes end before what it holds does; None where it does not say."""
    check = _ENDS.get(kind)
    if check is None:
        return None
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            return check(file, size)
        except (struct.error, IndexError):  # a header that is itself cut
            return True


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Type and end of each outermost box of an MP4 or QuickTime file."""
    at = 0
    for _ in range(1_000_000):
        if at + 8 > size:
            return
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
        if length < 8:  # 0: to the end
            return
        at += length
        yield kind, at


def _mov_ends_early(file: BinaryIO, size: int) -> bool:
    # Of others none has to be whole; and recorders put text behind the last, whose letters look like a long box.
    return any(end > size for kind, end in _boxes(file, size) if kind in (b"moov", b"moof", b"mdat", b"styp", b"sidx"))


def _without_index(path: Path) -> bool:
    """Whether this is an MP4 or QuickTime file without `moov`, which most recorders write last."""
    with path.open("rb") as file:
        kinds = [kind for kind, _ in _boxes(file, path.stat().st_size)]
    return bool(kinds) and kinds[0] in (b"ftyp", b"mdat", b"wide", b"free") and b"moov" not in kinds


def _avi_ends_early(file: BinaryIO, size: int) -> bool | None:
    at = 0
    while at + 12 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF" or length in (0, 0xFFFFFFFF):
            return None if at == 0 else False
        at += 8 + length + length % 2
    return at > size + 16  # writers differ in whether padding counts


_MATROSKA_PARTS = {
    0x1A45DFA3, 0x18538067, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1F43B675, 0x1C53BB6B, 0x1254C367, 0x1941A469,
    0x1043A770, 0xEC, 0xBF,
}  # fmt: skip


def _matroska_ends_early(file: BinaryIO, size: int) -> bool | None:
    def number(keep_mark: bool) -> int | None:
        """A number of variable length; None for the one that means unknown."""
        if not (first := file.read(1)[0]):
            return 0
        length = 9 - first.bit_length()
        value = first if keep_mark else first - (1 << (8 - length))
        for byte in file.read(length - 1):
            value = value << 8 | byte
        return None if not keep_mark and value == (1 << 7 * length) - 1 else value

    for _ in range(1_000_000):
        if file.tell() >= size:
            return False
        if (kind := number(True)) not in _MATROSKA_PARTS:  # damage, or what a recorder put behind the last
            return None
        length = number(False)
        if length is None and kind == 0x18538067:  # a segment written as it was recorded: look at its parts
            continue
        if length is None:
            return None
        if file.tell() + length > size:
            return True
        file.seek(length, 1)
    return None


_ASF_HEADER, _ASF_DATA = b"\x30\x26\xb2\x75", b"\x36\x26\xb2\x75"


def _asf_objects(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """The first bytes of type, and the end, of each outermost object of an ASF file."""
    at = 0
    while at + 24 <= size:
        file.seek(at)
        kind, length = struct.unpack("<4s12xQ", file.read(24))
        if length < 24:  # unknown: it was sent as it was made
            return
        at += length
        yield kind, at


def _asf_ends_early(file: BinaryIO, size: int) -> bool | None:
    ends = dict(_asf_objects(file, size))
    if not ends:
        return True
    # An index behind the frames need not be whole; and recorders put text there, which looks like a long object.
    return ends[_ASF_DATA] > size if _ASF_DATA in ends else None


def _mxf_ends_early(file: BinaryIO, size: int) -> bool | None:
    start = file.read(4096)
    at = start.find(b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02")  # of the header's partition pack
    if at < 0:
        return None
    length = start[at + 16]
    value = at + 17 + (length & 0x7F if length & 0x80 else 0)
    (footer,) = struct.unpack(">Q", start[value + 24 : value + 32])
    return footer >= size if footer else None


def _gif_ends_early(file: BinaryIO, size: int) -> bool | None:
    def skip_colours(flags: int) -> None:
        file.seek(3 << (flags & 7) + 1 if flags & 0x80 else 0, 1)

    skip_colours(file.read(13)[10])
    while (kind := file.read(1)) in (b"\x21", b"\x2c"):
        if kind == b"\x2c":
            skip_colours(file.read(9)[8])
        file.seek(1, 1)
        while length := file.read(1)[0]:
            file.seek(length, 1)
    return {b"": True, b"\0": True, b"\x3b": False}.get(kind)  # zeros: room that was set aside


def _ts_ends_early(file: BinaryIO, size: int) -> bool | None:
    start = file.read(1024)
    for length, sync in ((188, 0), (192, 4), (204, 0)):
        if all(start[sync + n * length : sync + n * length + 1] == b"\x47" for n in range(4)):
            file.seek(size - size % length + sync)
            return True if file.read(1) == b"\x47" else None  # else it is no packet: room set aside, or text
    return None


def _ps_ends_early(file: BinaryIO, size: int) -> bool | None:
    file.seek(max(0, size - (1 << 17)))
    base, tail = file.tell(), file.read()
    packs = [match.start() for match in re.finditer(rb"\x00\x00\x01[\xbb-\xfe]", tail)]  # a packet has 64 KiB at most
    if not packs or packs[-1] + 6 > len(tail):
        return None
    return True if base + packs[-1] + 6 + int.from_bytes(tail[packs[-1] + 4 : packs[-1] + 6]) > size else None


def _ogg_ends_early(file: BinaryIO, size: int) -> bool | None:
    file.seek(max(0, size - (1 << 17)))
    base, tail = file.tell(), file.read()
    page = tail.rfind(b"OggS\0")  # of 64 KiB at most
    if page < 0:
        return None
    lengths = tail[page + 27 : page + 27 + tail[page + 26]]
    return base + page + 27 + tail[page + 26] + sum(lengths) > size


def _mjpeg_ends_early(file: BinaryIO, size: int) -> bool:
    end = size - _zeros_behind(file, size)
    file.seek(max(0, end - 4096))
    tail = file.read(min(end, 4096))  # behind the last picture may be what divided it from the next where it was sent
    return tail.rfind(b"\xff\xd9") <= tail.rfind(b"\xff\xd8")


def _ivf_ends_early(file: BinaryIO, size: int) -> bool:
    (at,) = struct.unpack("<6xH", file.read(8))
    while at + 12 <= size:
        file.seek(at)
        at += 12 + int.from_bytes(file.read(4), "little")
    return at != size


def _y4m_ends_early(file: BinaryIO, size: int) -> bool | None:
    """All frames are as long as the first, behind a line that begins each."""
    header, line = file.readline(1 << 12), file.readline(1 << 12)
    kind = re.search(rb" C(420|411|422|444|mono)(alpha)?", header + b" C420")
    sides = [re.search(rb" %b([0-9]+)" % name, header) for name in (b"W", b"H")]
    if kind is None or not all(sides) or b" Im" in header or not line.startswith(b"FRAME"):
        return None  # Im: lines differ in length
    width, height = (int(side[1]) for side in sides if side)
    across, down = {b"420": (2, 2), b"411": (4, 1), b"422": (2, 1)}.get(kind[1], (1, 1))
    colour = 0 if kind[1] == b"mono" else 2 * -(-width // across) * -(-height // down)
    values = width * height * (2 if kind[2] else 1) + colour
    wide = re.search(rb" C\w*?(p|mono)(9|1[0-9])[ \n]", header)  # bits of a value
    return (size - len(header)) % (len(line) + values * (2 if wide else 1)) > 0


def _dv_ends_early(file: BinaryIO, size: int) -> bool:
    """Frames are 10 sequences of 12,000 bytes, 12 where a bit says so; or twice, or four times that."""
    return size % (12_000 * (12 if file.read(4)[3] & 0x80 else 10)) > 0


_ENDS = {
    "mov,mp4,m4a,3gp,3g2,mj2": _mov_ends_early,
    "avi": _avi_ends_early,
    "matroska,webm": _matroska_ends_early,
    "asf": _asf_ends_early,
    "mxf": _mxf_ends_early,
    "gif": _gif_ends_early,
    "mpegts": _ts_ends_early,
    "mpeg": _ps_ends_early,
    "ogg": _ogg_ends_early,
    "mjpeg": _mjpeg_ends_early,
    "ivf": _ivf_ends_early,
    "yuv4mpegpipe": _y4m_ends_early,
    "dv": _dv_ends_early,
}
