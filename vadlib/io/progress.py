"""Progress: a bar on a terminal, and a line a minute where there is none."""

import contextlib
import sys

from tqdm import tqdm

_hidden = False

MINUTE = 60.0  # s between two lines
LINES = "{desc}: {n_fmt} of {total_fmt} {unit}s after {elapsed}, {remaining} to go"
WITHOUT_TOTAL = "{desc}: {n_fmt} {unit}s after {elapsed}"


def hide() -> None:
    """Show no bars from now on: of several processes one has the terminal."""
    global _hidden
    _hidden = True


class _Lines:
    """A file for a bar that is written to standard error as lines of their own."""

    encoding = "utf-8"

    def write(self, text: str) -> None:
        if line := text.strip():
            with contextlib.suppress(OSError):  # as `tell` has it
                print(line, file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Each line is flushed as it is written."""


def progress(total: int | None, label: str, unit: str, *, done: int = 0, shown: bool = True) -> tqdm:
    """A progress bar on standard error; where that is not a terminal, as in a service's log, a line a minute. Silent if
    not `shown`."""
    hidden = _hidden or not shown
    if hidden or sys.stderr.isatty():
        return tqdm(
            total=total, initial=done, desc=label, unit=unit, disable=hidden, file=sys.stderr, dynamic_ncols=True
        )
    return tqdm(
        total=total, initial=done, desc=label, unit=unit, file=_Lines(), delay=MINUTE, mininterval=MINUTE, miniters=1,
        leave=False, bar_format=WITHOUT_TOTAL if total is None else LINES,
    )  # fmt: skip


def tell(line: str) -> None:
    """Write a line to standard error, above the bars that are there. Where nobody takes it, work goes on."""
    with contextlib.suppress(OSError):
        tqdm.write(line, file=sys.stderr)
