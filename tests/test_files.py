"""Files are whole or absent, whatever ends the writing."""

import errno
import hashlib
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from safetensors import SafetensorError

from tests.conftest import ROOT
from vadlib.errors import VadError
from vadlib.io import files
from vadlib.io.files import (
    is_disk_full,
    missing,
    read_json,
    sha256,
    surroundings,
    write_json,
    write_text,
    written_aside,
    written_hdf5,
)
from vadlib.io.ownership import LEDGER, begin

NO_SPACE = os.strerror(errno.ENOSPC)


def test_a_file_appears_when_the_block_ends_and_not_before(tmp_path):
    path = tmp_path / "new/folder/a.txt"
    with written_aside(path) as aside:
        aside.write_text("whole")
        assert not path.exists()
        assert aside.parent == path.parent  # so that the rename stays on one disk
    assert path.read_text() == "whole"
    assert names(path.parent) == ["a.txt"]


def names(folder):
    """All that is in a folder, but the ledger of what was made there."""
    return sorted(p.name for p in folder.iterdir() if p.name != LEDGER)


def fail_half_way(path, error):
    with written_aside(path) as aside:
        aside.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1), OSError(errno.EIO, "broken")])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    with pytest.raises(type(error)):
        fail_half_way(path, error)
    assert list(tmp_path.iterdir()) == []
    write_text(path, "before")
    with pytest.raises(type(error)):
        fail_half_way(path, error)
    assert (names(tmp_path), path.read_text()) == (["a.txt"], "before")


def test_a_full_disk_leaves_what_was_there_and_says_what_to_do(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "before")
    with pytest.raises(VadError, match=r"a\.txt: the disk is full; .* then run the same command again"):
        fail_half_way(path, OSError(errno.ENOSPC, NO_SPACE))
    assert (names(tmp_path), path.read_text()) == (["a.txt"], "before")


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: order.append((tmp_path / "a.txt").exists()))
    write_text(tmp_path / "a.txt", "x")
    assert order == [False]


def test_what_a_kill_left_is_overwritten(tmp_path):
    begin(tmp_path / ".a.txt.partial")
    (tmp_path / ".a.txt.partial").write_text("a longer half of something")
    write_text(tmp_path / "a.txt", "x")
    assert (names(tmp_path), (tmp_path / "a.txt").read_text()) == (["a.txt"], "x")


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, NO_SPACE), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(f"Can't write data (errno = 28, error message = '{NO_SPACE}')"), True),
        (RuntimeError(f"file write failed: errno = 28, error message = '{NO_SPACE}'"), True),
        (SafetensorError(f"I/O error: {NO_SPACE} (os error 28)"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (ValueError("28"), False),
        (KeyboardInterrupt(NO_SPACE), False),
    ],
)
def test_a_full_disk_is_known_by_the_words_of_every_library(error, full):
    assert is_disk_full(error) == full


def test_json_is_indented_utf8_with_lf_ends_and_the_same_each_time(tmp_path):
    for name in ("a.json", "b.json"):
        write_json(tmp_path / name, {"ü": [1, 2.5], "z": None})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.json").read_bytes().startswith('{\n  "ü": [\n'.encode())
    assert read_json(tmp_path / "a.json", "x") == {"ü": [1, 2.5], "z": None}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have_are_refused_and_nothing_is_written(tmp_path, number):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": number})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_or_damaged_json_names_file_and_command(tmp_path):
    with pytest.raises(VadError, match=r"a\.json: not found; make it first with `the command`"):
        read_json(tmp_path / "a.json", "`the command`")
    for content in (b'{"x": ', b"\xff\xfe", b"[" * 100_000):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(VadError, match=r"a\.json: damaged \(.*; make it again with `the command`"):
            read_json(tmp_path / "a.json", "`the command`")


def test_missing_is_an_error_to_raise(tmp_path):
    assert isinstance(missing(tmp_path, "x"), VadError)


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path):
    content = bytes(range(256)) * 5000  # more than one block
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_sha256_of_a_folder_depends_on_names_and_bytes_alone(tmp_path):
    def folder(name, content):
        for path, text in content.items():
            write_text(tmp_path / name / path, text)
        return sha256(tmp_path / name)

    first = folder("one", {"a": "1", "b/c": "2"})
    assert folder("two", {"b/c": "2", "a": "1"}) == first
    others = [{"a": "1", "b/c": "3"}, {"a": "1", "b/d": "2"}, {"a": "1", "c": "2"}, {"a": "1"}, {"a": "1b/c", "b": "2"}]
    digests = {folder(f"other{number}", content) for number, content in enumerate(others)}
    assert len(digests | {first}) == len(others) + 1


