"""Malformed inputs for every reader: `python -m tests.corpus`; `--fuzz 60` goes on at random, for so many seconds.

Each reader has a healthy file; each of DAMAGES makes a malformed one of it, the same each time. ODD are whole files of
other content than is expected. A reader has to give
what it can, or its one clear line (VadError), in bounded time and memory, and to leave its folder as it was.
"""

import argparse
import json
import random
import resource
import signal
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests import layouts, videos
from vadlib.errors import VadError

SECONDS = 20  # at most for one input
MIB = 500  # at most that one input may add to the peak of memory

Damage = Callable[[bytes, random.Random], bytes]


def _flipped(share: float) -> Damage:
    def flip(data: bytes, chance: random.Random) -> bytes:
        changed = bytearray(data)
        for _ in range(max(1, round(share * len(data)))):
            if changed:
                changed[chance.randrange(len(changed))] = chance.randrange(256)
        return bytes(changed)

    return flip


def _in_header(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for at in range(8, min(len(data), 128)):
        if chance.random() < 0.2:
            changed[at] = chance.randrange(256)
    return bytes(changed)


def _huge_numbers(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(4):
        at = chance.randrange(max(1, min(len(changed), 512)))
        changed[at : at + 4] = b"\x7f\xff\xff\xff"
    return bytes(changed)


def _twice(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(max(1, len(data)))
    return data[:at] + data


def _hole(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(max(1, len(data)))
    return data[:at] + bytes(min(512, len(data) - at)) + data[at + 512 :]


def _cut_out(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(max(1, len(data)))
    return data[:at] + data[at + 64 :]


DAMAGES: dict[str, Damage] = {
    "empty": lambda data, chance: b"",
    "one byte": lambda data, chance: data[:1],
    "header alone": lambda data, chance: data[:64],
    "a half": lambda data, chance: data[: len(data) // 2],
    "without its end": lambda data, chance: data[:-7],
    "noise": lambda data, chance: chance.randbytes(2048),
    "zeros": lambda data, chance: bytes(len(data)),
    "text": lambda data, chance: b"clip,frame\n" * 20,
    "a byte flipped": _flipped(0),
    "flipped here and there": _flipped(0.002),
    "flipped all over": _flipped(0.1),
    "header changed": _in_header,
    "huge numbers": _huge_numbers,
    "begins again": _twice,
    "a hole of zeros": _hole,
    "a part cut out": _cut_out,
}


class Reader:
    """A reader: how its healthy file is made, and how it is read."""

    def __init__(self, name: str, suffix: str, make: Callable[[Path], Any], read: Callable[[Path], Any]) -> None:
        self.name, self.suffix, self.make, self.read = name, suffix, make, read


def _readers() -> list[Reader]:
    from vadlib.authors import import_checkpoint
    from vadlib.boxes.kinds import imported
    from vadlib.clips import read_footage
    from vadlib.cubes.shards import CubeSet, Shard, ShardWriter
    from vadlib.datasets.regions import read_regions
    from vadlib.datasets.videos import _read_ranges
    from vadlib.errors import Losses
    from vadlib.fetch import _unpack
    from vadlib.flow.kinds import imported as fields
    from vadlib.flow.storage import FlowWriter, read_flow
    from vadlib.footage.scene import read_mask
    from vadlib.io.arrays import load_arrays, save_arrays
    from vadlib.io.files import read_json, write_json
    from vadlib.io.matlab import read_cells
    from vadlib.io.npy import read_array, read_object_array
    from vadlib.io.tables import read_metadata, read_table, write_table
    from vadlib.manifest import Clip, Manifest, load_manifest, save_manifest
    from vadlib.models.checkpoint import load_model, save_model
    from vadlib.models.registry import build_model
    from vadlib.settings import load_group, load_params

    def video(path: Path, **how: Any) -> None:
        videos.write(path, frames=list(videos.pictures(12, 64, 48)), **how)

    def footage(path: Path) -> int:
        return sum(1 for _ in read_footage(path, "clip", 25, Losses()))

    def image(path: Path) -> None:
        import cv2

        cv2.imwrite(str(path), next(iter(videos.pictures(1, 64, 48))))

    def objects(path: Path) -> None:
        rows = np.empty(3, object)
        rows[:] = [np.zeros((n, 4)) for n in range(3)]
        np.save(path, rows, allow_pickle=True)

    def shard(path: Path) -> None:
        with ShardWriter(path, "raw", 3, 8) as writer:
            writer.add(0, np.zeros((2, 4)), np.zeros((2, 3, 8, 8, 3), np.uint8))

    def cubes(path: Path) -> list[Any]:
        found = CubeSet([(Shard(path, "`dvc repro`"), None)])
        return [found.digest, list(found.in_order(8))]

    def flow(path: Path) -> None:
        with FlowWriter(path, 2, 24, 32, {}) as writer:
            for _ in range(2):
                writer.append(np.ones((24, 32, 2), np.float32))

    def network(path: Path) -> None:
        from tests.projects import settings

        model = settings().model
        save_model(path, build_model(model, "raw", 5), model, "raw", 5)

    def table(path: Path) -> None:
        import pandas as pd

        write_table(path, [pd.DataFrame({"clip": ["a", "b"], "x": [0.5, 1.0]})], {"weights": "x"})

    def cells(path: Path) -> None:
        from scipy.io import savemat

        cell = np.empty((1, 2), object)
        cell[:] = [[np.eye(4), np.ones((3, 3))]]
        savemat(path, {"gt": cell})

    def unpacked(path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name  # which a refusal removes
            copy.write_bytes(path.read_bytes())
            _unpack(copy, {"Mini": ""}, Path(folder) / "out")

    def tar(path: Path) -> None:
        with tarfile.open(path, "w:gz") as archive:
            archive.add(__file__, "Mini/clips/a.txt")

    def packed(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(__file__, "Mini/clips/a.txt")

    def torch_state(path: Path) -> None:
        import torch

        torch.save({"a": torch.zeros(3)}, path)

    def boxes(path: Path) -> Any:
        read = {".csv": imported._read_csv, ".json": imported._read_coco, ".npy": imported._read_npy}[path.suffix]
        return [imported._check(path, clip, rows) for rows in read(path, [clip]).values()]

    def field(path: Path) -> Any:
        return fields._read(path, str(path))

    def kitti(path: Path) -> None:
        import cv2

        cv2.imwrite(str(path), np.full((24, 32, 3), 2**15, np.uint16))

    def flo(path: Path) -> None:
        path.write_bytes(b"PIEH" + np.array([32, 24], "<i4").tobytes() + np.zeros((24, 32, 2), "<f4").tobytes())

    root = Path(__file__).resolve().parents[1]
    clip = Clip("a", "testing", "a.mp4", 2, 8, 8)
    return [
        Reader("video mp4", ".mp4", video, footage),
        Reader("video avi", ".avi", lambda p: video(p, codec="mpeg4"), footage),
        Reader("video mkv", ".mkv", video, footage),
        Reader("image png", ".png", image, lambda p: sum(1 for _ in read_footage(iter([p]), "clip", 25, Losses()))),
        Reader("image jpg", ".jpg", image, lambda p: sum(1 for _ in read_footage(iter([p]), "clip", 25, Losses()))),
        Reader("npy of numbers", ".npy", lambda p: np.save(p, np.eye(5)), read_array),
        Reader("npy of objects", ".npy", objects, read_object_array),
        Reader("matlab 5", ".mat", cells, lambda p: list(read_cells(p, "gt"))),
        Reader(
            "matlab 7.3", ".mat", lambda p: layouts.write_cells_73(p, "gt", [np.eye(4), np.ones((3, 3))]),
            lambda p: list(read_cells(p, "gt")),
        ),
        Reader("cube shard", ".h5", shard, cubes),
        Reader("flow", ".h5", flow, lambda p: list(read_flow(p, "`dvc repro`"))),
        Reader("network", ".safetensors", network, lambda p: load_model(p, "raw", "`dvc repro`")),
        Reader("arrays", ".safetensors", lambda p: save_arrays(p, {"a": np.ones((4, 4), np.float32)}),
               lambda p: load_arrays(p, "`dvc repro`")),
        Reader("table", ".parquet", table, lambda p: (read_metadata(p, "x"), read_table(p, "x", clip="a"))),
        Reader("json", ".json", lambda p: write_json(p, {"a": [1, 2]}), lambda p: read_json(p, "x")),
        Reader("manifest", ".json", lambda p: save_manifest(Manifest("a", "videos", (clip,)), p), load_manifest),
        Reader("params", ".yaml", lambda p: p.write_bytes((root / "params.yaml").read_bytes()), load_params),
        Reader("settings of one data set", ".yaml", lambda p: p.write_text("eta: 0.002\n"), load_group),
        Reader("authors' checkpoint", ".pth", torch_state, lambda p: import_checkpoint(p, "raw")),
        Reader("labels", ".csv", lambda p: p.write_text("clip,first,last\na,0,1\n"), lambda p: _read_ranges(p, {"a"})),
        Reader("regions", ".csv", lambda p: p.write_text("clip,frame,track,x1,y1,x2,y2\na,0,1,1,1,5,5\n"),
               lambda p: list(read_regions(p, [clip]))),
        Reader("boxes csv", ".csv", lambda p: p.write_text("clip,frame,x1,y1,x2,y2\na,0,1,1,5,5\n"), boxes),
        Reader("boxes coco", ".json", lambda p: p.write_text(json.dumps({
            "images": [{"id": 1, "file_name": "a/1.png", "frame_id": 0}],
            "annotations": [{"image_id": 1, "bbox": [1, 1, 4, 4], "score": 0.5}]})), boxes),
        Reader("boxes npy", ".npy", lambda p: np.save(p, np.ones((2, 1, 4))), boxes),
        Reader("field npy", ".npy", lambda p: np.save(p, np.zeros((24, 32, 2), np.float32)), field),
        Reader("field flo", ".flo", flo, field),
        Reader("field kitti", ".png", kitti, field),
        Reader("mask picture", ".png", image, read_mask),
        Reader("mask drawn", ".json", lambda p: p.write_text('{"ignore": [[[0, 0], [0.5, 0], [0, 0.5]]]}'), read_mask),
        Reader("tar", ".tar.gz", tar, unpacked),
        Reader("zip", ".zip", packed, unpacked),
    ]  # fmt: skip


def _hdf5(fill: Callable[[Any], object]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        import h5py

        with h5py.File(path, "w") as file:
            fill(file)

    return make


def _shard_but(**changed: Any) -> Callable[[Path], None]:
    """A shard with other sets: None for one that is missing, a string for a link to another file."""
    sets = {
        "cubes": np.zeros((2, 3, 8, 8, 3), np.uint8), "frame": np.zeros(2, np.int32), "boxes": np.zeros((2, 4), "f4"),
    }  # fmt: skip

    def fill(file: Any) -> None:
        import h5py

        file.attrs["sha256"] = "0" * 64
        for name, content in {**sets, **changed}.items():
            if isinstance(content, str):
                file[name] = h5py.ExternalLink(content, name)
            elif content is not None:
                file[name] = content

    return _hdf5(fill)


def _tarred(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with tarfile.open(path, "w:gz") as archive:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            archive.addfile(member)

    return make


def _zipped(name: str, content: bytes = b"") -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)

    return make


def _tensors(**arrays: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        from safetensors.numpy import save_file

        save_file(arrays, path)

    return make


def _png(width: int, height: int) -> bytes:
    """The header of a picture of any size, and next to nothing of its content."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def _picture(mode: str, size: tuple[int, int] = (64, 48), **how: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        from PIL import Image

        Image.new(mode, size).save(path, **how)

    return make


def _film(**how: Any) -> Callable[[Path], None]:
    return lambda path: videos.write(path, **{"frames": list(videos.pictures(6, 64, 48)), **how}) and None


def _sound(path: Path) -> None:
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        file.mux([*stream.encode(frame), *stream.encode()])


def _text(content: "str | bytes") -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content.encode() if isinstance(content, str) else content) and None


def _array(content: Any, **how: Any) -> Callable[[Path], None]:
    return lambda path: np.save(path, content, **how)


_COCO = '{"images": [{"id": 1, "file_name": "a/1.png", "frame_id": %s}], "annotations": [%s]}'
_CSV, _REGIONS = "clip,frame,x1,y1,x2,y2\n", "clip,frame,track,x1,y1,x2,y2\n"

# Reader, what is odd, how it is made.
ODD: list[tuple[str, str, Callable[[Path], object]]] = [
    ("video mp4", "sound alone", _sound),
    ("video mp4", "another rate than any", _film(fps=1000)),
    ("video mkv", "one frame of 8x8", _film(codec="ffv1", frames=[np.zeros((8, 8, 3), np.uint8)])),
    ("video mkv", "wide as a hair", _film(codec="ffv1", frames=[np.zeros((1, 8000, 3), np.uint8)])),
    ("video mkv", "a length of an hour", lambda p: videos.claiming(_film()(p) or p, 90_000)),
    ("video avi", "a length of nothing", lambda p: videos.claiming(_film(codec="mpeg4")(p) or p, 0)),
    ("video avi", "a playlist", _text("#EXTM3U\n/etc/passwd\n")),
    ("video mp4", "a list of files", _text("ffconcat version 1.0\nfile /etc/passwd\n")),
    ("image png", "60,000 x 60,000", _text(_png(60_000, 60_000))),
    ("image png", "2^31 px wide", _text(_png(2**31 - 1, 1))),
    ("image png", "no pixels", _text(_png(0, 0))),
    ("image png", "16 bits", _picture("I;16")),
    ("image png", "one bit", _picture("1")),
    ("image png", "grey with alpha", _picture("LA")),
    ("image png", "animated", _picture("RGB", save_all=True, append_images=[])),
    ("image png", "8x8", _picture("RGB", (8, 8))),
    ("image jpg", "CMYK", _picture("CMYK")),
    ("image jpg", "a PNG", _text(_png(64, 48))),
    ("npy of numbers", "objects", _array(np.array([None, 1]), allow_pickle=True)),
    ("npy of numbers", "letters", _array(np.array(["a"]))),
    ("npy of numbers", "a record", _array(np.zeros(2, [("a", "f4")]))),
    ("npy of objects", "a dictionary", _array(np.array({"a": 1}, object), allow_pickle=True)),
    ("npy of objects", "a function", _array(np.array([print, None]), allow_pickle=True)),
    ("npy of objects", "one number", _array(np.float64(1))),
    ("matlab 5", "no cells", lambda p: __import__("scipy.io").io.savemat(p, {"gt": np.eye(2)})),
    ("matlab 7.3", "no cells", _hdf5(lambda f: f.create_dataset("gt", data=np.eye(2)))),
    ("matlab 7.3", "a group", _hdf5(lambda f: f.create_group("gt"))),
    ("cube shard", "no digest", _hdf5(lambda f: f.create_group("cubes"))),
    *(("cube shard", f"no {name}", _shard_but(**{name: None})) for name in ("cubes", "frame", "boxes")),
    *(("cube shard", f"{name} in another file", _shard_but(**{name: "/etc/passwd"})) for name in ("cubes", "frame")),
    ("cube shard", "text for cubes", _shard_but(cubes=np.array([b"a", b"b"]))),
    ("cube shard", "fewer frames", _shard_but(frame=np.zeros(1, np.int32))),
    ("cube shard", "a number for cubes", _shard_but(cubes=1.0)),
    ("flow", "nothing in it", _hdf5(lambda f: None)),
    ("flow", "a group", _hdf5(lambda f: f.create_group("flow"))),
    ("flow", "another shape", _hdf5(lambda f: f.create_dataset("flow", data=np.zeros(5)))),
    ("network", "nothing in it", _tensors()),
    ("network", "other arrays", _tensors(a=np.zeros((2, 2), np.float32))),
    ("table", "another table", lambda p: __import__("pandas").DataFrame({"x": [1]}).to_parquet(p)),
    ("json", "NaN", _text('{"a": NaN}')),
    ("manifest", "a path that leaves", _text('{"dataset": "a", "layout": "b", "clips": [{"name": "../x"}]}')),
    ("manifest", "a list", _text("[]")),
    ("params", "an object of Python", _text("!!python/object/apply:os.system [id]\n")),
    ("params", "names that hold each other", _text("a: &a [*a]\n")),
    ("settings of one data set", "laughs", _text(
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)))),
    ("settings of one data set", "infinity", _text("eta: .inf\n")),
    ("settings of one data set", "a list", _text("- 1\n")),
    ("labels", "frames of a clip that is not there", _text("clip,first,last\nb,0,1\n")),
    ("labels", "a number of 5,000 digits", _text(f"clip,first,last\na,0,{'9' * 5000}\n")),
    ("labels", "a quote that never ends", _text('clip,first,last\n"a,0,1\n')),
    ("labels", "digits of another script", _text("clip,first,last\na,0,\u0661\n")),
    ("regions", "a box inside out", _text(f"{_REGIONS}a,0,1,5,5,1,1\n")),
    ("regions", "infinity", _text(f"{_REGIONS}a,0,1,1,1,inf,5\n")),
    ("regions", "a frame too many", _text(f"{_REGIONS}a,99,1,1,1,5,5\n")),
    ("boxes csv", "a box inside out", _text(f"{_CSV}a,0,5,5,1,1\n")),
    ("boxes csv", "a frame before the first", _text(f"{_CSV}a,-1,1,1,5,5\n")),
    ("boxes csv", "another clip", _text(f"{_CSV}../../etc,0,1,1,5,5\n")),
    ("boxes csv", "1e400", _text(f"{_CSV}a,0,1,1,5,1e400\n")),
    ("boxes coco", "an image that is not there", _text(_COCO % (0, '{"image_id": 2, "bbox": [1, 1, 4, 4]}'))),
    ("boxes coco", "three numbers", _text(_COCO % (0, '{"image_id": 1, "bbox": [1, 1, 4]}'))),
    ("boxes coco", "frame 10^30", _text(_COCO % (10**30, '{"image_id": 1, "bbox": [1, 1, 4, 4]}'))),
    ("boxes coco", "a list", _text("[]")),
    ("boxes npy", "too few frames", _array(np.ones((1, 1, 4)))),
    ("boxes npy", "five numbers", _array(np.ones((2, 1, 5)))),
    ("boxes npy", "NaN", _array(np.full((2, 1, 4), np.nan))),
    ("field flo", "of 2^31 px", _text(b"PIEH" + b"\xff\xff\xff\x7f" * 2)),
    ("field kitti", "of 8 bits", _picture("RGB", (32, 24))),
    ("field kitti", "60,000 x 60,000", _text(_png(60_000, 60_000))),
    ("mask picture", "60,000 x 60,000", _text(_png(60_000, 60_000))),
    ("mask picture", "all black", _picture("L")),
    ("mask drawn", "two corners", _text('{"ignore": [[[0, 0], [1, 1]]]}')),
    ("mask drawn", "beyond the frame", _text('{"ignore": [[[0, 0], [1, 1], [2, 1e300]]]}')),
    ("mask drawn", "nested without end", _text('{"ignore": ' + "[" * 50_000)),
    ("tar", "..", _tarred("Mini/../../out")),
    ("tar", "from the root", _tarred("/etc/out")),
    ("tar", "a link", _tarred("Mini/a", tarfile.SYMTYPE, "/etc/passwd")),
    ("tar", "a hard link", _tarred("Mini/a", tarfile.LNKTYPE, "../../x")),
    ("tar", "a device", _tarred("Mini/a", tarfile.CHRTYPE)),
    ("zip", "..", _zipped("Mini/../../out")),
    ("zip", "of Windows", _zipped("Mini\\..\\..\\out")),
    ("zip", "a bomb", _zipped("Mini/a", bytes(50 << 20))),
]  # fmt: skip


def odd() -> Iterator[tuple[Reader, str, bytes]]:
    """Every one of ODD, with its reader."""
    readers = {reader.name: reader for reader in _readers()}
    for name, what, make in ODD:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"input{readers[name].suffix}"
            make(path)
            yield readers[name], what, path.read_bytes()


def _late(*_: object) -> None:
    raise TimeoutError(f"not done in {SECONDS} s")


def tried(reader: Reader, data: bytes, folder: Path) -> tuple[str, str]:
    """What a reader makes of these bytes: `read`, `one line` or `FAULT`, and its words."""
    path = folder / f"input{reader.suffix}"
    path.write_bytes(data)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
        found = "read", ""
    except VadError as error:
        text = str(error)
        found = (
            ("one line", text) if text and "\n" not in text and len(text) < 1000 else ("FAULT", f"not a line: {text}")
        )
    except Exception as error:
        found = "FAULT", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    finally:
        signal.alarm(0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    if grown > MIB:
        found = "FAULT", f"took {grown:.0f} MiB"
    if left := [p.name for p in folder.iterdir() if p != path]:
        found = "FAULT", f"left {left}"
    path.unlink()
    return found


def healthy(reader: Reader) -> bytes:
    """The bytes of a reader's healthy file, which it reads."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"input{reader.suffix}"
        reader.make(path)
        return path.read_bytes()


def corpus() -> Iterator[tuple[Reader, str, bytes]]:
    """Every reader with every damage of its file, the same each time."""
    for reader in _readers():
        data = healthy(reader)
        for name, damage in DAMAGES.items():
            yield reader, name, damage(data, random.Random(f"{reader.name} {name}"))
    yield from odd()


def fuzz(seconds: float, seed: int) -> Iterator[tuple[Reader, str, bytes]]:
    """Readers in turn, each with several damages at random."""
    chance = random.Random(seed)
    readers = [(reader, healthy(reader)) for reader in _readers()]
    names = [name for name in DAMAGES if name not in ("empty", "noise", "zeros", "text")]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for reader, data in readers:
            chosen = chance.choices(names, k=chance.randint(1, 4))
            for name in chosen:
                data = DAMAGES[name](data, chance)
            yield reader, ", ".join(chosen), data


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fuzz", type=float, default=0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="readers whose names have this in them")
    given = parser.parse_args()
    table: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        for reader, damage, data in fuzz(given.fuzz, given.seed) if given.fuzz else corpus():
            if given.only not in reader.name:
                continue
            result, words = tried(reader, data, Path(name))
            table.setdefault(reader.name, Counter())[result] += 1
            if result == "FAULT":
                print(f"{reader.name}, {damage}: {words}", flush=True)
    print("| reader | inputs | read | one line | faults |\n| --- | --- | --- | --- | --- |")
    total: Counter[str] = sum(table.values(), Counter())
    for reader_name, of in [*table.items(), ("all", total)]:
        print(f"| {reader_name} | {of.total()} | {of['read']} | {of['one line']} | {of['FAULT']} |")
    return int(total["FAULT"] > 0)


if __name__ == "__main__":
    sys.exit(main())
