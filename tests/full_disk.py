"""A disk that is full at the n-th write, for every n, at every place that writes: `python -m tests.full_disk`.

A shim (C, below) stands before the C library's calls that write: it counts those below a folder, and answers the n-th
with "no space left on device", whichever library calls, Python's own, HDF5, Arrow, safetensors, FFmpeg or torch. Each
trial does one site's work in a fresh folder, twice: with the shim, and again without. Of the first it is asked that

- one line says that the disk is full (or nothing was lost, and what was made is whole),
- every file under its own name is whole, as before or as it will be,
- nothing half-written lies about;

of the second that all files are those of an undisturbed run, to the byte.
"""

import argparse
import contextlib
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char prefix[PATH_MAX];
static long count, fail_at;
static int once, fired;

void disk_arm(const char *below, long n, int only_once) {
    strncpy(prefix, below, sizeof prefix - 1); count = 0; fail_at = n; once = only_once; fired = 0;
}
int disk_disarm(void) { prefix[0] = 0; return fired; }
long disk_count(void) { return count; }

static int below(const char *path) { return prefix[0] && !strncmp(path, prefix, strlen(prefix)); }
static int open_below(int fd) {
    char link[64], path[PATH_MAX];
    if (!prefix[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below(path);
}
/* `frees`: renames, and what a full disk takes after it was full: they fail as the n-th alone. */
static int full(int frees) {
    long now = __sync_add_and_fetch(&count, 1);
    if (!fail_at || !(now == fail_at || (now > fail_at && !once && !frees))) return 0;
    fired = 1; errno = ENOSPC; return 1;
}
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define BY_FD(type, name, parameters, arguments) \
    type name parameters { return open_below(fd) && full(0) ? -1 : NEXT(name) arguments; }
BY_FD(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
BY_FD(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
BY_FD(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
BY_FD(ssize_t, writev, (int fd, const struct iovec *parts, int n), (fd, parts, n))
BY_FD(ssize_t, pwritev, (int fd, const struct iovec *parts, int n, off_t at), (fd, parts, n, at))
BY_FD(int, fsync, (int fd), (fd))
BY_FD(int, fdatasync, (int fd), (fd))
BY_FD(int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
BY_FD(int, posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size))
ssize_t sendfile(int fd, int from, off_t *at, size_t size) {
    return open_below(fd) && full(0) ? -1 : NEXT(sendfile)(fd, from, at, size);
}
ssize_t copy_file_range(int from, off64_t *a, int fd, off64_t *b, size_t size, unsigned flags) {
    return open_below(fd) && full(0) ? -1 : NEXT(copy_file_range)(from, a, fd, b, size, flags);
}
int mkdir(const char *path, mode_t mode) { return below(path) && full(0) ? -1 : NEXT(mkdir)(path, mode); }
int rename(const char *from, const char *to) { return below(to) && full(1) ? -1 : NEXT(rename)(from, to); }
#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        mode_t mode = 0; \
        if (flags & O_CREAT) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); } \
        if ((flags & O_CREAT) && below(path) && access(path, F_OK) && full(0)) return -1; \
        return NEXT(name)(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)
"""


@dataclass(frozen=True)
class Site:
    """A place that writes. `prepare` makes what it needs in a folder, `work` writes there."""

    name: str
    work: Callable[[Path], object]
    prepare: Callable[[Path], object] = lambda folder: None
    # Of files that grow while they are made, and so may be found cut: whether these bytes, of those of a whole one, are
    # as they should be.
    grows: Callable[[str, bytes, bytes], bool] = lambda name, found, whole: False


SITES: list[Site] = []


def site(function: Callable[[Path], object]) -> Callable[[Path], object]:
    """Make a function, by its name, one of SITES."""
    SITES.append(Site(function.__name__.replace("_", " "), function))
    return function


# Where single files are written


@site
def text(folder: Path) -> None:
    from vadlib.io.files import write_text

    write_text(folder / "new/a.txt", "x" * 200_000)


@site
def text_again(folder: Path) -> None:
    from vadlib.io.files import write_text

    write_text(folder / "a.txt", "one")
    write_text(folder / "a.txt", "another")


@site
def json(folder: Path) -> None:
    from vadlib.io.files import write_json

    write_json(folder / "a.json", {"numbers": list(range(1000))})


@site
def copied_file_and_folder(folder: Path) -> None:
    from vadlib.io.files import copy

    copy(Path(__file__), folder / "weights/a.pt")
    copy(Path(__file__).parent / "boxes", folder / "weights/exported")


@site
def table(folder: Path) -> None:
    import pandas as pd

    from vadlib.io.tables import write_table

    parts = [pd.DataFrame({"clip": [f"c{n}"] * 500, "score": [n * 0.1] * 500}) for n in range(4)]
    write_table(folder / "a.parquet", parts, {"weights": "x"})


@site
def csv(folder: Path) -> None:
    import pandas as pd

    from vadlib.io.tables import write_csv

    write_csv(folder / "a.csv", pd.DataFrame({"step": range(20_000), "loss": 0.5}))


@site
def arrays(folder: Path) -> None:
    import numpy as np

    from vadlib.io.arrays import save_arrays

    save_arrays(folder / "evidence.safetensors", {"a": np.zeros((300, 300), np.float32), "b": np.ones(5, np.float32)})


@site
def network(folder: Path) -> None:
    from vadlib.models.checkpoint import save_model

    network, settings = _network()
    save_model(folder / "raw.safetensors", network, settings, "raw", 5, {"device": "cpu"})


@site
def state_of_a_training(folder: Path) -> None:
    from vadlib.models.checkpoint import save_state

    save_state(folder / "state.pt", {"network": _network()[0].state_dict(), "step": 3, "losses": [0.5] * 3})


@functools.cache
def _network() -> Any:
    import torch

    from tests.projects import settings
    from vadlib.models.registry import build_model

    torch.manual_seed(0)
    model = settings().model
    return build_model(model, "raw", 5), model


@site
def flow(folder: Path) -> None:
    import numpy as np

    from vadlib.flow.storage import FlowWriter

    random = np.random.default_rng(0)
    with FlowWriter(folder / "a.h5", 6, 24, 32, {"weights": "x"}) as writer:
        for _ in range(6):
            writer.append(random.normal(0, 1, (24, 32, 2)).astype(np.float32))


@site
def cubes(folder: Path) -> None:
    import numpy as np

    from vadlib.cubes.shards import ShardWriter

    random = np.random.default_rng(0)
    with ShardWriter(folder / "a.h5", "raw", 3, 8) as shard:
        for frame in range(50):
            shard.add(frame, np.zeros((2, 4)), random.integers(0, 255, (2, 3, 8, 8, 3), np.uint8))


@site
def footage_rendered(folder: Path) -> None:
    from vadlib.datasets.synthetic.footage import write_footage
    from vadlib.settings import StreetSettings

    street = StreetSettings(size=(64, 64), training_clips=1, testing_clips=1, clip_frames=8, walkers=1)
    write_footage(street, folder / "footage")


@site
def report_page(folder: Path) -> None:
    import numpy as np

    from vadlib.report.contents import Report, ReportClip
    from vadlib.report.page import write_report

    clip = ReportClip("a", np.linspace(0, 1, 50), times=np.arange(50) / 25)
    write_report(folder / "report.html", Report(title="a", clips=[clip], threshold=0.5, anomalies=[]))


@site
def weights_downloaded(folder: Path) -> None:
    from types import SimpleNamespace
    from unittest.mock import patch

    from vadlib.io.files import sha256
    from vadlib.io.weights import torchvision_weights

    source = Path(__file__)
    with tempfile.TemporaryDirectory() as elsewhere:
        served = Path(elsewhere) / f"net-{sha256(source)[:8]}.pth"
        shutil.copy(source, served)
        url = SimpleNamespace(url=served.as_uri())

        class Published(list):  # type: ignore[type-arg]
            DEFAULT = url

        with patch("torchvision.models.get_model_weights", lambda name: Published([url])):
            torchvision_weights("net", folder / "weights")


@site
def detector_downloaded(folder: Path) -> None:
    from unittest.mock import patch

    from vadlib.boxes.kinds.yolo import weights_file
    from vadlib.settings import YoloSettings

    def download(path: str) -> str:
        shutil.copyfile(__file__, path)
        return path

    with patch("ultralytics.utils.downloads.attempt_download_asset", download):
        weights_file(YoloSettings(weights="yolo11n.pt"), folder / "weights")


@site
def benchmark_fetched(folder: Path) -> None:
    from unittest.mock import patch

    from tests.datasets import test_fetch
    from vadlib import fetch

    server = _server()
    server.content = test_fetch._tar()
    digest = hashlib.sha256(server.content).hexdigest()
    archive = fetch.Archive(server.url, digest, {"Mini v1/clips": ""})
    with patch.dict(fetch.BENCHMARKS, {"mini": fetch.Benchmark("page", "layout", (archive,))}):
        fetch.fetch("mini", folder / "data")


@functools.cache
def _server() -> Any:
    import threading

    from tests.datasets import test_fetch

    server = test_fetch._Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


# Stages and commands: all that they write, in its order


def _stage_sites(base: Path) -> list[Site]:
    """A site for each stage of a project in miniature, which is at `base`, after `vad score` and `vad train`."""
    from tests.projects import COMPUTE, MOTION, STAGES, make_packaged, settings
    from vadlib.footage.find import Footage
    from vadlib.footage.score import score_footage
    from vadlib.footage.stream import make_scorer
    from vadlib.footage.train import train_on_footage
    from vadlib.pipeline import detect
    from vadlib.pipeline.package import package_model
    from vadlib.pipeline.places import Places
    from vadlib.scoring.model_folder import read_package

    used = settings(source={"layout": "videos"}, detector=MOTION)
    places = Places.of("mini")
    snapshots = [base / name for name in ("start", *STAGES)]
    package = make_packaged(base / "whole") / "models/mini"
    scorer, threshold = make_scorer(read_package(package), COMPUTE), read_package(package).threshold
    video = next((base / "whole/data/mini/testing").iterdir())

    def run(stage: str, folder: Path) -> None:
        detect._detector.cache_clear()
        with contextlib.chdir(folder):
            STAGES[stage](places, used, COMPUTE)

    def fill(before: Path, folder: Path) -> None:
        shutil.copytree(before, folder, dirs_exist_ok=True)

    for name in ("data", "weights"):
        shutil.copytree(base / "whole" / name, snapshots[0] / name)
    sites = []
    for before, after, stage in zip(snapshots, snapshots[1:], STAGES, strict=False):
        shutil.copytree(before, after)
        run(stage, after)
        sites.append(
            Site(f"stage {stage}", functools.partial(run, stage), functools.partial(fill, before))
        )  # fmt: skip

    def packaged(folder: Path) -> None:
        with contextlib.chdir(folder):
            package_model(places, Path("models/mini"), used, COMPUTE)

    def scored(folder: Path) -> None:
        score_footage(Footage("clip", video), scorer, threshold, folder / "found", parquet=True)

    def grows(name: str, found: bytes, whole: bytes) -> bool:
        if name.endswith(".csv"):
            return whole.startswith(found) and found.endswith(b"\n")
        return name.endswith(("annotated.mp4", "report.html"))  # of the frames that were scored

    def trained(folder: Path) -> None:
        train_on_footage(folder / "normal", folder / "model", used, COMPUTE)

    def footage(folder: Path) -> None:
        shutil.copytree(base / "whole/data/mini/training", folder / "normal")

    sites.append(Site("stage package", packaged, functools.partial(fill, snapshots[-1])))
    sites.append(Site("vad score", scored, grows=grows))
    sites.append(Site("vad train", trained, footage))
    return sites


# Trials


@dataclass
class Row:
    """What came of a site."""

    site: str
    writes: int = 0
    one_line: int = 0  # trials that ended in one
    unharmed: int = 0  # trials that lost nothing, and said nothing
    recovered: int = 0
    faults: list[str] | None = None

    def __str__(self) -> str:
        result = "ok" if not self.faults else f"{len(self.faults)} FAULTS: {self.faults[0]}"
        return f"| {self.site} | {self.writes} | {self.one_line} | {self.unharmed} | {self.recovered} | {result} |"


LAST = 24
"""Of so many writes at the end each is tried: they put results in their place."""

HEAD = "| site | writes | one line | unharmed | recovered | |\n| --- | --- | --- | --- | --- | --- |"


def files_below(folder: Path) -> dict[str, bytes]:
    """The bytes of every file but ledgers, by its path."""
    from vadlib.io.ownership import LEDGER

    found = [path for path in folder.rglob("*") if path.is_file() and path.name != LEDGER]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(found)}


@contextlib.contextmanager
def fresh(site: Site, scratch: Path) -> Iterator[Path]:
    """A folder, always of the same path, with what a site needs."""
    folder = scratch / "trial"
    folder.mkdir()
    site.prepare(folder)
    yield folder
    shutil.rmtree(folder)


def try_site(site: Site, scratch: Path, shim: ctypes.CDLL, every: int = 1, once: bool = False) -> Row:
    """Every trial of a site: the disk is full from the n-th write on, or then alone."""
    from vadlib.cli.commands import one_line

    row = Row(site.name, faults=[])
    faults: list[str] = []
    with fresh(site, scratch) as folder:
        before = files_below(folder)
        shim.disk_arm(os.fsencode(folder), 0, 0)
        site.work(folder)
        shim.disk_disarm()
        row.writes = shim.disk_count()
        whole = files_below(folder)
    last = max(0, row.writes - LAST)
    for n in (*range(1, last + 1, every), *range(last + 1, row.writes + 1)):
        with fresh(site, scratch) as folder:
            error = None
            shim.disk_arm(os.fsencode(folder), n, once)
            try:
                site.work(folder)
            except Exception as caught:
                error = caught
            fired = shim.disk_disarm()
            assert fired, f"{site.name}: write {n} of {row.writes} was not reached"
            found = files_below(folder)
            told = "" if error is None else one_line(error)
            place = f"write {n}: "
            if error is None:
                row.unharmed += 1
                if found != whole:
                    faults.append(f"{place}nothing was said, though {_difference(found, whole)}")
            elif "the disk is full" in told and "\n" not in told and "not foreseen" not in told:
                row.one_line += 1
            else:
                faults.append(f"{place}{type(error).__name__}: {told}")
            for name, content in found.items():
                if ".scratch/" in name or name.startswith((".data.fetch/", "model.work/")):
                    continue  # unfinished work, held against the undisturbed run once it is gone on with
                if name.endswith(".partial") or "/.partial" in name:
                    faults.append(f"{place}{name} is left")
                elif content not in (whole.get(name), before.get(name), b"one") and not (  # b"one": of `text again`
                    error and site.grows(name, content, whole.get(name, b""))
                ):
                    faults.append(f"{place}{name} looks whole")
            if error is None:  # all was done
                row.recovered += found == whole
                continue
            try:
                site.work(folder)
            except Exception as caught:
                faults.append(f"{place}again: {one_line(caught)}")
            else:
                again = files_below(folder)
                if again == whole:
                    row.recovered += 1
                else:
                    faults.append(f"{place}again: {_difference(again, whole)}")
    row.faults = faults
    return row


def _difference(found: dict[str, bytes], whole: dict[str, bytes]) -> str:
    names = sorted(name for name in {*found, *whole} if found.get(name) != whole.get(name))
    return f"{', '.join(names[:3])} differ{'s' * (len(names) == 1)} from an undisturbed run's"


def loaded(scratch: Path) -> ctypes.CDLL:
    """The shim, in this process: begun anew with it, if it is not there yet."""
    library = scratch / "shim.so"
    (scratch / "shim.c").write_text(SHIM)
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-w", "-o", library, scratch / "shim.c", "-ldl"], check=True)
    return ctypes.CDLL(str(library))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", action="store_true", help="of stages and commands too, which takes an hour")
    parser.add_argument("--only", help="sites whose names have this in them")
    parser.add_argument(
        "--every", type=int, default=1, help="of stages and commands every so many writes, and the last"
    )
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # of the process with the shim
    given = parser.parse_args()
    if given.folder is None:
        with tempfile.TemporaryDirectory() as name:
            loaded(Path(name))
            environment = {**os.environ, "LD_PRELOAD": f"{name}/shim.so", "TQDM_DISABLE": "1"}
            again = [sys.executable, "-m", "tests.full_disk", *sys.argv[1:], "--folder", name]
            return subprocess.run(again, env=environment, check=False).returncode
    shim = ctypes.CDLL(str(given.folder / "shim.so"))
    faults = 0
    print(HEAD, flush=True)
    sites = [(site, 1) for site in SITES]
    if given.stages:
        sites += [(site, given.every) for site in _stage_sites(given.folder / "base")]
    for site, every in sites:
        if given.only and given.only not in site.name:
            continue
        for once in (False, True) if site in SITES else (False,):
            row = try_site(site, given.folder, shim, every, once)
            row.site += ", then has room" * once
            print("\n".join([str(row), *(row.faults or ())]), flush=True)
            faults += len(row.faults or ())
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
