"""What every command line shares: one-line errors, `--debug`, freed memory kept, a closing line of counts and time."""

import contextlib
import functools
import inspect
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from vadlib.cli.memory import keep_freed_memory
from vadlib.errors import VadError, printable
from vadlib.io.files import is_disk_full, is_lack, surroundings
from vadlib.io.progress import tell
from vadlib.settings import Branch

DatasetName = Annotated[str, typer.Option("--dataset", help="A data set that params.yaml describes.")]
BranchName = Annotated[Branch, typer.Option("--branch", help="The network the cubes are for.")]


LEFT_OUT = " left out"
"""Counts so named are of what a command went on without: all else is done, and the exit code is 3."""


def friendly(function: Callable[..., Mapping[str, float] | None]) -> Callable[..., None]:
    """Make a function a command: errors in one line and exit code 1, tracebacks only with `--debug`.

    Counts that the function returns are printed with the time it took and the largest process' peak memory. The exit
    code is 0 where all was done, 3 where something was left out (LEFT_OUT), 130 after Ctrl-C.
    """

    @functools.wraps(function)
    def command(*args: Any, debug: bool, **options: Any) -> None:
        started = time.monotonic()
        keep_freed_memory()
        try:
            counts = function(*args, **options)
        except KeyboardInterrupt as stop:
            kept = "stopped; what was finished is kept, the same command goes on from there"
            tell(str(stop) or kept)
            raise typer.Exit(130) from None
        except Exception as error:
            if debug:
                raise
            tell(f"error: {one_line(error)}")
            raise typer.Exit(1) from None
        if counts is not None:
            words = ", ".join(f"{count:,} {name}" for name, count in counts.items())
            values = (value for given in options.values() for value in (given if isinstance(given, list) else [given]))
            name = " ".join([function.__name__, *(str(v) for v in values if isinstance(v, (str, Path)))])
            peak = _peak_mib()
            memory = "" if peak is None else f", peak memory {peak} MiB"
            _say(f"{printable(name)}: {words} in {time.monotonic() - started:.1f} s{memory}")
            if any(name.endswith(LEFT_OUT) and count for name, count in counts.items()):
                raise typer.Exit(3)

    signature = inspect.signature(function)
    switch = inspect.Parameter(
        "debug",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")],
    )
    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), switch], return_annotation=None
    )
    return command


def run(function: Callable[..., Mapping[str, float] | None]) -> None:
    """Run one function as the whole command line of a script."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=inspect.getdoc(function))(friendly(function))
    app()


def _say(line: str) -> None:
    """Print a line, in what the terminal has. Where nobody takes it, all is done nevertheless, but for that."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError as error:
        with contextlib.suppress(OSError):  # the interpreter would try again as it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        tell(f"error: standard output cannot be written to ({error.strerror}); all else is done. It was to be: {line}")
        raise typer.Exit(1) from None


def one_line(error: Exception) -> str:
    """An error in one readable line. Errors that are not meant for users say how to see where they come from."""
    text = printable(str(error))
    if isinstance(error, VadError):
        return text
    if is_disk_full(error):
        return f"the disk is full ({text}); free some space and run the same command again"
    if isinstance(error, FileNotFoundError) and "No usable temporary directory" in text:
        return f"no folder for temporary files takes any; set TMPDIR to one that does, or free some space ({text})"
    if (cause := surroundings(error)) is not None:
        file = getattr(error, "filename", None) or ("" if is_lack(error) else "a file")
        return printable(f"{file}: {cause} ({text})".removeprefix(": "))
    return f"{type(error).__name__}: {text or 'no message'} (not foreseen; run again with --debug to see where)"


def _peak_mib() -> int | None:
    """Of this process, or of a finished worker if that took more. None on Windows, which does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    status = Path("/proc/self/status")
    if status.exists() and (peak := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        # Linux begins a process' ru_maxrss with what the process that started it held: `dvc`, say.
        peaks[0] = int(peak[1])
    return round(max(peaks) / (1024 if sys.platform != "darwin" else 1024**2))
