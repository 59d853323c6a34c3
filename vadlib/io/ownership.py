"""What this tool made, so that it removes and replaces nothing else.

A folder's ledger, the file `.vadlib` in it, names what was made there: a line of JSON for each change, `[what, name]`.
`what` is the identity of a file or a folder that was made; BEING_MADE, which stands for any, of what a kill may leave
half-done; GONE, after which nothing of that name is this tool's. A folder's ledger may also speak of the folder itself,
as `.`: that it is one of this tool's (OWN: a work folder, a folder of results), or its identity (a model that may be
copied). What no ledger names, and what has changed since, belongs to somebody else: it is never removed, replaced, or
written through. Links are never this tool's.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from vadlib.errors import VadError
from vadlib.io.progress import tell

LEDGER = ".vadlib"
SCRATCH = Path(".scratch")
"""Holds the folders of unfinished work. Several processes write there, so that ledgers below it only ever grow."""

BEING_MADE, OWN, GONE = "*", "own", ""

_HEADER = b'"What vadlib made in this folder. It removes and replaces nothing else."'
_ENDS = 1 << 16  # bytes at either end of a file that its identity depends on


def identity(path: Path) -> str | None:
    """A digest of a file's size and ends, or of all that is in a folder but ledgers; None where there is a link or
    device. It depends on nothing but content and names, so that a copy has the same."""
    kind = path.lstat()
    digest = hashlib.sha256()
    if stat.S_ISREG(kind.st_mode):
        digest.update(f"{kind.st_size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(_ENDS))
            file.seek(max(_ENDS, kind.st_size - _ENDS))
            digest.update(file.read(_ENDS))
    elif stat.S_ISDIR(kind.st_mode):
        for child in sorted(path.iterdir()):
            if _is_ledger(child):
                continue
            if (of_child := identity(child)) is None:
                return None
            digest.update(os.fsencode(child.name) + f"\0{of_child}\0".encode())
        digest.update(b"folder")
    else:
        return None
    return digest.hexdigest()[:32]


def is_made(path: Path) -> bool:
    """Whether what is at a path was made by this tool, and is as it was left."""
    return _is_made(path, _entries(path.parent))


def is_own(path: Path) -> bool:
    """Whether a file, or a folder with all that this tool put into it, is a result: no footage."""
    return is_made(path) or (_is_folder(path) and OWN in _entries(path).get(".", ()))


def check(*paths: Path, folder: bool = False) -> None:
    """Raises VadError, in one line, for a path that cannot be written without touching what is somebody else's: to be
    called before any work. An empty folder may be taken for a folder."""
    for path in paths:
        if os.path.lexists(path):
            if not (is_made(path) or (folder and _is_empty(path))):
                raise _foreign(path)
            continue
        there = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
        if not there.is_dir():
            raise VadError(f"{path}: cannot be made, since {there} is not a folder; name another place")
        if not os.access(there, os.W_OK | os.X_OK):
            raise VadError(f"{path}: cannot be made, since {there} cannot be written to; name another place")


def check_apart(output: Path, source: Path, *, may_lie_in: bool = False) -> None:
    """Raises VadError where an output is its input, holds it, or (unless it may) lies in it, whatever links, case or
    relative paths they are named by."""
    if output.is_symlink() and not output.exists():
        raise VadError(f"{output}: a link to nothing; remove it, or name another output")
    if _same(output, source):
        raise VadError(f"{output}: is the input itself, {source}; name another output")
    real, real_source = without_links(output), without_links(source)
    if any(_same(real, parent) for parent in real_source.parents):
        raise VadError(f"{output}: holds the input {source}; name a folder of its own as the output")
    if not may_lie_in and any(_same(real_source, parent) for parent in real.parents):
        raise VadError(f"{output}: lies in the input {source}; name an output beside it")


def without_links(path: Path) -> Path:
    """Where a path leads, absolute. Raises VadError where its links lead nowhere but round in a circle."""
    try:
        return path.resolve()
    except FileNotFoundError:
        raise VadError(f"{path}: the current folder is no longer there; change to another one") from None
    except (OSError, RuntimeError):  # RuntimeError up to Python 3.12, which from then on goes as far as it can
        raise VadError(f"{path}: has links that go round in a circle; name another place") from None


def note(path: Path, what: str) -> None:
    """Have the ledger of a path's folder say what is made there."""
    _append(path.parent, [(what, path.name)])


