"""Files that are whole or absent: written aside, then renamed."""

import atexit
import contextlib
import errno
import functools
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vadlib.errors import VadError
from vadlib.io import ownership


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; rename it onto `path` when the block ends well.

    On any error, and on Ctrl-C, the file aside is removed and `path` is as it was. A kill leaves at most a
    `.partial` file, which nothing reads and the next try overwrites. Raises VadError where the disk is full, and where
    something is there that this tool did not make.
    """
    ownership.check(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    begun = False
    try:
        ownership.begin(aside)
        begun = True
        yield aside
        with aside.open("rb+") as file:  # Windows flushes only what may be written to
            os.fsync(file.fileno())
        made = ownership.identity(aside)
        assert made is not None  # no link, and no device
        ownership.note(path, made)
        aside.replace(path)
        ownership.settle(aside)
    except BaseException as error:
        if begun:
            aside.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                ownership.settle(aside)
        if is_disk_full(error):
            raise disk_full(path) from error
        raise


@contextlib.contextmanager
def written_hdf5(path: Path) -> Iterator[Any]:
    """Yield an `h5py.File` to write, which becomes `path` when the block ends well, as with `written_aside`.

    HDF5 cannot close a file whose last bytes are refused: it prints tracebacks, and crashes later.
    """
    import h5py

    with written_unrefusing(path) as target, h5py.File(target, "w") as file:
        yield file


@contextlib.contextmanager
def written_unrefusing(path: Path) -> Iterator[io.FileIO]:
    """Yield a file to write, as with `written_aside`, for a library that makes something else of an error than the
    operating system's: it refuses nothing, and what a full disk did not take is raised when the block ends."""
    with written_aside(path) as aside, _Unrefusing(aside) as target:
        yield target
        if target.refused is not None:
            raise target.refused


class _Unrefusing(io.FileIO):
    """A file that always seems to take what it is given."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.refused: OSError | None = None

    def write(self, data: Any) -> int:
        data = memoryview(data).cast("B")
        done = 0
        while done < len(data) and self.refused is None:
            try:
                done += os.write(self.fileno(), data[done:])  # a nearly full disk takes a part
            except OSError as error:
                self.refused = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """HDF5 makes a file as long as it is to be: a drive that takes none as large refuses that as well."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.refused = self.refused or error
            return self.tell() if size is None else size


def opened_hdf5(path: Path, made_by: str) -> Any:
    """An `h5py.File` to read, of those that an earlier command, `made_by`, leaves whole. Whoever opens it closes it.

    It is opened without HDF5's lock: these files are renamed into place and never written to again, so there is nothing
    to wait for, and another program that has one open, or a network drive without locks, is no hindrance. Raises
    VadError where there is no such file, where something else than the file is at fault, for no HDF5 file, and for one
    at whose damage HDF5 crashes, or from which it does not come back.
    """
    import h5py

    try:
        if (reason := harm_of_hdf5(path)) is not None:
            raise VadError(f"{path}: damaged ({reason}); make it again with {made_by}")
        return h5py.File(path, "r", locking=False)
    except FileNotFoundError:
        raise missing(path, made_by) from None
    except OSError as error:
        raise unreadable(path, error, made_by) from None


