"""The one way a stage goes over clips: in parallel, restartable, clip in, artefact out.

Each clip's artefact is made in a scratch folder named by a fingerprint of all that determines it. A stage that was
killed finds there the clips it had finished; other settings or inputs have another fingerprint, and so never meet
them. When every clip is done the folder is moved to where the stage's output belongs, or made into it.
"""

import contextlib
import glob
import hashlib
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vadlib.errors import VadError
from vadlib.io.files import read_json, sha256, write_json
from vadlib.io.ownership import (
    LEDGER,
    SCRATCH,
    alone_in,
    check,
    is_made,
    is_own,
    move,
    own,
    publish,
    remove_empty,
    remove_own,
    set_aside,
)  # fmt: skip
from vadlib.io.progress import progress
from vadlib.manifest import Clip
from vadlib.pipeline.closure import code_digest
from vadlib.pipeline.executors.registry import run
from vadlib.pipeline.executors.tasks import Task
from vadlib.settings import ComputeSettings

Work = Callable[[Clip, Path], dict[str, int]]
"""Make a clip's artefact at a path, whole or not at all, and return what to count. A module-level function, or
`functools.partial` of one: it may run in another process."""


@dataclass(frozen=True)
class Span:
    """A part of a clip that is worked on by itself: its frames, or its cubes."""

    first: int  # from 0
    stop: int  # one past the last
    start: Any = None  # where reading can begin, as `spans` says it


@dataclass(frozen=True)
class Split:
    """How a stage works on a long clip in parts. The whole is byte for byte what `Work` would have made."""

    spans: Callable[[Clip, int], list[Span]]
    """A clip's parts of about so many frames; one, or none, where it has to be worked on whole."""
    work: Callable[[Clip, Span, Path], dict[str, int]]
    """Make a part, as `Work` makes an artefact."""
    merge: Callable[[Clip, list[Path], Path], dict[str, int]]
    """Make a clip's artefact of its parts, in order, and return what `Work` would have counted, but for `added`."""
    added: tuple[str, ...] = ()
    """What only the work on a part can count: for the clip, the sums over its parts."""


def map_clips(
    work: Work,
    clips: Sequence[Clip],
    output: Path,
    *,
    suffix: str,
    fingerprint: str,
    compute: ComputeSettings,
    label: str,
    split: Split | None = None,
    finish: Callable[[Path, Path], None] = publish,
) -> Counter[str]:
    """Make `<split>/<clip><suffix>` of every clip in a folder, and return the sums of what `work` counted.

    `finish` makes `output` of that folder; by default it becomes `output`. Clips go to the workers of
    `compute.executor`, those longer than `compute.window` in parts, where there is a `split`. An error ends the run, in
    `finish` too; finished clips and parts stay in the scratch folder for the next. Raises VadError at once where
    `output` is somebody else's.
    """
    check(output, folder=not output.suffix)
    scratch = scratch_folder(output, fingerprint)
    with alone_in(scratch):
        made = scratch / "made"
        remove_own(scratch / "tries")  # of a run that was killed
        todo = []
        counts: Counter[str] = Counter()
        for clip in clips:
            artefact, note = _places(made, scratch, clip, suffix)
            before = _kept(artefact, note, scratch)
            if before is None:
                todo.append(clip)
            else:
                counts.update(before)
        # Of clips that are worked on in parts, in order: with their notes.
        parts: dict[str, list[tuple[Path, Path]]] = {}

        def jobs() -> Iterator[Task]:
            for clip in todo:
                spans = []
                if split is not None and compute.window is not None and clip.frames > compute.window:
                    spans = split.spans(clip, compute.window)
                if len(spans) < 2:
                    yield _task(scratch, clip, *_places(made, scratch, clip, suffix), clip.frames)
                    continue
                of_clip = parts[clip.key] = []
                for span in spans:
                    name = f"{clip.name}/{span.first}-{span.stop}"
                    place = scratch / "parts" / clip.split / f"{name}{suffix}"
                    note = scratch / "counts of parts" / clip.split / f"{name}.json"
                    of_clip.append((place, note))
                    if _kept(place, note, scratch) is None:
                        yield _task(scratch, clip, place, note, span.stop - span.first, span)

        started, frames = time.monotonic(), 0
        do = partial(_one, work, split)
        with progress(len(clips), label, "clip", done=len(clips) - len(todo)) as bar:

            def landed(results: Iterator[tuple[Task, Any]]) -> Iterator[tuple[Task, dict[str, int]]]:
                nonlocal frames
                for task, (aside, counted) in results:
                    _, _, artefact, note, *_ = task.args
                    artefact.parent.mkdir(parents=True, exist_ok=True)
                    move(aside, artefact)
                    remove_empty(aside.parent)
                    write_json(note, {"counts": counted, "artefact": sha256(artefact)})
                    frames += task.size
                    bar.set_postfix_str(f"{frames / (time.monotonic() - started):.1f} frames/s", refresh=False)
                    yield task, counted
                # What was tried in vain, and by workers that were given up, is not in its place.
                remove_own(scratch / "tries")

            for task, counted in landed(run(do, jobs(), compute)):
                *_, span, _ = task.args
                if span is None:
                    counts.update(counted)
                    bar.update()
            whole = [clip for clip in todo if clip.key in parts]
            merges = [
                _task(scratch, c, *_places(made, scratch, c, suffix), c.frames, None, parts[c.key]) for c in whole
            ]
            for _, counted in landed(run(do, merges, compute)):
                counts.update(counted)
                bar.update()
        remove_own(scratch / "parts")
        finish(made, output)
        remove_own(scratch)
        return counts


