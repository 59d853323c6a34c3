"""Download a benchmark from its own page: resumed, checked, and unpacked where nothing can leave the folder.

All of it happens in `.<name>.fetch` beside the data set's folder, which appears whole, by one rename, or not at
all. A cut download stays there as `.partial`, for the next try to go on from.
"""

import contextlib
import http.client
import re
import shutil
import struct
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from vadlib.datasets import avenue, shanghaitech, ucsd
from vadlib.errors import VadError
from vadlib.io import ownership
from vadlib.io.files import is_disk_full, sha256, surroundings

TRIES = 5  # connections for one archive, in one call
TIMEOUT = 60.0  # seconds without a byte
# An archive may unpack to this many times its size, and not to more than this many files.
MAX_RATIO = 100
MAX_FILES = 1_000_000


@dataclass(frozen=True)
class Archive:
    """A file to download. `take`: the folders wanted of it, and where they go below the data set's folder."""

    url: str
    sha256: str
    take: dict[str, str]


@dataclass(frozen=True)
class Benchmark:
    """Where a data set comes from. Without archives, only a person can get it from its page."""

    page: str
    layout: str
    archives: tuple[Archive, ...] = ()


# The pages name no checksums; these are the ones anomalib verifies the same files by.
_UCSD = "http://www.svcl.ucsd.edu/projects/anomaly"
_UCSD_SHA256 = "2329af326951f5097fdd114c50e853957d3e569493a49d22fc082a9fd791915b"
_AVENUE = "http://www.cse.cuhk.edu.hk/leojia/projects/detectabnormal"


def _ucsd(part: str) -> Benchmark:
    take = {f"UCSD_Anomaly_Dataset.v1p2/{part}": ""}
    archive = Archive(f"{_UCSD}/UCSD_Anomaly_Dataset.tar.gz", _UCSD_SHA256, take)
    return Benchmark(f"{_UCSD}/dataset.html", ucsd.LAYOUT, (archive,))


BENCHMARKS = {
    "ped1": _ucsd("UCSDped1"),
    "ped2": _ucsd("UCSDped2"),
    "avenue": Benchmark(
        f"{_AVENUE}/dataset.html",
        avenue.LAYOUT,
        (
            Archive(
                f"{_AVENUE}/Avenue_Dataset.zip",
                "fc9cb8432a11ca79c18aa180c72524011411b69d3b0ff27c8816e41c0de61531",
                {f"Avenue Dataset/{part}": part for part in ("training_videos", "testing_videos")},
            ),
            Archive(
                f"{_AVENUE}/ground_truth_demo.zip",
                "60fec1728ec8f73a58aad3aeb5729d70a805a47e0b8eb4bf91ab67ef06386d77",
                {"ground_truth_demo/testing_label_mask": "ground_truth_demo/testing_label_mask"},
            ),
        ),
    ),
    "shanghaitech": Benchmark("https://svip-lab.github.io/dataset/campus_dataset.html", shanghaitech.LAYOUT),
}


def fetch(name: str, folder: Path) -> None:
    """Download and unpack a benchmark to `folder`, which must not be there yet, or be empty.

    Raises VadError, and leaves no folder, for an unknown name, one that cannot be fetched by a program, a dead
    link, a connection that keeps breaking, a wrong checksum, an archive that is damaged or reaches out of its
    folder, and too little space on the disk.
    """
    if name not in BENCHMARKS:
        raise VadError(f"{name!a}: not a benchmark that can be fetched; there are: {', '.join(sorted(BENCHMARKS))}")
    benchmark = BENCHMARKS[name]
    by_hand = f"visit {benchmark.page} and put into {folder}: {benchmark.layout}"
    if not benchmark.archives:
        raise VadError(f"{name}: its page gives it to people, not to programs; {by_hand}")
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise VadError(f"{folder}: already there; remove it, or check it with check-data")
    scratch = folder.with_name(f".{folder.name}.fetch")
    unpacked = scratch / "unpacked"
    ownership.own(scratch)
    try:
        ownership.begin(unpacked)  # of a try that was killed
        files = [_download(archive, scratch, by_hand) for archive in benchmark.archives]
        for archive, file in zip(benchmark.archives, files, strict=True):
            _unpack(file, archive.take, unpacked)
        if folder.exists():
            folder.rmdir()
        unpacked.rename(folder)
        ownership.remove_own(scratch)
    except BaseException as error:
        with contextlib.suppress(OSError, VadError):
            ownership.discard(unpacked)
            ownership.remove_empty(scratch)  # where there is nothing to go on from
        if is_disk_full(error):
            raise VadError(
                f"{scratch}: the disk is full; what was downloaded is kept. "
                "Free some space and run the same command again"
            ) from error
        raise


# Download


def _download(archive: Archive, scratch: Path, by_hand: str) -> Path:
    """The archive, whole and checked, from an earlier try where there was one."""
    file = scratch / PurePosixPath(urllib.parse.urlparse(archive.url).path).name
    partial = file.with_name(f"{file.name}.partial")
    ownership.check(file, partial)
    if file.exists():
        return file
    for path in (file, partial):
        ownership.note(path, ownership.BEING_MADE)
    problem = ""
    for _ in range(TRIES):
        try:
            problem = _go_on(archive.url, partial)
        except urllib.error.HTTPError as error:
            raise VadError(f"{archive.url}: {error.code} {error.reason}; {by_hand}") from None
        except urllib.error.URLError as error:
            advice = f"check the connection, or {by_hand}"
            raise VadError(f"{archive.url}: cannot be reached ({error.reason}); {advice}") from None
        if not problem:
            break
    else:
        advice = f"try later, or {by_hand}"
        if partial.exists():
            advice = "what came is kept: run the same command again to go on"
        raise VadError(f"{archive.url}: {problem}, {TRIES} times; {advice}")
    if (found := sha256(partial)) != archive.sha256:
        partial.unlink()
        raise VadError(
            f"{archive.url}: wrong checksum: SHA-256 {found}, expected {archive.sha256}; what came was removed: "
            f"try again, and if it stays wrong, {by_hand}"
        )
    partial.replace(file)
    return file