# Looks through files of which it is told, and answers each: a process of its own can crash, or be ended, without harm.
_LOOK = """
import math, os, signal, sys, h5py
alarm = getattr(signal, "alarm", int)  # ends this process too, should nobody be left who would
try:
    import resource
    def memory():  # MiB at most so far
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)
except ImportError:
    memory = lambda: 0
def hold():
    try:
        with open("/proc/self/statm") as file:
            most = int(file.read().split()[0]) * resource.getpagesize() + (4 << 30)
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except Exception:  # where there is no /proc
        pass
def tried(do):
    try:
        return do()
    except MemoryError:
        said.append("too much")
    except Exception as error:  # what lies behind it is looked at all the same
        if not getattr(error, "errno", None):  # else it is the surroundings', and whoever opens the file is told
            said.append(" ".join(f"error {error}".split()).encode("ascii", "backslashreplace").decode())
def look(name, of):
    for key in (*(tried(lambda: list(of.attrs)) or ()), "sha256", "units"):
        tried(lambda: of.attrs[key])
    tried(lambda: of.shape and of.dtype)
    if tried(lambda: of.chunks and of.id.get_num_chunks() < math.prod(-(-a // b) for a, b in zip(of.shape, of.chunks))):
        said.append("lacks some")
def look_through(path):
    with h5py.File(path, "r", locking=False) as file:
        look("", file)
        tried(lambda: file.visititems(look))
        for name in (*(tried(lambda: list(file)) or ()), "flow", "cubes", "frame", "boxes", "magnitude"):
            tried(lambda: look(name, file[name]))
    if memory() > before + 512:
        said.append("too much")
def read_through(path):
    import pyarrow.parquet
    hold()
    rows, texts = 0, {}
    with pyarrow.parquet.ParquetFile(os.fsdecode(path)) as file:
        for part in range(file.num_row_groups):
            table = file.read_row_group(part, use_threads=False)
            rows += len(table)
            if len(table):
                texts |= {field.name: table[field.name][0] for field in table.schema if "str" in str(field.type)}
        if rows != file.metadata.num_rows:
            raise ValueError(f"it holds {rows} rows, and claims {file.metadata.num_rows}")
        for part in range(file.num_row_groups):
            for column in range(file.metadata.num_columns):
                file.metadata.row_group(part).column(column).statistics  # by which a filter passes parts over
    for name, text in texts.items():
        pyarrow.parquet.read_table(os.fsdecode(path), columns=[name], filters=[(name, "==", text)])
print("ready", flush=True)
hold()
for line in sys.stdin:
    kind, path = line.split()
    said, before = [], memory()
    alarm(int(sys.argv[1]))
    tried(lambda: (read_through if kind == "table" else look_through)(bytes.fromhex(path)))
    alarm(0)
    wanted = {"table": ("too much", "error"), "ours": ("too much", "lacks some")}.get(kind, ("too much",))
    print(next((word for start in wanted for word in said if word.startswith(start)), "whole"), flush=True)
"""
_PATIENCE = 60.0  # seconds that HDF5 may take for what takes it milliseconds
_looking: "tuple[int, subprocess.Popen[str]] | None" = None  # of the process with this number
_one_at_a_time = threading.Lock()


def harm_of_hdf5(path: Path, ours: bool = True) -> str | None:
    """Why this process should not open an HDF5 file: HDF5 crashes at its structure, or goes round in it without end;
    or, of `ours`, which are written whole, it claims rows without end. None for all others: of errors that it raises,
    whoever opens it is told. Raises OSError where there is no such file."""
    state = path.stat()
    return _harm(path, state.st_size, state.st_mtime_ns, "ours" if ours else "others'")


def harm_of_table(path: Path) -> str | None:
    """Why this process should not read a Parquet file, which was written whole: it is damaged, and Arrow would wait for
    ever, or fill the memory, or raise an error. None for all others. Raises OSError where there is no such file."""
    state = path.stat()
    return _harm(path, state.st_size, state.st_mtime_ns, "table")


@functools.lru_cache(maxsize=1 << 14)
def _harm(path: Path, size: int, changed_ns: int, kind: str) -> str | None:
    """Of a file of this size and time of change."""
    library = "Arrow" if kind == "table" else "HDF5"
    global _looking
    with _one_at_a_time:
        if _looking is None or _looking[0] != os.getpid() or _looking[1].poll() is not None:
            command = [sys.executable, "-c", _LOOK, f"{_PATIENCE + 1:.0f}"]
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                    start_new_session=True,  # Ctrl-C is not meant for it
                )  # fmt: skip
            except OSError:  # no more processes to be had: it is opened as it is
                return None
            if process.stdout is None or not process.stdout.readline():  # its Python lacks something
                process.wait()
                return None
            _looking = os.getpid(), process
            atexit.register(process.kill)
        process = _looking[1]
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        clock = threading.Timer(_PATIENCE, end)
        clock.start()
        try:
            process.stdin.write(f"{kind} {os.fsencode(path.absolute()).hex()}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        finally:
            clock.cancel()
        if answer:
            return {
                "whole": None, "too much": f"it has {library} fill the memory",
                "lacks some": "it claims to hold more than it does",
            }.get(answer.rstrip("\n"), answer.removeprefix("error ").rstrip("\n"))  # fmt: skip
        process.kill()
        process.wait()
        _looking = None
        return (
            f"{library} does not come back from it in {_PATIENCE:g} s" if late.is_set() else f"{library} crashes at it"
        )


def text_attribute(of: Any, name: str) -> str | None:
    """A text among the attributes of an HDF5 file or data set; None where there is none.

    Of which type it is, is asked first: HDF5 crashes at a text of which damage has made something else. Raises
    ValueError for one that is no UTF-8.
    """
    import h5py

    if name not in of.attrs or h5py.check_string_dtype(of.attrs.get_id(name).dtype) is None:
        return None
    text = str(of.attrs[name])
    text.encode()  # of bytes that are no text h5py keeps what they are, for later
    return text


def unreadable(path: Path, error: BaseException, made_by: str, what: str = "damaged", part: str = "") -> VadError:
    """The error of a file that an earlier command made and that, or a `part` of it, cannot be read: what is at fault,
    and what to do."""
    if (cause := surroundings(error)) is not None:
        return VadError(f"{path}: {cause}")
    reason = " ".join(f"{part}: {error}".removeprefix(": ").split())
    return VadError(f"{path}: {what} ({reason}); make it again with {made_by}")


_SURROUNDINGS = {
    errno.EMFILE: "too many files are open at once; raise the limit, as with `ulimit -n 4096`, and run the same again",
    errno.ENFILE: "the system has too many files open; close other programs and run the same command again",
    errno.EACCES: "may not be read or written; give yourself the right to, or close the program that holds it",
    errno.EPERM: "may not be read or written; give yourself the right to, or close the program that holds it",
    errno.EROFS: "the drive it is on may only be read; name an output on another drive",
    errno.EFBIG: "the drive it is on, or `ulimit -f`, takes no file as large as this; name an output on another drive",
    errno.EAGAIN: "another program has locked it, or the system has no thread or memory to give; close other programs "
    "and run the same command again",
    errno.EBUSY: "another program has locked it; close that program and run the same command again",
    errno.EIO: "the drive it is on does not answer (input/output error); check the drive, then run the same again",
    errno.ENODEV: "the drive it is on does not let files be read as a library needs it; copy it to another drive",
    errno.ESTALE: "the network drive it is on is gone; connect it again, then run the same again",
    errno.ENOMEM: "there is not enough memory; close other programs and run the same command again",
}
_LACK = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)


