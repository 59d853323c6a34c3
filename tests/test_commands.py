"""What every command line shares: one line for an error, one line of counts, tracebacks only with --debug."""

import errno
import os
import pickle
import re
import shutil
import subprocess
import sys
from functools import partial
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from tests.conftest import ROOT
from vadlib.cli.commands import BranchName, DatasetName, friendly, one_line
from vadlib.errors import VadError


def command(function, *arguments: str):
    """Run a function as a command line."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(friendly(function))
    return CliRunner().invoke(app, list(arguments))


def failing(error: BaseException):
    def work(dataset: DatasetName) -> dict[str, int]:
        raise error

    return work


def test_counts_and_time_are_the_closing_line():
    def build(dataset: DatasetName, branch: BranchName) -> dict[str, int]:
        return {"clips": 12, "cubes": 1234567}

    found = command(build, "--dataset", "mini", "--branch", "flow")
    assert found.exit_code == 0
    assert found.stderr == ""
    line = r"build mini flow: 12 clips, 1,234,567 cubes in \d+\.\d s, peak memory (\d+) MiB\n"
    match = re.fullmatch(line, found.stdout)
    assert match, found.stdout
    assert 10 < int(match[1]) < 100_000


def test_peak_memory_is_the_commands_own_and_not_that_of_what_started_it():
    child = "from vadlib.cli.commands import _peak_mib; print(_peak_mib())"
    parent = f"""
import subprocess, sys
held = bytearray(b"x") * 400 * 2**20
sys.exit(subprocess.run([sys.executable, "-c", {child!r}]).returncode)
"""
    found = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True)
    assert 10 < int(found.stdout) < 400


def test_peak_memory_counts_a_finished_worker():
    child = "held = bytearray(b'x') * 400 * 2**20"
    script = f"""
import subprocess, sys
from vadlib.cli.commands import _peak_mib
subprocess.run([sys.executable, "-c", {child!r}])
print(_peak_mib())
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(found.stdout) > 400


def test_a_command_that_counts_nothing_prints_nothing():
    def settings() -> None:
        pass

    assert command(settings).output == ""


def test_an_error_is_one_line_on_standard_error_and_exit_code_1():
    found = command(failing(VadError("clip training/01: frame 3\n  is unreadable")), "--dataset", "mini")
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr == "error: clip training/01: frame 3 is unreadable\n"


def test_debug_lets_the_error_through():
    error = VadError("clip training/01")
    assert command(failing(error), "--dataset", "mini", "--debug").exception is error


def test_ctrl_c_says_that_finished_work_is_kept():
    found = command(failing(KeyboardInterrupt()), "--dataset", "mini")
    assert found.exit_code == 130
    assert found.stderr == "stopped; what was finished is kept, the same command goes on from there\n"


def test_options_keep_their_types_and_choices():
    given = {}

    def work(dataset: DatasetName, branch: BranchName, frames: Annotated[int, typer.Option()] = 3) -> None:
        given.update(dataset=dataset, branch=branch, frames=frames)

    assert command(work, "--dataset", "mini", "--branch", "raw", "--frames", "7").exit_code == 0
    assert given == {"dataset": "mini", "branch": "raw", "frames": 7}
    assert command(work, "--dataset", "mini", "--branch", "both").exit_code == 2
    assert command(work, "--branch", "raw").exit_code == 2


def test_help_is_the_functions_own_and_names_debug():
    def work(dataset: DatasetName) -> None:
        """Find the objects of every frame."""

    found = command(work, "--help")
    assert "Find the objects of every frame." in found.stdout
    assert "--debug" in found.stdout


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (VadError("a\n b"), "a b"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "the disk is full ([Errno 28] No space left on device); free",
        ),
        (OSError(errno.EMFILE, "Too many open files", "x"), "x: too many files are open at once; raise the limit"),
        (
            PermissionError(13, "Permission denied", "x"),
            "x: may not be read or written; give yourself the right to, or close the program that holds it",
        ),
        (OSError(errno.EROFS, "Read-only file system", "x"), "x: the drive it is on may only be read; name an output"),
        (OSError(errno.EFBIG, "File too large"), "a file: the drive it is on, or `ulimit -f`, takes no file as large"),
        (MemoryError("Unable to allocate 9 TiB"), "there is not enough memory; close other programs"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "there is not enough memory"),
        (
            FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
            "no folder for temporary files takes any; set TMPDIR",
        ),
        (ValueError("two\nlines"), "ValueError: two lines (not foreseen; run again with --debug to see where)"),
        (AssertionError(), "AssertionError: no message (not foreseen; run again with --debug to see where)"),
    ],
)
def test_any_error_is_one_line(error, line):
    assert one_line(error).startswith(line)
    assert "\n" not in one_line(error)


@pytest.mark.skipif(shutil.which("make") is None or shutil.which("git") is None, reason="needs make and git")
def test_a_project_without_git_is_told_so_before_anything_is_installed(tmp_path):
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    # Where it would go on it fails at once: `false` stands for Python.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    make = partial(
        subprocess.run, ["make", "repro", "PYTHON=false"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    done = make()
    assert done.returncode != 0
    assert "git init" in done.stderr.splitlines()[0]
    assert done.stdout == ""
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, env=environment, check=True)
    done = make()
    assert "git" not in done.stderr
    assert "false" in done.stdout


def test_a_message_that_quotes_pages_of_a_damaged_file_names_it_and_the_remedy():
    (text,) = VadError(f"/a/labels.mat: damaged (an array of shape {tuple(range(5000))}); replace the file").args
    assert len(text) < 1000
    assert text.startswith("/a/labels.mat: damaged (an array of shape (0, 1, 2, ")
    assert text.endswith("4998, 4999)); replace the file")
    assert str(pickle.loads(pickle.dumps(VadError(text)))) == text  # from a process that does the work
