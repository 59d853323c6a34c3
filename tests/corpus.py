"""Malformed inputs for every reader: `python -m tests.corpus`; `--fuzz 60` goes on at random, for so many seconds.

Each reader has a healthy file; each of DAMAGES makes a malformed one of it, the same each time. A reader has to give
what it can, or its one clear line (VadError), in bounded time and memory, and to leave its folder as it was.
"""

import argparse
import random
import resource
import signal
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
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
    from vadlib.clips import read_footage
    from vadlib.cubes.shards import CubeSet, Shard, ShardWriter
    from vadlib.errors import Losses
    from vadlib.fetch import _unpack
    from vadlib.flow.storage import FlowWriter, read_flow
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
        Reader("tar", ".tar.gz", tar, unpacked),
        Reader("zip", ".zip", packed, unpacked),
    ]  # fmt: skip


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