def scratch_folder(output: Path, fingerprint: str) -> Path:
    """Where unfinished work on `output` is kept: below the current folder, for an absolute path beside it.

    That of other fingerprints, which nothing can use, is removed. Raises VadError where somebody else's is there.
    """
    base, name = SCRATCH, "-".join(output.parts)
    if output.is_absolute():  # of no project: beside it, to be found whatever the current folder is
        base, name = output.parent / SCRATCH, output.name
    scratch = base / f"{name}-{fingerprint[:16]}"
    for stale in base.glob(f"{glob.escape(name)}-*"):
        if stale != scratch and len(stale.name) == len(scratch.name) and is_own(stale):
            remove_own(stale)
    own(scratch)
    (scratch / "made").mkdir(exist_ok=True)
    return scratch


def fingerprint(module: str, *parts: Any) -> str:
    """A digest of settings (as JSON), of files and folders (their names, sizes and times of change), and of the code
    that `module`, a stage's own, depends on. Equal fingerprints mean that unfinished work can be gone on with."""
    digest = hashlib.sha256(code_digest(module).encode())
    for part in parts:
        if isinstance(part, Path):
            files = sorted(_files_below(part)) if part.is_dir() else [part]
            stats = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
            digest.update(repr(stats).encode())
        else:
            text = part.model_dump_json() if hasattr(part, "model_dump_json") else json.dumps(part)
            digest.update(f"{type(part).__name__}:{text}\0".encode())
    return digest.hexdigest()


def _files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder but ledgers, those in linked folders too: footage is often linked, and `rglob` passes
    by links."""
    seen = set()
    for base, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(base)) in seen:
            folders.clear()  # links in a circle
            continue
        seen.add(real)
        yield from (Path(base) / name for name in names if name != LEDGER)


def _places(made: Path, scratch: Path, clip: Clip, suffix: str) -> tuple[Path, Path]:
    return made / clip.split / f"{clip.name}{suffix}", scratch / "counts" / clip.split / f"{clip.name}.json"


def _task(
    scratch: Path, clip: Clip, artefact: Path, note: Path, size: int, span: Span | None = None, parts: Any = None
) -> Task:
    name = f"clip {clip.key}" + (f", frames {span.first} to {span.stop - 1}" if span else "")
    return Task(name, size, (clip, scratch / "tries", artefact, note, span, parts))


def _one(
    work: Work,
    split: Split | None,
    clip: Clip,
    tries: Path,
    artefact: Path,
    note: Path,
    span: Span | None,
    parts: list[tuple[Path, Path]] | None,
) -> tuple[Path, dict[str, int]]:
    """Make an artefact in a folder of its own, and return where, and what to count. Only what a worker reports is moved
    to its place: one that was given up and yet lives, as behind a broken network, writes where nobody looks."""
    aside = tries / uuid.uuid4().hex / artefact.name
    if split is not None and span is not None:
        return aside, split.work(clip, span, aside)
    if split is not None and parts is not None:
        total = Counter(split.merge(clip, [part for part, _ in parts], aside))
        for _, told in parts:
            of_part = read_json(told, "the same command")["counts"]
            total.update({key: of_part[key] for key in split.added if key in of_part})
        return aside, dict(total)
    return aside, work(clip, aside)


def _kept(artefact: Path, note: Path, scratch: Path) -> dict[str, int] | None:
    """What an earlier run counted of an artefact that is as that run left it; None where it is to be made again, and
    what was changed meanwhile is out of the way."""
    digest = None
    with contextlib.suppress(VadError, KeyError, TypeError, ValueError):  # not there, or damaged
        noted = read_json(note, "the same command")
        digest = noted["artefact"]
        if artefact.exists() and digest == sha256(artefact):
            return dict(noted["counts"])
    for path, changed in ((artefact, digest is not None), (note, False)):
        if path.exists() and (changed or not is_made(path)):
            set_aside(path, scratch / "damaged")
    return None
