"""Progress bars."""

import contextlib
import sys

from tqdm import tqdm

_hidden = False


def hide() -> None:
    """Show no bars from now on: of several processes one has the terminal."""
    global _hidden
    _hidden = True


def progress(total: int | None, label: str, unit: str, *, done: int = 0) -> tqdm:
    """A progress bar on standard error; silent where that is not a terminal."""
    return tqdm(
        total=total, initial=done, desc=label, unit=unit, disable=_hidden or None, file=sys.stderr, dynamic_ncols=True
    )


def tell(line: str) -> None:
    """Write a line to standard error, above the bars that are there. Where nobody takes it, work goes on."""
    with contextlib.suppress(OSError):
        tqdm.write(line, file=sys.stderr)
