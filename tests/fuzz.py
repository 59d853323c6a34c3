"""Fuzz the readers of files from elsewhere, guided by what of the code an input reaches (`pip install -e '.[fuzz]'`):

    python -m tests.fuzz --only "matlab 5" --seconds 600 --folder fuzzed

Each reader begins with its healthy file and the damages of tests/corpus.py. It has to give what it can, or its one
clear line, in bounded time and memory. What else comes of an input is a finding: the input is kept in the folder, one
for each place that raised, and so is one at which the process died or did not come back. Each reader has a process of
its own, which is begun again where it dies.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS, MIB = 20, 2048  # at most for one input


def _read_network(path: Path) -> Any:
    from vadlib.models.checkpoint import load_model, model_made_with

    return load_model(path, "raw", "`dvc repro`"), model_made_with(path, "`dvc repro`")


def _read_state(path: Path) -> Any:
    from vadlib.models.checkpoint import load_state

    with contextlib.redirect_stderr(None):
        return load_state(path)


def _read_names(path: Path) -> Any:
    from vadlib.footage.clock import begin_of
    from vadlib.io.names import natural_key, safe_name, times_in_names

    every = [os.fsdecode(line) for line in path.read_bytes().splitlines()]
    safe = {safe_name(name) for name in every if name}
    assert all(len(name.encode()) <= 200 and name.isprintable() for name in safe)
    begins = [begin_of([Path(name)]) for name in every if "\0" not in name]
    return sorted(every, key=natural_key), times_in_names(every), begins


def _read_ledger(path: Path) -> Any:
    from vadlib.io.ownership import LEDGER, is_made

    (path.parent / LEDGER).write_bytes(path.read_bytes())
    (path.parent / "a").write_bytes(b"not ours")
    return is_made(path.parent / "a")


OF_CORPUS = (
    "npy of objects", "npy of numbers", "matlab 5", "matlab 7.3", "cube shard", "flow", "arrays", "authors' checkpoint",
    "boxes npy", "field flo", "table",
)  # fmt: skip
"""Readers of tests/corpus.py whose files are binary."""

# Others, each with the reader there whose file it begins with, or that file's content.
OTHERS: dict[str, tuple[Callable[[Path], Any], str | bytes]] = {
    "network": (_read_network, "network"),
    "state of a training": (_read_state, "authors' checkpoint"),
    "names and clocks": (
        _read_names,
        b"2026-01-01_08-00-00\n20260101080000123\n1767254400.5\n1.05.09 PM\nfront-1767254401.25-ab\n07-10 2\n",
    ),
    "ledger": (
        _read_ledger,
        b'"What vadlib made in this folder. It removes and replaces nothing else."\n["*", "b"]\n["", "b"]\n'
        b'["own", "."]',
    ),
}


def _of_corpus(name: str) -> Any:
    """A reader of tests/corpus.py; imports what all of them need."""
    from tests.corpus import _readers

    (reader,) = (reader for reader in _readers() if reader.name == name)
    return reader


def make_seeds(name: str, folder: Path) -> str:
    """Leave what to begin with in a folder; returns the suffix of such files."""
    from tests.corpus import DAMAGES, healthy

    source: str | bytes = OTHERS[name][1] if name in OTHERS else name
    suffix = ".txt"
    if isinstance(source, str):
        reader = _of_corpus(source)
        source, suffix = healthy(reader), reader.suffix
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "whole").write_bytes(source)
    for number, damage in enumerate(DAMAGES.values()):
        (folder / str(number)).write_bytes(damage(source, random.Random(number)))
    return suffix


def _place(error: BaseException) -> str:
    """What was raised, and the last place in this project's code."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "vadlib" in frame.filename]
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "elsewhere"
    return f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:100]}"