def surroundings(error: BaseException) -> str | None:
    """What keeps a file from being read or written though nothing need be wrong with it, and what to do; None for other
    errors.

    Libraries that raise errors of their own kinds quote the operating system's number, or name a lack of memory.
    """
    return _SURROUNDINGS.get(_number(error) or 0)


def is_lack(error: BaseException) -> bool:
    """Whether the machine lacks something, memory, threads or handles: other files would fare no better."""
    return _number(error) in _LACK


def _number(error: BaseException) -> int | None:
    """The operating system's, of an error."""
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if (code := getattr(error, "errno", None)) is not None:
        return int(code)
    text = str(error)
    if quoted := re.search(r"\b(?:errno|os error)\W{1,3}(\d+)", text, re.IGNORECASE):
        return int(quoted[1])
    # oneDNN has no other words where it is given no memory for a convolution's code.
    lacks_memory = re.search(
        r"n[o']t allocate memory|insufficient memory|could not create a primitive", text, re.IGNORECASE
    )
    return errno.ENOMEM if lacks_memory else None


def disk_full(path: Path) -> VadError:
    """The error of a file that a full disk did not take."""
    return VadError(
        f"{path}: the disk is full; nothing half-written was kept. Free some space, then run the same command again"
    )


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says so: the operating system's, or that of a library (safetensors, HDF5) which quotes it."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return isinstance(error, Exception) and "No space left on device" in str(error)


def copy(source: Path, target: Path) -> None:
    """Copy a file, or all files of a folder, each whole or not at all."""
    for file in sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]:
        if file.name != ownership.LEDGER:
            with written_aside(target / file.relative_to(source)) as aside:
                shutil.copyfile(file, aside)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with LF line ends, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON. Raises ValueError on NaN and infinities, which JSON does not have.

    Bytes of a file's name that are no text, which Python keeps as lone surrogates, are written as escapes.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, re.sub("[\ud800-\udfff]", lambda lone: f"\\u{ord(lone[0]):04x}", text) + "\n")


def parsed_json(text: str) -> Any:
    """What a text says in JSON. Raises ValueError where it is none, or is nested too deep."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def read_json(path: Path, made_by: str) -> Any:
    """Read a JSON file that an earlier command, `made_by`, leaves. Raises VadError naming that command."""
    try:
        return parsed_json(path.read_text(encoding="utf-8-sig"))  # as editors on Windows save it
    except FileNotFoundError:
        raise missing(path, made_by) from None
    except (ValueError, OSError) as error:
        raise unreadable(path, error, made_by) from None


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines, if there is one; a line that a kill cut short is passed over."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            if isinstance(row := parsed_json(line), dict):
                yield row


def missing(path: Path, made_by: str) -> VadError:
    """The error of an input that is not there yet."""
    return VadError(f"{path}: not found; make it first with {made_by}")


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes; of a folder, of its files' names and bytes in sorted order."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        if file.name == ownership.LEDGER:
            continue
        if path.is_dir():
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