def _go_on(url: str, partial: Path) -> str:
    """Download what is not there yet of a file. Returns what interrupted it, or "" where it came to its end."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        return f"no answer ({error or type(error).__name__})"
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        # Nothing after what is there: it is whole, or not the start of this file; the checksum tells.
        if error.headers.get("Content-Range", "") == f"bytes */{have}":
            return ""
        partial.unlink()
        return "the server has less of the file than was there"
    with response:
        goes_on = response.status == http.HTTPStatus.PARTIAL_CONTENT
        if goes_on and not re.match(rf"bytes {have}-\d", response.headers.get("Content-Range", "")):
            partial.unlink()
            return "the server sent another part of the file than was asked for"
        if not goes_on:  # a server without ranges sends all of it again
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdecimal() else None
        if total is not None:
            # Unpacked it will take at least as much again.
            free = shutil.disk_usage(partial.parent).free
            if free < 2 * total - have:
                raise _no_space(partial.parent, free, f"{url} takes {_size(total)}, and as much again unpacked")
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=partial.stem, disable=None)
        with partial.open("ab" if goes_on else "wb") as file, bar:
            try:
                while block := response.read(1 << 18):
                    file.write(block)
                    have += len(block)
                    bar.update(len(block))
            except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
                return f"the connection broke after {_size(have)} ({error or type(error).__name__})"
    if total is not None and have < total:
        return f"the connection broke after {_size(have)} of {_size(total)}"
    return ""


def _no_space(folder: Path, free: int, why: str) -> VadError:
    return VadError(f"{folder}: the disk has {_size(free)} free; {why}. Free some space and run the same command again")


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


# Unpack


def _unpack(file: Path, take: dict[str, str], target: Path) -> None:
    """Write the wanted folders of an archive below `target`, which holds nothing but what this function made.

    A damaged or hostile archive is removed, so that the next try downloads it anew.
    """
    limit, free = MAX_RATIO * file.stat().st_size, shutil.disk_usage(file.parent).free
    written = 0
    try:
        for count, (name, content, size) in enumerate(_members(file)):
            written += size
            if written > limit or count >= MAX_FILES:
                raise _refused(file, f"it unpacks to more than {_size(limit)} or {MAX_FILES:,} files")
            if (path := _place(name, take, file)) is None:
                continue
            if written > free:
                raise _no_space(file.parent, free, f"{file.name} takes more than that unpacked")
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            with (target / path).open("xb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise _damaged(file, error) from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _refused(file, f"two of its members want the place {error.filename}") from None
    except (OSError, ValueError, LookupError, struct.error) as error:  # places in it that it does not have
        if is_disk_full(error) or surroundings(error) is not None:
            raise
        raise _damaged(file, error) from None
    for source, place in take.items():
        if not (target / place).is_dir():
            raise VadError(f"{file}: holds no folder {source!r}; the data set's page may have a new version")


def _damaged(file: Path, error: Exception) -> VadError:
    """The error of an archive that cannot be unpacked, which is removed. What a library says may quote all of it."""
    file.unlink()
    return VadError(f"{file}: damaged archive ({str(error)[:200]!a}); it was removed: run the same command again")


def _refused(file: Path, why: str) -> VadError:
    """The error of a hostile archive, which is removed."""
    file.unlink()
    return VadError(f"{file}: refused: {why}; the archive was removed")


def _members(file: Path) -> Iterator[tuple[str, IO[bytes], int]]:
    """Name, content and size of each regular file. Links and devices are refused: the benchmarks have none."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                kind = info.external_attr >> 28  # the file type of a Unix mode, where the archive was made on one
                if kind not in (0, 0o4, 0o10):
                    raise _refused(file, f"its member {info.filename!a:.100} is a link or a device")
                if not info.is_dir():
                    with archive.open(info) as content:
                        yield info.filename, content, info.file_size
        return
    with tarfile.open(file, "r:gz") as archive:
        for member in archive:
            if not (member.isreg() or member.isdir()):
                raise _refused(file, f"its member {member.name!a:.100} is a link or a device")
            if member.isreg():
                inside = archive.extractfile(member)
                assert inside is not None  # of a regular file
                with inside:
                    yield member.name, inside, member.size


def _place(name: str, take: dict[str, str], file: Path) -> PurePosixPath | None:
    """Where a member goes below the data set's folder; None for what is not wanted."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or ".." in name.split("\\"):
        raise _refused(file, f"its member {name!a:.100} would leave the folder")
    if path.name.startswith(".") or "__MACOSX" in path.parts:  # left by the machines the archives were packed on
        return None
    for source, place in take.items():
        if path.is_relative_to(source) and path != PurePosixPath(source):
            if not name.isprintable() or set(name) & set('\\:*?"<>|'):
                raise _refused(file, f"its member {name!a:.100} is no name for a file")
            return PurePosixPath(place) / path.relative_to(source)
    return None