def _fuzz_one(name: str, folder: Path, seconds: int, suffix: str) -> None:
    """What the process of a reader does: it does not return."""
    import atheris

    found = folder / "found"
    found.mkdir(exist_ok=True)
    counts: Counter[str] = Counter()
    known = {path.name for path in found.iterdir()}
    warnings.simplefilter("ignore")
    scratch = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    path = scratch / f"input{suffix}"
    path.write_bytes((folder / "seeds/whole").read_bytes())
    with atheris.instrument_imports(include=["vadlib"]):
        read = OTHERS[name][0] if name in OTHERS else _of_corpus(name).read
        with contextlib.suppress(Exception):
            read(path)  # imports what it needs
    from vadlib.errors import VadError
    from vadlib.io import files

    files._PATIENCE = 2.0  # seconds, so that what HDF5 does not come back from costs no more of the time

    def one(data: bytes) -> None:
        path.write_bytes(data)
        try:
            read(path)
            counts["read"] += 1
            return
        except VadError as error:
            text = str(error)
            if text and "\n" not in text and len(text) < 1000:
                counts["one line"] += 1
                return
            what = f"not a line: {text[:100]}"
        except Exception as error:
            what = _place(error)
        finally:
            if counts.total() % 100 == 0:
                (folder / f"counts-{os.getpid()}.json").write_text(json.dumps(counts))
        counts["findings"] += 1
        kept = "".join(c if c.isalnum() else "_" for c in what)[:60]
        if kept not in known:
            known.add(kept)
            (found / kept).write_bytes(data)
            print(f"finding: {what}", flush=True)

    options = [
        f"-max_total_time={seconds}", f"-timeout={SECONDS}", f"-rss_limit_mb={MIB}", "-max_len=65536",
        f"-artifact_prefix={found}/", "-print_final_stats=1", "-verbosity=0",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(folder / "seeds")], one)
    atheris.Fuzz()


def _cpu_seconds() -> float:
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return of_children.ru_utime + of_children.ru_stime


def fuzzed(name: str, folder: Path, seconds: float) -> str:
    """Fuzz one reader for so long, and return its row of the table."""
    suffix = make_seeds(name, folder / "seeds")
    end, ended, began = time.monotonic() + seconds, Counter[str](), _cpu_seconds()
    while (left := round(end - time.monotonic())) > 5:
        with (folder / "log").open("ab") as log:
            command = [
                sys.executable, "-m", "tests.fuzz", "--one", name, "--suffix", suffix, "--folder", folder,
                "--seconds", str(left),
            ]  # fmt: skip
            try:
                code = subprocess.run(command, stdout=log, stderr=log, check=False, timeout=left + 300).returncode
            except subprocess.TimeoutExpired:
                ended["did not come back"] += 1
                continue
        if code:
            ended["died"] += 1
        else:
            break
    total: Counter[str] = Counter()
    for path in folder.glob("counts-*.json"):
        total.update(json.loads(path.read_text()))
    kinds = len([path for path in (folder / "found").glob("*") if not path.name.startswith("slow-unit")])
    runs = total.total()
    deaths = ", ".join(f"{count} {how}" for how, count in ended.items()) or "0"
    taken = (_cpu_seconds() - began) / 60
    return (
        f"| {name} | {seconds / 60:.0f} | {taken:.1f} | {runs:,} | {total['read']:,} | {total['one line']:,} | "
        f"{total['findings']:,} | {deaths} | {kinds} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], help="a reader's name; may be given again. All, without")
    parser.add_argument("--seconds", type=float, default=600, help="for each")
    parser.add_argument("--folder", type=Path, required=True, help="for findings and logs")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # of the process of a reader
    parser.add_argument("--suffix", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        _fuzz_one(given.one, given.folder, round(given.seconds), given.suffix)
    head = "| reader | minutes | of a core | inputs | read | one line | others | ends of the process | kept inputs |"
    print(head + "\n" + "| --- " * head.count(" | ") + "| --- |", flush=True)
    names = given.only or [*OF_CORPUS, *OTHERS]
    for name in names:
        print(fuzzed(name, given.folder.absolute() / name.replace(" ", "-"), given.seconds), flush=True)


if __name__ == "__main__":
    main()
