"""The one way a stage goes over clips: in parallel, restartable, clip in, artefact out.

Each clip's artefact is made in a scratch folder named by a fingerprint of all that determines it. A stage that was
killed finds there the clips it had finished; other settings or inputs have another fingerprint, and so never meet
them. When every clip is done the folder is moved to where the stage's output belongs, or made into it.
"""

import glob
import hashlib
import json
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from vadlib.errors import VadError
from vadlib.io.files import read_json, write_json
from vadlib.io.ownership import LEDGER, SCRATCH, check, identity, is_made, is_own, own, publish, remove_own
from vadlib.io.progress import progress
from vadlib.manifest import Clip
from vadlib.pipeline.closure import code_digest

Work = Callable[[Clip, Path], dict[str, int]]
"""Make a clip's artefact at a path, whole or not at all, and return what to count. A module-level function, or
`functools.partial` of one: it may run in another process."""


def map_clips(
    work: Work,
    clips: Sequence[Clip],
    output: Path,
    *,
    suffix: str,
    fingerprint: str,
    workers: int,
    label: str,
    finish: Callable[[Path, Path], None] = publish,
) -> Counter[str]:
    """Make `<split>/<clip><suffix>` of every clip in a folder, and return the sums of what `work` counted.

    `finish` makes `output` of that folder; by default it becomes `output`. With `workers` > 1 clips go to that many
    processes. The first error ends the run, in `finish` too; finished clips stay in the scratch folder for the next.
    Raises VadError at once where `output` is somebody else's.
    """
    check(output, folder=not output.suffix)
    scratch = scratch_folder(output, fingerprint)
    made = scratch / "made"
    todo = []
    counts: Counter[str] = Counter()
    for clip in clips:
        artefact, note = _places(made, scratch, clip, suffix)
        before = _kept(artefact, note)
        if before is None:
            todo.append(clip)
            for path in (artefact, note):
                _set_aside(path, scratch / "damaged")
        else:
            counts.update(before)
    with progress(len(clips), label, "clip", done=len(clips) - len(todo)) as bar:
        jobs = [(work, clip, *_places(made, scratch, clip, suffix)) for clip in todo]
        for result in _run(jobs, min(workers, len(jobs))):
            counts.update(result)
            bar.update()
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


def _run(jobs: list[tuple[Work, Clip, Path, Path]], workers: int) -> Any:
    """Yield each job's counts as it is done."""
    if workers <= 1:
        yield from (_one(*job) for job in jobs)
        return
    # Spawned, not forked: torch and OpenCV hold threads that a fork would leave locked.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        initargs=(workers,),
    )
    try:
        waiting: set[Future[dict[str, int]]] = {pool.submit(_one, *job) for job in jobs}
        while waiting:
            # Awake now and then: a signal just before a thread sleeps would else be heard at the next result.
            done, waiting = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except KeyboardInterrupt:
        for worker in multiprocessing.active_children():
            worker.kill()  # nothing half-written looks whole, and no signal that a library catches holds it up
        raise
    except BrokenProcessPool:
        raise VadError(
            "a worker process was killed, most likely for want of memory; set `compute.workers` lower and run the "
            "same command again: finished clips are kept"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _one(work: Work, clip: Clip, artefact: Path, note: Path) -> dict[str, int]:
    counts = work(clip, artefact)
    write_json(note, {"counts": counts, "artefact": identity(artefact)})
    return counts


def _set_aside(path: Path, folder: Path) -> None:
    """Move what was changed since it was made out of the way: it may be somebody's, and is not removed."""
    if path.exists() and not is_made(path):
        folder.mkdir(exist_ok=True)
        path.rename(folder / f"{len(list(folder.iterdir()))}-{path.name}")
        print(f"warning: {path}: damaged, or changed; moved to {folder}, and made again", file=sys.stderr)


def _kept(artefact: Path, note: Path) -> dict[str, int] | None:
    """What an earlier run counted of an artefact that is as that run left it; None where it is to be made again."""
    if not (artefact.exists() and note.exists()):
        return None
    try:
        found = read_json(note, "the same command")
        return dict(found["counts"]) if found["artefact"] == identity(artefact) else None
    except (VadError, KeyError, TypeError, ValueError):  # damaged
        return None


def _begin_worker(workers: int) -> None:
    """In a worker: as many threads as its share of the cores, so that workers do not trample on each other."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of Ctrl-C, which reaches all, the main process makes an end
    threads = max(1, (os.cpu_count() or 1) // workers)
    cv2.setNumThreads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read by torch, which is imported later if at all
