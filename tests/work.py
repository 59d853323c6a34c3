"""What workers of other processes are given to do in tests: of a module that imports little, to begin at once."""

import os
import signal
import time
from pathlib import Path

from vadlib.io import files
from vadlib.io.files import write_text
from vadlib.manifest import Clip


def copy_name(text: str, clip: Clip, path: Path) -> dict[str, int]:
    write_text(path, f"{text} {clip.key}")
    return {"clips": 1, "frames": clip.frames}


def is_first(flag: Path) -> bool:
    """Whether nobody asked before."""
    try:
        os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def killed_once(flag: Path, work, *args):
    """One worker is killed as it has written an artefact, and not yet put it in its place."""
    if is_first(flag):
        files.os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
    return work(*args)


def fails(times: int, log: Path, clip: Clip, path: Path) -> dict[str, int]:
    if clip.key == "training/02":
        tries = 1 + len(list(log.glob("*.try")))
        write_text(log / f"{tries}.try", "")
        if tries <= times:
            raise OSError(5, f"try {tries}")
    return copy_name("x", clip, path)


def note_process(log: Path, workers: int, clip: Clip, path: Path) -> dict[str, int]:
    """Note which process this is, and which GPUs it may use. Begun, a worker waits until there are so many."""
    (log / f"{os.getpid()}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"), encoding="ascii")
    until = time.monotonic() + 120
    while len(list(log.iterdir())) < workers and time.monotonic() < until:
        time.sleep(0.05)
    return copy_name("x", clip, path)


def killed_in_training(flag: Path, step: int, *given: object) -> str:
    """`processes._train` in a process of several, the last of which kills itself, once, before a step of this run."""
    from vadlib import distributed
    from vadlib.pipeline import processes

    real, steps = distributed.share_of, []

    def share_of(batch, rank: int, world: int):
        steps.append(rank)
        if len(steps) == step and rank == world - 1 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(batch, rank, world)

    distributed.share_of = share_of
    return processes._train(*given)