def settle(*paths: Path) -> None:
    """Have ledgers say that these are made, as they now are; that they are not, where nothing is there."""
    for path in paths:
        there = os.path.lexists(path)
        try:
            _append(path.parent, [(GONE, path.name), *([(identity(path) or GONE, path.name)] if there else [])])
        except OSError:
            if not _entries(path.parent).keys() - {path.name}:
                (path.parent / LEDGER).unlink(missing_ok=True)
            raise
        _tidy(path.parent)


def begin(path: Path) -> None:
    """Clear a place for something to be made. Raises VadError where there is somebody else's; folders are made."""
    check(path, folder=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    note(path, BEING_MADE)
    discard(path)


def discard(path: Path) -> None:
    """Remove what is at a path, if anything. Raises VadError where it is somebody else's."""
    if not os.path.lexists(path):
        return
    if not is_made(path):
        raise _foreign(path)
    shutil.rmtree(path) if _is_folder(path) else path.unlink()


def move(made: Path, path: Path) -> None:
    """Put a file that this tool made elsewhere in its place, in one step. Raises VadError where somebody else's is."""
    check(path)
    if (moved := identity(made)) is None:
        raise _foreign(made)
    note(path, moved)
    made.replace(path)


def set_aside(path: Path, folder: Path, what: str = "damaged, or changed") -> None:
    """Move unfinished work that is not as it was left out of the way, into a folder, and say so: it may be somebody's
    by now, and is not removed."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    while os.path.lexists(there := folder / f"{number}-{path.name}"):
        number += 1
    path.rename(there)
    tell(f"warning: {path}: {what}; moved to {folder}, and made again")


def own(folder: Path) -> None:
    """Make a folder that is this tool's, or go on with one. Raises VadError where it is somebody else's."""
    if os.path.lexists(folder):
        if _is_folder(folder) and OWN in _entries(folder).get(".", ()):
            return
        if not _is_empty(folder):
            raise _foreign(folder)
    check(folder, folder=True)
    folder.mkdir(parents=True, exist_ok=True)
    _append(folder, [(OWN, ".")])


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder, so that no other run works there meanwhile; a kill lets go of it. Raises VadError where another
    run does. Where folders cannot be held, as on Windows and some network drives, nothing is."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VadError(
                f"{folder}: another run is at work there; wait until it has ended, or name another output"
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(held)


def remove_own(folder: Path) -> None:
    """Remove all that this tool made in a folder, and the folder where nothing else is left in it."""
    if not _is_folder(folder):
        return
    if is_made(folder):  # as a whole, whose own ledgers `publish` had removed when it was stopped
        shutil.rmtree(folder)
        return
    entries = _entries(folder)
    for child in list(folder.iterdir()):
        if _is_ledger(child):
            continue
        if _is_folder(child):
            shutil.rmtree(child) if _is_made(child, entries) else remove_own(child)
        elif _is_made(child, entries):
            child.unlink()
    remove_empty(folder)


def remove_empty(folder: Path) -> None:
    """Remove a folder that has nothing but its ledger in it."""
    if _is_empty(folder):
        (folder / LEDGER).unlink(missing_ok=True)
        folder.rmdir()


def publish(made: Path, output: Path, *, copied: bool = False) -> None:
    """Put a finished folder in its place. What this tool had there is replaced.

    The folder's files all have to be named by the ledgers in it, which are removed: the output's bytes depend on what
    is made alone. The ledger that names the output lies beside it; in it, where it may be `copied` to elsewhere.

    Raises VadError where something of somebody else's is in the folder or at the output.
    """
    check(output, folder=True)
    if not is_made(made):
        for foreign in _foreign_in(made):
            raise _foreign(foreign)
        settle(made)
    for ledger in [path for path in made.rglob(LEDGER) if _is_ledger(path)]:
        ledger.unlink()
    whole = identity(made) or GONE
    if copied:
        _append(made, [(whole, ".")])
    aside, before = (output.with_name(f".{output.name}.{what}") for what in ("partial", "replaced"))
    begin(aside)
    begin(before)
    try:
        shutil.move(made, aside)  # a rename; a copy where `output` is on another disk
        if not copied:
            note(output, whole)
        if os.path.lexists(output):
            check(output, folder=True)
            output.rename(before)
        aside.replace(output)
        discard(before)
    finally:
        with contextlib.suppress(OSError):
            discard(aside)
            if os.path.lexists(before) and not os.path.lexists(output):
                before.rename(output)
            settle(aside, before)
            _tidy(output.parent)


def _foreign(path: Path) -> VadError:
    return VadError(
        f"{path}: already there, and not what this tool made, or changed since; it is left alone: move it away, or "
        "name another output, and run the same command again"
    )


def _foreign_in(folder: Path) -> Iterator[Path]:
    entries = _entries(folder)
    for child in sorted(folder.iterdir()):
        if _is_ledger(child) or _is_made(child, entries):
            continue
        if _is_folder(child):
            yield from _foreign_in(child)
        else:
            yield child


def _is_made(path: Path, entries: dict[str, set[str]]) -> bool:
    wanted = set(entries.get(path.name, ()))
    if not os.path.lexists(path) or path.is_symlink():
        return False
    if path.is_dir():
        wanted |= _entries(path).get(".", set()) - {OWN}
    return bool(wanted) and (BEING_MADE in wanted or identity(path) in wanted)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_empty(path: Path) -> bool:
    """Whether there is a folder with nothing, or nothing but its ledger, in it."""
    return _is_folder(path) and all(_is_ledger(child) for child in path.iterdir())


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return without_links(one) == without_links(other)


# Ledgers


def _is_ledger(path: Path) -> bool:
    """Whether a path is a ledger of this tool, or the beginning of one."""
    try:
        if path.name != LEDGER or path.is_symlink() or not path.is_file():
            return False
        with path.open("rb") as file:
            return _HEADER.startswith(file.read(len(_HEADER)))
    except PermissionError:  # what cannot be read says nothing
        return False


def _entries(folder: Path) -> dict[str, set[str]]:
    """What each name in a folder may be, to be this tool's."""
    entries: dict[str, set[str]] = {}
    if not _is_ledger(folder / LEDGER):
        return entries
    for line in (folder / LEDGER).read_bytes().splitlines()[1:]:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):  # a full disk cut it short, before what it speaks of was there
            continue
        if not isinstance(entry, list) or [type(part) for part in entry] != [str, str]:  # damaged: it speaks of nothing
            continue
        what, name = entry
        if what == GONE:
            entries.pop(name, None)
        else:
            entries.setdefault(name, set()).add(what)
    return entries