# HDF5


def write_numbers(path, count=400):
    with written_hdf5(path) as file:
        numbers = file.create_dataset("numbers", (0, 1000), np.int32, maxshape=(None, 1000), chunks=(1, 1000))
        for number in range(count):
            numbers.resize(number + 1, axis=0)
            numbers[number] = number
        file.attrs["done"] = True


def test_an_hdf5_file_has_the_bytes_h5py_would_write(tmp_path):
    write_numbers(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        numbers = file.create_dataset("numbers", (0, 1000), np.int32, maxshape=(None, 1000), chunks=(1, 1000))
        for number in range(400):
            numbers.resize(number + 1, axis=0)
            numbers[number] = number
        file.attrs["done"] = True
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert names(tmp_path) == ["a.h5", "b.h5"]


@pytest.mark.parametrize("room", [0, 100, 4096, 100_000, 1_500_000])
def test_a_disk_that_fills_up_leaves_no_hdf5_file_and_hdf5_in_good_health(tmp_path, monkeypatch, room):
    """A disk with `room` bytes: a write beyond is taken in part, the next refused."""
    real, taken = os.write, 0

    def write(descriptor, data):
        nonlocal taken
        part = data[: max(0, room - taken)]
        if not len(part):
            raise OSError(errno.ENOSPC, NO_SPACE)
        taken += len(part)
        return real(descriptor, part)

    monkeypatch.setattr(files.os, "write", write)
    with pytest.raises(VadError, match=r"a\.h5: the disk is full"):
        write_numbers(tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    write_numbers(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["numbers"][399, 0] == 399


def test_an_error_while_writing_hdf5_leaves_nothing(tmp_path):
    def fail():
        with written_hdf5(tmp_path / "a.h5") as file:
            file.create_dataset("x", data=np.arange(9))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "too many files are open at once"),
        (PermissionError(errno.EACCES, "Permission denied"), "may not be read"),
        (RuntimeError("io: Too many open files (os error 24)"), "too many files are open at once"),
        (OSError("unable to lock file, errno = 11, error message = 'Resource temporarily…'"), "has locked it"),
        (OSError("truncated file: eof = 1000"), None),
        (ValueError("24 is no number"), None),
    ],
)
def test_what_is_no_fault_of_a_file_is_known_by_its_number_however_it_is_quoted(error, cause):
    found = surroundings(error)
    assert found is None if cause is None else cause in found


@pytest.mark.parametrize("read", ["json", "table", "model", "npy", "matlab"])
def test_every_reader_tells_a_lack_of_handles_from_damage(tmp_path, read):
    """With no handle left at all: a file that is whole is not called damaged."""
    path = tmp_path / "file"
    script = f"""
import numpy as np, pandas as pd, resource, scipy.io, sys
from pathlib import Path
from safetensors.torch import save_file
from vadlib.io import files, matlab, npy, tables
from vadlib.errors import VadError
from vadlib.models.checkpoint import load_model
import torch, pyarrow.dataset
path = Path({str(path)!r})
make = {{
    "json": lambda: path.write_text("{{}}"),
    "table": lambda: pd.DataFrame({{"a": [1]}}).to_parquet(path),
    "model": lambda: save_file({{"a": torch.zeros(1)}}, path),
    "npy": lambda: np.save(path.open("wb"), np.zeros(2)),
    "matlab": lambda: scipy.io.savemat(path, {{"gt": np.zeros(2)}}, appendmat=False),
}}
reads = {{
    "json": lambda: files.read_json(path, "`it`"),
    "table": lambda: tables.read_table(path, "`it`"),
    "model": lambda: load_model(path, "raw", "`it`"),
    "npy": lambda: npy.read_array(path),
    "matlab": lambda: list(matlab.read_cells(path, "gt")),
}}
make[{read!r}]()
try:
    reads[{read!r}]()  # everything is imported now
except VadError:
    pass
held = []
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
try:
    while True:
        held.append(open("/dev/null"))
except OSError:
    pass
try:
    reads[{read!r}]()
except VadError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert "too many files are open at once; raise the limit" in done.stdout, done.stderr
