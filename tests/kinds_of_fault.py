"""Instances of the kinds of fault that there once were.

Each of FOOTAGE fills a folder: footage that is healthy but odd, out of time, partly bad, of many endings and names.
Commands have to make these clips, of so many frames, of it, and to end with a code. `python -m tests.kinds_of_fault
FOLDER` leaves all of it there, to be tried by hand.

Each of TROUBLES is healthy footage in bad surroundings, or on a system that lacks something: `python -m
tests.kinds_of_fault FOLDER --troubles` puts it through commands, and leaves what they said and made.
"""

import contextlib
import json
import os
import shutil
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests import videos

PICTURES = list(videos.pictures(8, 48, 32))


@dataclass(frozen=True)
class Case:
    """An instance of a kind of fault."""

    kind: int
    name: str
    make: Callable[[Path], object]
    clips: dict[str, int]  # frames of each, by its name; by the beginning of its name where that has a mark
    code: int = 0
    says: tuple[str, ...] = ()
    times: list[float] = field(default_factory=list)  # of the first clip's frames, where they are not 1/25 s apart


def write(path: Path, **how) -> Path:
    return videos.write(path, **{"frames": PICTURES, **how})


def make(folder: Path, kind: str, name: str = "", **how) -> Path:
    path = videos.make(folder, kind, frames=PICTURES, **how)
    return path.rename(folder / name) if name else path


def behind(folder: Path, kind: str, content: bytes) -> None:
    with make(folder, kind, f"a.{kind}").open("ab") as file:
        file.write(content)


def again(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def with_sound_first(path: Path, seconds: float = 3.0) -> None:
    """Sound from the beginning, pictures from later on."""
    with av.open(str(path), "w") as file:
        sound, film = file.add_stream("aac", rate=8000), file.add_stream("libx264", rate=25)
        film.width, film.height, film.pix_fmt = 48, 32, "yuv420p"
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 32_000), np.int16), format="s16", layout="mono")
        silence.sample_rate = 8000
        file.mux(sound.encode(silence))
        for number, picture in enumerate(PICTURES):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number + round(25 * seconds), Fraction(1, 25)
            file.mux(film.encode(frame))
        file.mux([*sound.encode(), *film.encode()])


def remuxed(path: Path, times: list[int], base: Fraction, kind: str) -> None:
    """The pictures at these times, whatever they are."""
    source = write(path.with_suffix(".source"), container="mp4")
    with av.open(str(source)) as film, av.open(str(path), "w", format=kind) as file:
        stream = file.add_stream_from_template(film.streams.video[0])
        for time, packet in zip(times, (p for p in film.demux(video=0) if p.size), strict=True):
            packet.time_base, packet.pts, packet.dts, packet.stream = base, time, time, stream
            file.mux(packet)
    source.unlink()


def flv_clock(path: Path, begin: int, bits: int) -> None:
    """Have the clock of an FLV file run over its bits."""
    data, at = bytearray(write(path).read_bytes()), 13
    while at + 11 <= len(data):
        length, kind = int.from_bytes(data[at + 1 : at + 4]), data[at]
        if kind == 9:
            time = (int.from_bytes(data[at + 4 : at + 7]) + begin) % 2**bits
            data[at + 4 : at + 8] = (time & 0xFFFFFF).to_bytes(3) + bytes([time >> 24])
        at += 11 + length + 4
    path.write_bytes(data)


def claims_an_hour(path: Path) -> None:
    data = bytearray(write(path, options={"movflags": "frag_keyframe+empty_moov"}).read_bytes())
    for name in (b"mvhd", b"mdhd"):
        at = data.index(name) + 16
        data[at + 4 : at + 8] = struct.pack(">I", 3600 * struct.unpack(">I", data[at : at + 4])[0])
    path.write_bytes(data)


def shots(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(PICTURES[number % len(PICTURES)]).save(folder / name)


def good(folder: Path, *names: "str | bytes") -> None:
    source = write(folder.parent / "good.source", container="mp4")
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)


def together(*steps: Callable[[Path], object]) -> Callable[[Path], None]:
    def each(folder: Path) -> None:
        for step in steps:
            step(folder)

    return each