def _append(folder: Path, entries: list[tuple[str, str]]) -> None:
    ledger = folder / LEDGER
    if os.path.lexists(ledger) and not _is_ledger(ledger):
        raise VadError(f"{ledger}: not what this tool made; it keeps there what it made in the folder: move it away")
    lines = b"".join(b"\n" + json.dumps(entry).encode() for entry in entries)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(ledger, flags, 0o666)
    begins = os.fstat(descriptor).st_size < len(_HEADER)
    try:
        if begins:
            os.ftruncate(descriptor, 0)  # of a disk that was full at its beginning
            lines = _HEADER + lines
        if os.write(descriptor, lines) < len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(ledger))
    except OSError:
        if begins:
            ledger.unlink()
        raise
    finally:
        os.close(descriptor)


def _tidy(folder: Path) -> None:
    """Keep of a ledger what it now says, in order; nothing, where it says nothing. A full disk may forbid it."""
    if SCRATCH.name in folder.parts:
        return
    ledger, aside = folder / LEDGER, folder / f"{LEDGER}.partial"
    with contextlib.suppress(OSError, VadError):
        begin(aside)
        entries = _entries(folder)
        del entries[aside.name]
        if not entries:
            ledger.unlink()
            return
        lines = [json.dumps((what, name)).encode() for name, kinds in sorted(entries.items()) for what in sorted(kinds)]
        try:
            with aside.open("xb") as file:
                file.write(b"\n".join([_HEADER, *lines]))
            aside.replace(ledger)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