def beside(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """This, and a good clip behind it."""
    return together(make, lambda f: good(f, "z.mp4"))


def pages(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = map(Image.fromarray, PICTURES[:5])
    first.save(path, save_all=True, append_images=others)


def two_videos(path: Path) -> None:
    with av.open(str(path), "w") as file:
        streams = [file.add_stream("libx264", rate=25) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for picture in PICTURES:
            for stream in streams:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for stream in streams:
            file.mux(stream.encode())


def another_size(path: Path) -> None:
    """A stream that changes its size, and changes back."""
    large = [picture.repeat(2, 0).repeat(2, 1) for picture in PICTURES]
    parts = [write(path.with_suffix(".part"), container="mpegts", frames=f).read_bytes() for f in (PICTURES, large)]
    path.with_suffix(".part").unlink()
    path.write_bytes(parts[0] + parts[1] + parts[0])


def spoiled_shots(folder: Path) -> None:
    shots(folder, *(f"{n:03d}.png" for n in range(8)))
    (folder / "003.png").write_bytes(b"")
    Image.new("I;16", (48, 32)).save(folder / "004.png")
    Image.new("CMYK", (48, 32)).save(folder / "005.jpg")
    (folder / "005.png").unlink()


TEXT = b"a recorder's own: 52.1,13.2 2026-01-01 08:00:00\n" * 50
TICK, MS = Fraction(1, 90_000), Fraction(1, 1000)

FOOTAGE = [
    # 1: healthy, whatever a header says or what lies behind the end
    Case(1, "MP4, a recorder's text behind the end", lambda f: behind(f, "mp4", TEXT), {"a": 8}),
    Case(1, "MKV, room set aside behind the end", lambda f: behind(f, "mkv", bytes(100_001)), {"a": 8}),
    Case(1, "TS, room set aside behind the end", lambda f: behind(f, "ts", bytes(100_001)), {"a": 8}),
    Case(1, "MJPEG, the boundary it was sent with", lambda f: behind(f, "mjpeg", b"\r\n--boundary--\r\n"), {"a": 8}),
    Case(1, "MP4 in fragments that claims an hour", lambda f: claims_an_hour(f / "a.mp4"), {"a": 8}),
    Case(1, "MP4, sound 3 s before the first picture", lambda f: with_sound_first(f / "a.mp4"), {"a": 8}),
    Case(1, "WebM, a segment from a day on", lambda f: videos.late(f / "a.webm", 86_400, "libvpx", count=8), {"a": 8}),
    Case(1, "MKV of a live stream, without lengths", lambda f: write(f / "a.mkv", options={"live": "1"}), {"a": 8}),
    # 2: times
    Case(2, "TS whose clock runs over 33 bits", lambda f: remuxed(
        f / "a.ts", [(2**33 - 4 * 3600 + n * 3600) for n in range(8)], TICK, "mpegts"), {"a": 8}),
    Case(2, "TS whose clock is set back by an hour", lambda f: (f / "a.ts").write_bytes(b"".join(
        videos.late(f / "a.ts", at, count=8).read_bytes() for at in (7200, 3600))), {"a": 16}),
    Case(2, "MKV whose clock is set from 1970", lambda f: remuxed(
        f / "a.mkv", [40 * n + 1_760_000_000_000 * (n > 3) for n in range(8)], MS, "matroska"), {"a": 8}),
    Case(2, "FLV whose clock runs over 24 bits", lambda f: flv_clock(f / "a.flv", 2**24 - 100, 24), {"a": 8}),
    Case(2, "MPEG program streams joined by `cat`", lambda f: again(
        write(f / "a.mpg", codec="mpeg2video", frames=list(videos.pictures(30, 48, 32)))), {"a": 60}),
    Case(2, "MP4 of a changing rate", lambda f: write(f / "a.mp4", shown=[0, 1, 2, 3, 53, 54, 104, 105]), {"a": 8},
         times=[0, 0.04, 0.08, 0.12, 2.12, 2.16, 4.16, 4.2]),
    # 3: one bad item
    Case(3, "pipes, devices and links to nothing", beside(lambda f: (
        os.mkfifo(f / "1.mp4"), (f / "2.mkv").symlink_to("/dev/zero"), (f / "3.avi").symlink_to("3.avi"))),
        {"z": 8}, 3, ("1.mp4: is a pipe", "2.mkv: is a pipe", "3.avi: not found")),
    Case(3, "MP4 of which each packet is noise", beside(
        lambda f: videos.damaged(write(f / "a.mp4"), *range(8), size=10**6)), {"z": 8}, 3, ("left out: clip a",)),
    Case(3, "the first packet of a file damaged", beside(
        lambda f: videos.damaged(write(f / "a.avi", codec="mjpeg", pixels="yuvj420p"), 0, size=10**6)),
        {"a": 7, "z": 8}, 3, ("1 frame (0.04 s) left out: clip a: frame 0",)),
    Case(3, "TS that changes its size and changes back", beside(lambda f: another_size(f / "a.ts")),
         {"a": 16, "z": 8}, 3, ("8 frames (0.32 s) left out: clip a: frame 8",)),
    Case(3, "snapshots: an empty one, 16 bits, CMYK", beside(lambda f: spoiled_shots(f / "s")),
         {"s": 6, "z": 8}, 3, ("2 frames (0.08 s) left out: clip s: frame 3",)),
    Case(3, "error pages and bare beginnings", beside(lambda f: [
        (f / name).write_bytes(content) for name, content in {
            "a.mp4": b"<html>404</html>", "b.avi": b"RIFF\0\0\0\0AVI ", "c.mkv": b"\x1aE\xdf\xa3", "d.ts": b"\x47",
        }.items()]), {"z": 8}, 3, ("a.mp4", "b.avi", "c.mkv", "d.ts")),
    # 4: passed over in silence
    Case(4, ".vob, .m2v, .3g2, .divx, .tp, .asf, .264, .bin", lambda f: [
        make(f, kind, f"{ending}.{ending}") for ending, kind in {
            "vob": "mpg", "m2v": "mpg", "3g2": "3gp", "divx": "avi", "tp": "ts", "asf": "wmv", "264": "h264",
            "bin": "ts"}.items()], dict.fromkeys(("vob", "m2v", "3g2", "divx", "tp", "asf", "264", "bin"), 8)),
    Case(4, ".ivf, .y4m, and neither by its name", lambda f: [
        make(f, kind, name) for kind, name in (("ivf", "c"), ("ivf", "a.ivf"), ("y4m", "d.raw"), ("y4m", "b.y4m"))],
        dict.fromkeys("abcd", 8)),
    Case(4, "unfinished downloads and backups", lambda f: good(f, "a.mp4.part", "b.crdownload", "c.avi~", "D.MP4"),
         {"a.mp4": 8, "b": 8, "c": 8, "D": 8}),
    Case(4, "a second MP4 behind the first", lambda f: again(write(f / "a.mp4")), {"a": 8}, 3,
         ("another recording begins at byte",)),
    Case(4, "TIFF of five pictures", lambda f: pages(f / "s/1.tif"), {"s": 1}, 3, ("the first of 5 pictures",)),
    Case(4, "animated WebP of five pictures", lambda f: pages(f / "s/1.webp"), {"s": 1}, 3, ("first of 5 pictures",)),
    Case(4, "two videos in one file", lambda f: two_videos(f / "a.mkv"), {"a": 8}, 0, ("holds 2 videos",)),
    Case(4, "live photos: a picture beside each video", together(
        lambda f: good(f, "1.MOV", "2.MOV"), lambda f: shots(f, "1.JPG", "2.JPG")), {"1": 8, "2": 8}, 3,
        ("2 images beside videos",)),
    # 5: names and order
    Case(5, "screenshots of a Mac, by halves of a day", lambda f: shots(
        f / "s", *(f"Screenshot 2026-01-01 at {t}\u202fM.png".replace("\u202fM", "M").replace(" A", "\u202fA").replace(
            " P", "\u202fP") for t in ("1.05.09 P", "11.59.58 A", "12.00.00 P"))), {"s": 3}, times=[0, 2, 3911]),
    Case(5, "snapshots of Frigate", lambda f: shots(
        f / "s", *(f"front-{t}-ab{t[-1]}x.png" for t in ("1767254400.5", "1767254401.25", "1767254410.75"))),
        {"s": 3}, times=[0, 0.75, 10.25]),
    Case(5, "epoch in microseconds", lambda f: shots(
        f / "s", *(f"{1767254400000000 + 500_000 * n}.png" for n in range(4))), {"s": 4}, times=[0, 0.5, 1, 1.5]),
    Case(5, "the hour that comes twice, by its zone", lambda f: shots(
        f / "s", "2026-10-25T02-59-58+0200.png", "2026-10-25T02-00-00+0100.png"), {"s": 2}, times=[0, 2]),
    Case(5, "a clock in single digits", lambda f: shots(
        f / "s", *(f"2026-1-1 {t}.png" for t in ("8-59-58", "9-0-0", "10-0-1"))), {"s": 3}, times=[0, 2, 3603]),
    Case(5, "dates, hours and cameras, of Frigate", lambda f: good(
        f, *(f"2026-01-{d}/{h}/front/02.10.mp4" for d in ("02", "10") for h in (8, 10))),
        {f"2026-01-{d}/{h}/front/02.10": 8 for d in ("02", "10") for h in (8, 10)}),
    # 7: systems of other rules
    Case(7, "names that are one where case and accents are ignored", lambda f: good(
        f, "Cam.mp4", "cam.mp4", "\u00e9.mp4", "e\u0301.mp4"), {
            "Cam.mp4": 8, "cam": 8, "\u00e9": 8, "e\u0301.mp4": 8}),
    # 9: names
    Case(9, "emoji, right to left, joiners", lambda f: good(f, "😀 a.mp4", "\u0627\u0644.mp4", "\u202eexe.mp4"),
         {"😀 a": 8, "\u0627\u0644": 8, "_exe-": 8}),
    Case(9, "patterns, protocols, options and shells", lambda f: good(
        f, "img%03d.mp4", "concat:a|b.mp4", "-rf.mp4", "$HOME;`id`&.mp4"),
        {"img%03d": 8, "concat_a_b-": 8, "-rf": 8, "$HOME;`id`&": 8}),
    Case(9, "HTML and formulas", lambda f: good(f, "<script>alert(1)<b>.mp4", "=cmd.mp4"),
         {"_script_alert(1)_b_-": 8, "=cmd": 8}),
    Case(9, "dots and spaces at the end, devices of DOS", lambda f: good(f, "dots....mp4", "end .mp4", "LPT9.mp4"),
         {"dots-": 8, "end-": 8, "_LPT9-": 8}),
    Case(9, "200 bytes of letters with accents; half a letter", lambda f: good(f, "é" * 100 + ".mp4", b"a\xc3.mp4"),
         {"é" * 50: 8, "a_-": 8}),
]  # fmt: skip


# 6 and 7: footage that is healthy, in surroundings that are not


@dataclass(frozen=True)
class Trouble:
    """What is done to a folder with clips in `in`, a `model` and settings, and then to the process of a command."""

    kind: int
    name: str
    code: int
    says: tuple[str, ...]  # on either stream
    prepare: Callable[[Path], object] = lambda folder: None
    surround: Callable[[Path], object] = lambda folder: None
    command: tuple[str, ...] = ("score", "in", "--model", "model", "--output", "out")
    clips: tuple[str, ...] = ("0", "1", "2")  # whose tables are whole, with 8 rows


TRAIN = ("train", "in", "--output", "new", "--settings", "s.yaml", "--workers", "1")


def hidden(*names: str) -> Callable[[Path], None]:
    """Whoever is not root may not read these. Root may: it becomes `nobody`."""
    return lambda folder: [(folder / name).chmod(0) for name in names] and None


def nobody(folder: Path) -> None:
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink() and path.stat().st_mode & 0o200:
                os.chown(path, 65534, 65534)
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)


def silent(*names: str) -> Callable[[Path], None]:
    """Reading these fails with an input/output error, as of a drive that is gone."""

    def put(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to("/proc/self/mem")

    return put


def limited(what: str, most: int, more: bool = False) -> Callable[[Path], None]:
    """Of a resource no more than so much; or so much more than there already is of memory."""

    def limit(folder: Path) -> None:
        import resource

        of_now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if more else 0
        resource.setrlimit(getattr(resource, f"RLIMIT_{what}"), (most + of_now, most + of_now))

    return limit


def without_its_folder(folder: Path) -> None:
    (folder / "gone").mkdir()
    os.chdir(folder / "gone")
    (folder / "gone").rmdir()


def into_nothing(stream: int) -> Callable[[Path], None]:
    return lambda folder: os.dup2(os.open("/dev/full", os.O_WRONLY), stream) and None


def many(folder: Path) -> None:
    for number in range(45):
        shutil.copyfile(folder / "in/0.mp4", folder / f"in/more-{number}.mp4")


def as_windows(folder: Path) -> None:
    """The rules of Windows: an open file is not renamed, replaced or removed, and only what may be written to is
    flushed; and what Python lacks there."""
    import builtins
    import fcntl

    really, lacking = builtins.__import__, {"fcntl", "resource", "pwd", "grp", "termios", "syslog", "readline"}

    def imported(name, globals=None, *more, **named):
        if name in lacking and (globals or {}).get("__name__", "").startswith("vadlib"):
            raise ModuleNotFoundError(name)
        return really(name, globals, *more, **named)

    def is_open(path) -> bool:
        links = [Path(fd.path) for fd in os.scandir("/proc/self/fd")]
        return any(link.exists() and os.path.realpath(link) == os.path.realpath(path) for link in links)

    def refusing(function):
        def call(*paths, **named):
            for path in paths:
                if isinstance(path, (str, Path)) and is_open(path):
                    raise PermissionError(13, "The process cannot access the file: it is open", str(path))
            return function(*paths, **named)

        return call

    def fsync(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")

    builtins.__import__ = imported
    for module in [name for name in sys.modules if name in lacking]:
        sys.modules.pop(module)
    for name in ("rename", "replace", "unlink", "remove"):
        setattr(os, name, refusing(getattr(os, name)))
    os.fsync = fsync
    shutil._use_fd_functions = False
    for name in ("O_NOFOLLOW", "geteuid", "getuid", "uname", "statvfs", "mkfifo", "killpg", "getpgid"):
        if hasattr(os, name):
            delattr(os, name)


def in_ascii(folder: Path) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="ascii", errors="strict" if stream is sys.stdout else "backslashreplace")


def of_notepad(folder: Path) -> None:
    text = (folder / "s.yaml").read_text().replace("\n", "\r\n")
    (folder / "s.yaml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (folder / "m.json").write_bytes(b'\xef\xbb\xbf{"ignore":\r\n[[[0, 0], [0.1, 0], [0, 0.1]]]}\r\n')


TROUBLES = [
    Trouble(6, "more clips than there are file handles", 0, ("50 clips, 400 frames",), many, limited("NOFILE", 48)),
    Trouble(6, "a clip that may not be read", 3, ("1.mp4: may not be read or written; give yourself the right",),
            hidden("in/1.mp4"), nobody, clips=("0", "2")),
    Trouble(6, "a folder that may not be looked into", 3, ("in/more: may not be read", "1 clips left out"),
            lambda f: (shutil.copytree(f / "in", f / "in/more"), hidden("in/more")(f)), nobody),
    Trouble(6, "a model that may not be read", 1, ("raw.safetensors: may not be read",),
            hidden("model/raw.safetensors"), nobody, clips=()),
    Trouble(6, "an output that may not be written to", 1, ("cannot be written to; name another place",),
            lambda f: ((f / "out").mkdir(), (f / "out").chmod(0o555)), nobody, clips=()),
    Trouble(6, "a drive that does not answer: a clip", 3, ("1.mp4: the drive it is on does not answer",),
            silent("in/1.mp4"), clips=("0", "2")),
    Trouble(6, "a drive that does not answer: a clip to learn from", 3, ("3.mp4: the drive it is on does not answer",),
            silent("in/3.mp4"), command=TRAIN, clips=()),
    Trouble(6, "a drive that does not answer: settings", 1, ("s.yaml: cannot be read: Input/output error",),
            silent("s.yaml"), command=TRAIN, clips=()),
    Trouble(6, "a drive that does not answer: a mask", 1, ("m.png: the drive it is on does not answer",),
            silent("m.png"), command=(*Trouble.command, "--mask", "m.png"), clips=()),
    Trouble(6, "a drive that takes no large files, scoring", 1, ("takes no file as large as this",),
            surround=limited("FSIZE", 20_000), clips=()),
    Trouble(6, "a drive that takes no large files, learning", 1, ("takes no file as large as this",),
            surround=limited("FSIZE", 20_000), command=TRAIN, clips=()),
    Trouble(6, "no memory left", 1, ("memory", "close other programs"),
            lambda f: write(f / "in/0.mp4", frames=list(videos.pictures(8, 1280, 960))),
            limited("AS", 12 << 20, more=True), clips=()),
    Trouble(6, "a current folder that is gone", 1, ("the current folder is no longer there",),
            surround=without_its_folder, clips=()),
    Trouble(6, "nobody takes what it prints", 1, ("standard output cannot be written to", "5 clips, 40 frames"),
            surround=into_nothing(1)),
    Trouble(6, "nobody takes what it says of a bad clip", 3, ("5 clips, 40 frames",),
            lambda f: (f / "in/bad.mp4").write_text("hello"), into_nothing(2)),
    Trouble(7, "the rules of Windows, scoring", 0, ("5 clips, 40 frames",), surround=as_windows),
    Trouble(7, "the rules of Windows, learning", 0, ("5 clips, ",), surround=as_windows, command=TRAIN, clips=()),
    Trouble(7, "settings and a mask as Notepad saves them", 0, ("5 clips, ",), of_notepad,
            command=(*TRAIN, "--mask", "m.json"), clips=()),
    Trouble(7, "a console that has ASCII alone", 0, ("\\xfc\\U0001f600.mp4", "1 clips, 8 frames"),
            lambda f: shutil.copyfile(f / "in/0.mp4", f / "\u00fc\U0001f600.mp4"), in_ascii,
            ("score", "\u00fc\U0001f600.mp4", *Trouble.command[2:]), ("",)),
]  # fmt: skip


def in_trouble(trouble: Trouble, base: Path, folder: Path) -> dict[str, object]:
    """Run a command in a process of its own, which is forked, and so has all in memory that it needs."""
    from vadlib.cli.main import app

    shutil.copytree(base, folder)
    folder.chmod(0o777)
    trouble.prepare(folder)
    if (child := os.fork()) == 0:
        code = 99
        try:
            os.chdir(folder)
            said = os.open("said", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
            os.dup2(said, 1)
            os.dup2(said, 2)
            trouble.surround(folder)
            code = app(list(trouble.command), standalone_mode=False) or 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    rows = {}
    for table in (folder / "out").rglob("frames.csv"):
        rows[table.parent.relative_to(folder / "out").as_posix().removeprefix(".")] = len(table.open().readlines()) - 1
    said = (folder / "said").read_text(encoding="utf-8", errors="replace")
    return {"code": os.waitstatus_to_exitcode(status), "said": said, "rows": rows}


def in_all_troubles(folder: Path) -> dict[str, dict[str, object]]:
    """What became of each of TROUBLES, by its name; of this process, which has to be no other's, much is in memory."""
    from tests import layouts
    from tests.projects import MINI, MOTION
    from vadlib.cli.main import app

    base = folder / "base"
    for number, pictures in enumerate(layouts.draw().frames.values()):
        layouts.write_video(base / f"in/{number}.mp4", pictures[:8])
    used = {name: group for name, group in {**MINI, "detector": MOTION}.items() if name != "source"}
    (base / "s.yaml").write_text(json.dumps({**used, "training": {**MINI["training"], "epochs": 1}}))
    with contextlib.chdir(base), Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing):
        for command in ((*TRAIN[:3], "model", *TRAIN[4:]), Trouble.command):
            assert not app(list(command), standalone_mode=False)
        shutil.rmtree("out")
    return {t.name: in_trouble(t, base, folder / f"{n:02d}" / "x") for n, t in enumerate(TROUBLES)}


def main() -> None:
    if "--troubles" in sys.argv:
        print(json.dumps(in_all_troubles(Path(sys.argv[1]).resolve()), indent=2))
        return
    for number, case in enumerate(FOOTAGE):
        folder = Path(sys.argv[1]) / f"{case.kind}-{number:02d}" / "in"
        folder.mkdir(parents=True)
        case.make(folder)
        print(folder, case.name)


if __name__ == "__main__":
    main()
